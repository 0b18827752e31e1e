"""Choosing a codec for every map of a network, from images.

A lossy setting is worth its bytes where the network forgives it. So every setting of every map is
tried alone: how many bytes it saves and how far it moves the class scores. The errors of different
maps add up nearly as independent noise does, so the settings are then made coarser one step after
another, each time where the most bytes are saved for the least error (a greedy walk along the lower
convex hulls of all maps), as far as the whole network loses no more than allowed. That is measured,
with all codecs in place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.errors import InputError
from bitconv.feature_maps import CODECS
from bitconv.feature_maps.codec import Codec
from bitconv.feature_maps.compression import stored_maps
from bitconv.feature_maps.map_codec import MapCodec
from bitconv.feature_maps.sample import Sample
from bitconv.graph import Graph
from bitconv.kernels.records import LENGTH_BYTES
from bitconv.model import Model
from bitconv.text import printable, table

BEST = "best"
SEARCHED = ("zero-mask", "dct-cm", "transform-coding")  # what `best` chooses among
MAP_IMAGES = 100  # whose maps calibrate a codec
SIZE_IMAGES = 50  # whose encoded maps tell the size of a setting
TRIAL_IMAGES = 100  # whose scores tell the error of a setting

Progress = Callable[[int, int], None]
Maps = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Choice:
    """A codec for one map.

    Attributes
    ----------
    codec : MapCodec
    bytes : float
        The mean of an encoded map.
    error : float
        The mean squared error of the class scores with this codec alone, over their variance; NaN
        where nothing was searched.
    """

    codec: MapCodec
    bytes: float
    error: float = float("nan")


@dataclass(frozen=True, eq=False)
class Calibration:
    """A network with codecs for its maps; `str()` is a table.

    Attributes
    ----------
    graph : Graph
    choices : mapping of str to Choice
    loss : float
        In percent of the images, see `Sample.loss`; with the codecs of all maps in place.
    images : int
    labelled : bool
        Whether the loss is one of accuracy, or else a number of changed labels.
    """

    graph: Graph
    choices: Mapping[str, Choice]
    loss: float
    images: int
    labelled: bool

    @property
    def bytes(self) -> float:
        """The mean of all encoded maps of an image together."""
        return sum(choice.bytes for choice in self.choices.values())

    def __str__(self) -> str:
        rows = [
            (
                printable(name),
                f"{choice.codec.codec.name} {choice.codec.codec.mode}".rstrip(),
                f"{prod(self.graph.types[name].shape):,}",
                f"{choice.bytes:,.0f}",
                f"{prod(self.graph.types[name].shape) / choice.bytes:.2f}×",
            )
            for name, choice in self.choices.items()
        ]
        lost = "accuracy lost" if self.labelled else "labels changed"
        return (
            f"{table(('map', 'codec', '8-bit', 'encoded', 'ratio'), rows, left=2)}\n\n"
            f"{lost} with the codecs of all maps: {self.loss:.2f} % of {self.images:,} images"
        )


def calibrate(
    graph: Graph,
    sample: Sample,
    codec: str,
    max_loss: float | None = None,
    progress: Progress | None = None,
) -> Calibration:
    """Give a codec to every map of float32 that running a network stores.

    Parameters
    ----------
    graph : Graph
        Of one input, a picture, and class scores as its first output. Codecs that it has are
        replaced.
    sample : Sample
    codec : str
        A name of `bitconv.feature_maps.CODECS`, or ``best`` for the best one of each map.
    max_loss : float, optional
        In percent of the images: choose the settings that make the maps smallest while the network
        loses no more. Without it, every codec has its usual setting.
    progress : callable, optional
        Called with the maps done and the maps in all.

    Raises
    ------
    InputError
        There is no such codec or no map for it, or the mildest settings lose too much.
    """
    check_choice(codec, max_loss)
    search = Search(graph, sample)
    if max_loss is None:
        return search.usual(CODECS[codec], progress)
    kinds = [CODECS[name] for name in (SEARCHED if codec == BEST else (codec,))]
    return search.within(max_loss, search.trials(kinds, progress))


def check_choice(codec: str, max_loss: float | None) -> None:
    """Raise `InputError` for what `calibrate` cannot choose by."""
    if codec not in (*CODECS, BEST):
        raise InputError(f"unknown codec {codec!r}; known are {', '.join([*CODECS, BEST])}")
    if max_loss is None and codec == BEST:
        raise InputError("the best codec is sought within a loss: give max_loss, or --max-loss")
    if max_loss is not None and not 0 <= max_loss <= 100:
        raise InputError(f"max_loss takes a percentage from 0 to 100, found {max_loss}")


class Search:
    """Tries codecs on a network.

    Parameters
    ----------
    graph, sample
        As for `calibrate`.

    Attributes
    ----------
    names : list of str
        The maps that take a codec.
    """

    def __init__(self, graph: Graph, sample: Sample) -> None:
        self._graph, self._sample = replace(graph, codecs={}), sample
        self.names = [each.name for each in stored_maps(self._graph) if each.takes_codec]
        if not self.names:
            raise InputError("the network stores no float32 map between its layers")
        self._model = Model(self._graph)
        self._scores = sample.scores(self._model)
        self._trial = sample.part(TRIAL_IMAGES)
        self._trial_scores = self._trial.scores(self._model)

    def usual(
        self, kind: type[Codec], progress: Progress | None = None, **settings: Any
    ) -> Calibration:
        """The network with that codec in that setting for every map."""
        choices = {}
        for done, name in enumerate(self.names):
            maps = self._maps(name)
            choices[name] = _choice(kind.calibrate(maps, **settings), maps)
            if progress is not None:
                progress(done + 1, len(self.names))
        return self._calibration(choices)

    def trials(
        self, kinds: Sequence[type[Codec]], progress: Progress | None = None
    ) -> dict[str, list[Choice]]:
        """Every setting of every codec for every map, with the error that it makes alone."""
        found = {}
        for done, name in enumerate(self.names):
            found[name] = self._tried(name, kinds)
            if progress is not None:
                progress(done + 1, len(self.names))
        return found

    def within(self, max_loss: float, trials: Mapping[str, Sequence[Choice]]) -> Calibration:
        """The smallest of the choices with which the network loses no more.

        The search is greedy, and more codecs may lead it astray: each is sought with alone as well.
        """
        found, refusal = [], InputError("there is nothing to choose from")
        for kinds in _kinds_to_seek_with(trials):
            allowed = {name: _of(choices, kinds) for name, choices in trials.items()}
            try:
                found.append(self._within(max_loss, allowed))
            except InputError as error:
                refusal = error
        if not found:
            raise refusal
        return min(found, key=lambda each: each.bytes)

    def _within(self, max_loss: float, trials: Mapping[str, Sequence[Choice]]) -> Calibration:
        hulls = {name: _hull(choices) for name, choices in trials.items()}
        steps = _steps(hulls)
        mildest = {name: hull[0] for name, hull in hulls.items()}
        best = self._calibration(mildest)
        if best.loss > max_loss:
            raise InputError(
                f"even the mildest settings lose {best.loss:.2f} % of the {len(self._sample)} "
                f"images, more than {max_loss} %"
            )
        # The loss grows with the steps but for noise: bisect, and keep what was measured.
        first, end = 0, len(steps) + 1
        while end - first > 1:
            count = (first + end) // 2
            found = self._calibration(mildest | dict(steps[:count]))
            if found.loss <= max_loss:
                best, first = found, count
            else:
                end = count
        return best

    def _calibration(self, choices: Mapping[str, Choice]) -> Calibration:
        """The choices, with what the network loses by them."""
        graph = self._with(choices)
        scores = self._sample.scores(Model(graph, feature_maps="all"))
        loss = self._sample.loss(self._scores, scores)
        labelled = self._sample.targets is not None
        return Calibration(graph, choices, loss, len(self._sample), labelled)

    def _tried(self, name: str, kinds: Sequence[type[Codec]]) -> list[Choice]:
        maps = self._maps(name)
        spread = float(self._trial_scores.var()) or 1.0
        found = []
        for kind in kinds:
            for settings in kind.settings():
                choice = _choice(kind.calibrate(maps, **settings), maps)
                model = Model(self._with({name: choice}), feature_maps="all")
                moved = (self._trial.scores(model) - self._trial_scores).astype(np.float64)
                found.append(replace(choice, error=float(np.square(moved).mean()) / spread))
        return found

    def _maps(self, name: str) -> Maps:
        values = self._model.predict(self._sample.part(MAP_IMAGES).images, nodes=name)
        assert isinstance(values, dict)
        return values[name]

    def _with(self, choices: Mapping[str, Choice]) -> Graph:
        codecs = {name: choice.codec for name, choice in choices.items()}
        return replace(self._graph, codecs=codecs)


def _choice(codec: Codec, maps: Maps) -> Choice:
    out = np.empty(codec.bound(maps.shape[1:]), np.uint8)
    step = max(1, len(maps) // SIZE_IMAGES)
    sizes = [codec.encode_payload(each, out) for each in maps[::step]]
    return Choice(MapCodec(codec, max(sizes)), LENGTH_BYTES + float(np.mean(sizes)))


def _kinds_to_seek_with(trials: Mapping[str, Sequence[Choice]]) -> list[set[str]]:
    """The names of each codec by itself, and of all together where there are several."""
    names = {choice.codec.codec.name for choices in trials.values() for choice in choices}
    alone = [{name} for name in sorted(names)]
    return [*alone, names] if len(names) > 1 else alone


def _of(choices: Sequence[Choice], kinds: set[str]) -> list[Choice]:
    return [choice for choice in choices if choice.codec.codec.name in kinds]


def _hull(choices: Sequence[Choice]) -> list[Choice]:
    """The choices on the lower convex hull of bytes over error, the least error first."""
    hull: list[Choice] = []
    for choice in sorted(choices, key=lambda choice: (choice.error, choice.bytes)):
        if hull and choice.bytes >= hull[-1].bytes:
            continue
        while len(hull) > 1 and _gain(hull[-2], hull[-1]) <= _gain(hull[-1], choice):
            hull.pop()
        hull.append(choice)
    return hull


def _gain(before: Choice, after: Choice) -> float:
    """Bytes saved for each unit of error."""
    error = after.error - before.error
    return (before.bytes - after.bytes) / error if error > 0 else float("inf")


def _steps(hulls: Mapping[str, Sequence[Choice]]) -> list[tuple[str, Choice]]:
    """All steps from a choice to the next coarser one, the best first."""
    steps = [
        (_gain(before, after), name, after)
        for name, hull in hulls.items()
        for before, after in pairwise(hull)
    ]
    return [(name, after) for _, name, after in sorted(steps, key=lambda step: -step[0])]
