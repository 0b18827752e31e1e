"""What explains the figures of compressed feature maps: their memory, and their channels.

    python benchmarks/feature_map_facts.py resnet20.h5 resnet56.h5 cifar-10-batches-bin

Two tables, which go between marks of ``docs/feature-maps.md``: the bytes that running a network
takes with and without codecs, for one image and for a batch; and how sparse the maps are, how much
adjacent channels have in common, and what a transform along channels costs or saves.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from feature_maps import CALIBRATION_IMAGES, DOCS, TRAINING_BATCH, write_table
from numpy.typing import NDArray
from pages import markdown

from bitconv import Model, read
from bitconv.compiler import compile_graph
from bitconv.feature_maps import CODECS, DctCm
from bitconv.feature_maps.calibration import Search
from bitconv.feature_maps.codec import Codec
from bitconv.feature_maps.compression import compress
from bitconv.feature_maps.sample import read_sample
from bitconv.graph import Graph

CODEC = "dct-cm"
IMAGES = (1, 64)
COARSENESSES = (8.0, 16.0)  # finer ones leave mode dct no room in a byte
MAP_IMAGES = 50

Maps = NDArray[np.float32]


def memory_rows(name: str, graph: Graph) -> list[tuple[str, ...]]:
    """A row for each number of images: bytes of the arena, and all bytes, in each way to run."""
    rows = []
    ways = (replace(graph, codecs={}), compress(graph), compress(graph, "all"))
    for images in IMAGES:
        plans = [compile_graph(way, images=images, threads=1) for way in ways]
        arenas = [f"{plan.arena_bytes:,}" for plan in plans]
        totals = [f"{plan.arena_bytes + plan.constants.nbytes:,}" for plan in plans]
        rows.append((name, str(images), *arenas, *totals))
    return rows


@dataclass(frozen=True)
class Channels:
    """The maps of one layer.

    Attributes
    ----------
    sparsity : float
    correlation : float
        Of adjacent channels; the mean of its magnitude.
    bits : tuple of (float, float)
        A value in mode raw and in mode dct, for each of COARSENESSES; NaN where there is no such.
    """

    sparsity: float
    correlation: float
    bits: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, maps: Maps) -> Channels:
        bits = [_bits_of_modes(maps, coarseness) for coarseness in COARSENESSES]
        return cls(float((maps == 0).mean()), _correlation(maps), tuple(bits))


def _correlation(maps: Maps) -> float:
    pixels = maps.reshape(-1, maps.shape[-1]).astype(np.float64)
    pixels = pixels[:, pixels.std(axis=0) > 0]
    centred = (pixels - pixels.mean(axis=0)) / pixels.std(axis=0)
    return float(np.abs((centred[:, 1:] * centred[:, :-1]).mean(axis=0)).mean())


def _bits_of_modes(maps: Maps, coarseness: float) -> tuple[float, float]:
    codecs = {codec.mode: codec for codec in DctCm.modes(maps, coarseness)}
    raw, transformed = (codecs.get(mode) for mode in ("raw", "dct"))
    return _bits(raw, maps), _bits(transformed, maps)


def _bits(codec: Codec | None, maps: Maps) -> float:
    if codec is None:
        return float("nan")
    out = np.empty(codec.bound(maps.shape[1:]), np.uint8)
    return 8 * sum(codec.encode_payload(each, out) for each in maps) / maps.size


def channel_row(name: str, layers: Sequence[Channels]) -> tuple[str, ...]:
    """Means over the maps of a network, and how many of them the transform makes smaller."""
    sparsity = np.mean([each.sparsity for each in layers])
    correlation = np.mean([each.correlation for each in layers])
    cells = [name, str(len(layers)), f"{100 * sparsity:.0f} %", f"{correlation:.2f}"]
    for index in range(len(COARSENESSES)):
        raw, transformed = np.array([each.bits[index] for each in layers]).T
        both = ~np.isnan(transformed)
        smaller = int((transformed[both] < raw[both]).sum())
        cells.append(f"{raw[both].mean():.2f}, {transformed[both].mean():.2f}; {smaller}")
    return tuple(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", type=Path, nargs="+", help="models to look at")
    parser.add_argument("data", type=Path, help="folder of CIFAR-10's binary batches")
    options = parser.parse_args()
    memory, channels = [], []
    for path in options.models:
        graph = read(path)
        model = Model(graph)
        sample = read_sample(model, options.data / TRAINING_BATCH, CALIBRATION_IMAGES)
        search = Search(graph, sample)
        memory += memory_rows(path.stem, search.usual(CODECS[CODEC]).graph)
        images = sample.part(MAP_IMAGES).images
        layers = []
        for name in search.names:
            values = model.predict(images, nodes=name)
            assert isinstance(values, dict)
            layers.append(Channels.of(values[name]))
        channels.append(channel_row(path.stem, layers))
    ways = ("as they are", "`True`", '`"all"`')
    header = ("network", "images", *(f"arena, {w}" for w in ways), *(f"in all, {w}" for w in ways))
    page = DOCS / "feature-maps.md"
    write_table(page, "memory", markdown(header, memory))
    bits = [f"bits a value at coarseness {c:g}: raw, dct; smaller" for c in COARSENESSES]
    header = ("network", "maps", "zeros", "correlation", *bits)
    write_table(page, "channels", markdown(header, channels))


if __name__ == "__main__":
    main()
