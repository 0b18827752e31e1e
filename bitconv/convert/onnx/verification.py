"""A converted network beside onnxruntime, on the same images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.convert.onnx.reading import one_line
from bitconv.convert.onnx.translation import Conversion
from bitconv.convert.onnx.values import Value, natural_order
from bitconv.errors import InputError, MissingPackageError, UnsupportedError
from bitconv.model import Model
from bitconv.rounding import ROUNDING
from bitconv.text import printable

FARTHEST = 4  # images of the same label that are followed, those whose scores differ most
MOST = 500  # images that are followed in all
TRACE_BYTES = 2**27  # of tensors that are followed at once


@dataclass(frozen=True)
class Parting:
    """The first tensor of a network at which both runs of an image differ by more than rounding.

    Attributes
    ----------
    tensor : str
        As ONNX calls it.
    differing, elements : int
    largest : float
        The largest difference.
    margin : float, optional
        Of a sign: how far from its threshold the numbers lie where the signs differ, at most, in
        terms of the largest number there.
    """

    tensor: str
    differing: int
    elements: int
    largest: float
    margin: float | None = None

    @property
    def is_rounding(self) -> bool:
        """Whether it is signs of numbers so close to the threshold that rounding decides."""
        return self.margin is not None and self.margin <= ROUNDING

    def __str__(self) -> str:
        if self.margin is None:
            return f"{self.differing} of {self.elements} numbers differ by up to {self.largest:.3g}"
        return (
            f"{self.differing} of {self.elements} signs differ, of numbers within "
            f"{self.margin:.1g} of their threshold"
        )


@dataclass(frozen=True)
class Agreement:
    """How a converted network compares with onnxruntime; printable.

    Attributes
    ----------
    images, same_labels : int
    largest_difference : float
        Of the scores.
    other_labels : tuple of Parting or None
        Of every image with another label that was followed from layer to layer, in their order.
        None where no tensor parts by more than rounding, so that two classes are as likely.
    same_label : tuple of Parting or None
        Of the images with the same label whose scores differ most.
    """

    images: int
    same_labels: int
    largest_difference: float
    other_labels: tuple[Parting | None, ...]
    same_label: tuple[Parting | None, ...]

    @property
    def partings(self) -> tuple[Parting, ...]:
        """Of all images that were followed."""
        return tuple(each for each in (*self.other_labels, *self.same_label) if each is not None)

    @property
    def unfollowed(self) -> int:
        """Images with another label that were too many to follow."""
        return self.images - self.same_labels - len(self.other_labels)

    @property
    def ok(self) -> bool:
        """Whether every other label, and what else was followed, comes from rounding."""
        return not self.unfollowed and all(each.is_rounding for each in self.partings)

    def __str__(self) -> str:
        lines = [
            f"{self.same_labels:,} of {self.images:,} images get onnxruntime's label; scores "
            f"differ by at most {self.largest_difference:.3g}"
        ]
        if self.other_labels:
            explained = sum(each is None or each.is_rounding for each in self.other_labels)
            lines.append(
                f"{explained:,} of {len(self.other_labels):,} other labels come from rounding"
                + (f"; {self.unfollowed:,} more were not followed" if self.unfollowed else "")
            )
        if not self.partings:
            return "\n".join([*lines, "no layer parts from onnxruntime by more than rounding"])
        lines.append("where the images that were followed part from onnxruntime first:")
        for tensor, images in Counter(each.tensor for each in self.partings).items():
            farthest = max(
                (each for each in self.partings if each.tensor == tensor),
                key=lambda each: (not each.is_rounding, each.margin or 0.0, each.largest),
            )
            count = f"{images} images, at most " if images > 1 else ""
            lines.append(f"  {printable(tensor)}: {count}{farthest}")
        return "\n".join(lines)


def verify(
    path: str | Path,
    conversion: Conversion,
    chunks: Iterable[NDArray[Any]],
    model: Model | None = None,
    normalize: Callable[[NDArray[Any]], NDArray[Any]] | None = None,
) -> Agreement:
    """Run onnxruntime and the converted network, and follow every image with another label.

    Parameters
    ----------
    path : str or Path
        The ONNX file.
    conversion : Conversion
        What `convert` made of it.
    chunks : iterable of arrays of shape (N, height, width, channels)
        Images in batches, as `model` takes them.
    model : Model, optional
        The converted network, where it does more than `conversion.graph`.
    normalize : callable, optional
        What `model` does to images before that.
    """
    model = Model(conversion.graph) if model is None else model
    runs = _Runs(path, conversion)
    images = same = 0
    largest = 0.0
    others: list[NDArray[Any]] = []
    alike: list[tuple[float, NDArray[Any]]] = []
    output = model.graph.outputs[0]
    for chunk in chunks:
        prepared = chunk if normalize is None else normalize(chunk)
        expected = runs.scores(prepared)
        results = model.predict(chunk)
        found = results[output] if isinstance(results, dict) else results
        rows = [each.reshape(len(chunk), -1).astype(np.float64) for each in (found, expected)]
        difference = np.abs(rows[0] - rows[1]).max(axis=1)
        agrees = rows[0].argmax(axis=1) == rows[1].argmax(axis=1)
        images, same = images + len(chunk), same + int(agrees.sum())
        largest = max(largest, float(difference.max()))
        others += list(prepared[~agrees])[: MOST - len(others)]
        alike += zip(difference[agrees].tolist(), prepared[agrees], strict=True)
        alike = sorted(alike, key=lambda each: -each[0])[:FARTHEST]
    if not images:
        raise InputError("there is no image to verify with")
    return Agreement(
        images, same, largest, runs.partings(others), runs.partings([image for _, image in alike])
    )


class _Runs:
    """An ONNX network in onnxruntime beside its graph.

    onnxruntime fuses what nobody looks at, which changes how numbers round. To look at comparisons
    alone leaves the scores as they are without, so images are followed along these; where that does
    not explain a difference, along all tensors.
    """

    def __init__(self, path: str | Path, conversion: Conversion) -> None:
        try:
            import onnx
            import onnxruntime
        except ImportError as error:
            raise MissingPackageError(
                "verifying takes onnxruntime: pip install 'bitconv[onnx]'"
            ) from error
        self._start_session, self._info = onnxruntime.InferenceSession, onnx.ValueInfoProto
        self._conversion = conversion
        self._model = Model(conversion.graph)
        self._network = onnx.load(str(path))
        self._outputs = [each.name for each in self._network.graph.output]
        computed = [name for node in self._network.graph.node for name in node.output]
        self._followed = [
            name
            for name in computed
            if (value := conversion.values.get(name)) and value.node in conversion.graph.types
        ]
        self._comparisons = [name for name in self._followed if name in conversion.comparisons]
        self._session = self._showing(self._comparisons)
        given = self._session.get_inputs()[0]
        self._input, self._kind = given.name, conversion.values[given.name].dtype
        self._batch = given.shape[0] if isinstance(given.shape[0], int) else None

    def _showing(self, names: Sequence[str]) -> Any:
        """A session of which the named tensors are outputs as well."""
        shown = type(self._network)()
        shown.CopyFrom(self._network)
        hidden = (name for name in names if name not in self._outputs)
        shown.graph.output.extend(self._info(name=name) for name in hidden)
        try:
            return self._start_session(shown.SerializeToString())
        except Exception as error:  # its exceptions share no public base
            raise UnsupportedError(
                f"onnxruntime cannot run the network: {one_line(error)}"
            ) from error

    def scores(self, batch: NDArray[Any]) -> NDArray[Any]:
        """The first output, for a batch as the graph takes it."""
        (result,) = self._run(self._session, self._outputs[:1], batch)
        return _stored(result, self._conversion.values[self._outputs[0]])

    def partings(self, images: Sequence[NDArray[Any]]) -> tuple[Parting | None, ...]:
        """Where the runs of every image part."""
        signs = [*self._comparisons, self._outputs[0]]
        found = self._first_partings(self._session, signs, images)
        places = [
            place
            for place, parting in enumerate(found)
            if parting is not None and not parting.is_rounding
        ]
        if places:
            left = [images[place] for place in places]
            everything = self._showing(self._followed)
            for place, parting in zip(
                places, self._first_partings(everything, self._followed, left), strict=True
            ):
                found[place] = parting or found[place]
        return tuple(found)

    def _first_partings(
        self, session: Any, names: Sequence[str], images: Sequence[NDArray[Any]]
    ) -> list[Parting | None]:
        values = [self._conversion.values[name] for name in names]
        size = 4 * sum(prod(value.shape) for value in values)
        step = max(1, min(len(images), TRACE_BYTES // size))
        nodes = tuple(dict.fromkeys(value.node for value in values))
        partings: list[Parting | None] = []
        for first in range(0, len(images), step):
            batch = np.stack(images[first : first + step])
            held = self._model.predict(batch, nodes=nodes)
            found = held if isinstance(held, dict) else {nodes[0]: held}
            expected = self._run(session, names, batch)
            for image in range(len(batch)):
                each = slice(image, image + 1)
                compared = (
                    _compare(name, value, found[value.node][each], result[each])
                    for name, value, result in zip(names, values, expected, strict=True)
                )
                partings.append(next(filter(None, compared), None))
        return partings

    def _run(self, session: Any, names: Sequence[str], batch: NDArray[Any]) -> list[NDArray[Any]]:
        """The named tensors for a batch, in as many runs as the network's own batch needs."""
        order = self._conversion.values[self._input].order
        axes = [0, *(1 + order.index(axis) for axis in range(len(order)))]
        given = np.ascontiguousarray(batch.transpose(axes).astype(self._kind))
        size = self._batch or len(given)
        runs = []
        for first in range(0, len(given), size):
            part = given[first : first + size]
            lacking = size - len(part)
            filled = np.concatenate([part, np.repeat(part[-1:], lacking, axis=0)])
            results = session.run(list(names), {self._input: filled})
            runs.append([result[: len(part)] for result in results])
        return [np.concatenate(each) for each in zip(*runs, strict=True)]


def _as_onnx(held: NDArray[Any], value: Value) -> NDArray[Any]:
    """What a node of the graph holds, with its axes as ONNX has them."""
    if value.chw is not None:
        channels, height, width = value.chw
        return held.reshape(-1, height, width, channels).transpose(0, 3, 1, 2).reshape(held.shape)
    order = value.order
    return held.transpose(0, *(1 + order.index(axis) for axis in range(len(order))))


def _stored(result: NDArray[Any], value: Value) -> NDArray[Any]:
    """An output of ONNX with its axes as the graph gives it."""
    order = natural_order(len(value.shape))
    return result.transpose(0, *(1 + axis for axis in order))


def _inside(tensor: NDArray[Any], value: Value) -> NDArray[np.float64]:
    """A tensor of ONNX without the padding that the graph does not hold."""
    if value.padding is not None:
        ends = zip(value.padding.before, value.shape, value.padding.after, strict=True)
        places = [slice(before, length - after) for before, length, after in ends]
        tensor = tensor[:, *places]
    return tensor.astype(np.float64)


def _levels(numbers: NDArray[Any], value: Value) -> NDArray[np.float64]:
    """The levels that a value stands for."""
    levels = [np.asarray(level, np.float64) for level in value.levels]
    if value.is_signs:
        return np.where(numbers > 0, levels[1], levels[0])
    assert value.threshold is not None
    below, at, above = levels
    return np.where(
        numbers < value.threshold, below, np.where(numbers > value.threshold, above, at)
    )


def _compare(name: str, value: Value, held: NDArray[Any], tensor: NDArray[Any]) -> Parting | None:
    """Where a tensor of ONNX and what the graph holds for it differ by more than rounding."""
    wanted = _inside(tensor, value)
    numbers = _as_onnx(held, value).astype(np.float64).reshape(wanted.shape)
    found = _levels(numbers, value) if value.levels else numbers
    difference = np.abs(found - wanted)
    differs = difference > ROUNDING * max(1.0, float(np.abs(wanted).max(initial=0.0)))
    if not differs.any():
        return None
    margin = None
    if value.threshold is not None:
        away = np.abs(numbers - value.threshold)[differs]
        margin = float(away.max() / max(1.0, np.abs(numbers).max()))
    count = int(np.count_nonzero(differs))
    return Parting(name, count, differs.size, float(difference.max()), margin)
