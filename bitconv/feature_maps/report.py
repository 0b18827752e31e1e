"""What keeping the maps of a network encoded saves, and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf, log10

import numpy as np
from numpy.typing import NDArray

from bitconv.errors import InputError
from bitconv.feature_maps.compression import StoredMap, stored_maps
from bitconv.feature_maps.sample import Sample
from bitconv.graph import Graph
from bitconv.kernels.records import LENGTH_BYTES
from bitconv.model import Model
from bitconv.text import printable, table

SIZE_IMAGES = 200  # whose maps are encoded; labels are counted on all images
FLOAT_BYTES = 4

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class MapReport:
    """One map that running a network stores.

    Attributes
    ----------
    name : str
    kind : str
        ``float32`` or ``bits``.
    shape : tuple of int
    codec, mode : str
        Empty where the map has no codec.
    encoded_bytes : float
        The mean over the images, of all that the arena holds of a map; of bits what they take.
    sparsity : float
        The fraction of values that are zero.
    snr : float
        Signal over the codec's noise in dB; infinite where nothing is lost, and below zero where
        nothing but noise is left.
    outlives_next_step : bool
        Whether ``feature_maps=True`` keeps it encoded, not only ``"all"``.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    codec: str = ""
    mode: str = ""
    encoded_bytes: float = 0.0
    sparsity: float = 0.0
    snr: float = inf
    outlives_next_step: bool = False

    @property
    def values(self) -> int:
        return int(np.prod(self.shape))

    @property
    def float_bytes(self) -> int:
        return FLOAT_BYTES * self.values

    @property
    def ratio(self) -> float:
        """Bytes of the 8-bit map over those of the encoded one."""
        return self.values / self.encoded_bytes


@dataclass(frozen=True)
class NetworkReport:
    """The maps of a network and what their codecs do to its labels; `str()` is a table.

    Attributes
    ----------
    maps : tuple of MapReport
        In the order in which they are computed; those without a codec are there as well.
    images : int
        Of which the labels were compared.
    changed : int
        Images that get another label with all codecs in place.
    correct_before, correct_after : int or None
        Images that get the right label without and with codecs, where that is known.
    arena_bytes : tuple of int
        Memory for one image: with all maps as they are, with those encoded that outlive the next
        step, and with all encoded.
    """

    maps: tuple[MapReport, ...]
    images: int
    changed: int
    correct_before: int | None
    correct_after: int | None
    arena_bytes: tuple[int, int, int]

    @property
    def coded(self) -> list[MapReport]:
        """The maps that have a codec."""
        return [each for each in self.maps if each.codec]

    @property
    def mean_ratio(self) -> float:
        """The mean over the coded maps of 8-bit bytes over encoded bytes."""
        return float(np.mean([each.ratio for each in self.coded]))

    @property
    def total_ratio(self) -> float:
        """The 8-bit bytes of all coded maps over their encoded bytes."""
        encoded = sum(each.encoded_bytes for each in self.coded)
        return sum(each.values for each in self.coded) / encoded

    def __str__(self) -> str:
        header = ("map", "kind", "float32", "8-bit", "encoded", "ratio", "codec", "zeros", "SNR")
        rows = [_row(each) for each in self.maps]
        coded = self.coded
        floats, octets = sum(m.float_bytes for m in coded), sum(m.values for m in coded)
        encoded = sum(each.encoded_bytes for each in coded)
        total = ("coded maps", "", f"{floats:,}", f"{octets:,}", f"{encoded:,.0f}")
        rows.append((*total, f"{self.total_ratio:.2f}×", "", "", ""))
        return "\n\n".join([table(header, rows, left=2), self._ratios(), self._labels()])

    def _ratios(self) -> str:
        mean, total = self.mean_ratio, self.total_ratio
        plain, some, every = self.arena_bytes
        return (
            f"ratio   against 8 bits: mean over the maps {mean:.2f}×, total {total:.2f}×\n"
            f"        against float32: mean {FLOAT_BYTES * mean:.2f}×, "
            f"total {FLOAT_BYTES * total:.2f}×\n"
            f"memory  for one image {plain:,} bytes; with feature_maps=True {some:,}, "
            f'with "all" {every:,}'
        )

    def _labels(self) -> str:
        share = 100 * self.changed / self.images
        lines = f"labels  {self.changed:,} of {self.images:,} changed ({share:.2f} %)"
        if self.correct_before is None or self.correct_after is None:
            return lines
        before, after = (100 * n / self.images for n in (self.correct_before, self.correct_after))
        return f"{lines}\naccuracy  {before:.2f} % without codecs, {after:.2f} % with all of them"


def _row(each: MapReport) -> tuple[str, ...]:
    name, raw = printable(each.name), f"{each.float_bytes:,}"
    if not each.codec:
        plain = f"{each.encoded_bytes:,.0f}" if each.kind == "bits" else ""
        return (name, each.kind, raw, f"{each.values:,}", plain, "", "", "", "")
    codec = f"{each.codec} {each.mode}".rstrip()
    snr = "exact" if each.snr == inf else f"{each.snr:.1f} dB"
    return (
        name,
        each.kind,
        raw,
        f"{each.values:,}",
        f"{each.encoded_bytes:,.0f}",
        f"{each.ratio:.2f}×",
        codec,
        f"{100 * each.sparsity:.0f} %",
        snr,
    )


def report(
    graph: Graph,
    sample: Sample,
    progress: Progress | None = None,
    *,
    before: NDArray[np.float32] | None = None,
) -> NetworkReport:
    """Measure the codecs of a network.

    Parameters
    ----------
    graph : Graph
        With codecs.
    sample : Sample
    progress : callable, optional
        Called with the maps done and the maps in all.
    before : float32 array of shape (N, classes), optional
        The scores of the sample without codecs, where they are known.

    Raises
    ------
    InputError
        The network has no codecs for maps that are stored, or does not end in class scores.
    """
    if not graph.codecs:
        raise InputError(
            "the model has no codecs for its feature maps; make them with: bitconv calibrate"
        )
    plain = Model(replace(graph, codecs={}))
    maps, stored = [], stored_maps(plain.graph)
    if graph.codecs.keys().isdisjoint(each.name for each in stored):
        raise InputError(
            f"the codecs are for {', '.join(map(repr, graph.codecs))}, and running the network "
            "stores no such map; make others with: bitconv calibrate"
        )
    some, every = (Model(graph, feature_maps=which) for which in (True, "all"))
    few = sample.part(SIZE_IMAGES)
    for done, each in enumerate(stored):
        maps.append(_map_report(graph, plain, each, few))
        if progress is not None:
            progress(done + 1, len(stored))
    old = (sample.scores(plain) if before is None else before).argmax(axis=1)
    new = sample.scores(every).argmax(axis=1)
    targets = sample.targets
    right = [None if targets is None else int((x == targets).sum()) for x in (old, new)]
    return NetworkReport(
        maps=tuple(maps),
        images=len(sample),
        changed=int((old != new).sum()),
        correct_before=right[0],
        correct_after=right[1],
        arena_bytes=(plain.arena_bytes, some.arena_bytes, every.arena_bytes),
    )


def _map_report(graph: Graph, plain: Model, stored: StoredMap, sample: Sample) -> MapReport:
    found = MapReport(
        stored.name,
        stored.type.kind,
        stored.type.shape,
        outlives_next_step=stored.outlives_next_step,
    )
    if stored.type.kind == "bits":
        return replace(found, encoded_bytes=found.values / 8)
    if stored.name not in graph.codecs:
        return found
    values = plain.predict(sample.images, nodes=stored.name)
    assert isinstance(values, dict)
    maps, codec = values[stored.name], graph.codecs[stored.name].codec
    out = np.empty(codec.bound(maps.shape[1:]), np.uint8)
    total, noise = 0, 0.0
    for each in maps:
        length = codec.encode_payload(each, out)
        total += LENGTH_BYTES + length
        decoded = codec.decode_payload(out[:length], each.shape)
        noise += _energy(decoded - each)
    return replace(
        found,
        codec=codec.name,
        mode=codec.mode,
        encoded_bytes=total / len(maps),
        sparsity=float((maps == 0).mean()),
        snr=_decibels(_energy(maps), noise),
    )


def _decibels(signal: float, noise: float) -> float:
    if not noise:
        return inf
    return 10 * log10(signal / noise) if signal else -inf


def _energy(values: NDArray[np.float32]) -> float:
    return float(np.square(values, dtype=np.float64).sum())
