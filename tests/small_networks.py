"""Small networks of every kind that a model may be, with random weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from engine import random_bits, random_norm, signs

from bitconv import Graph, Metadata, Node, TensorType
from bitconv.feature_maps import CODECS
from bitconv.feature_maps.calibration import Search
from bitconv.feature_maps.sample import Sample
from bitconv.operators import (
    Add,
    BinaryConv2d,
    Conv2d,
    Dense,
    GlobalAvgPool2d,
    Normalize,
    PRelu,
    Relu,
)
from bitconv.scales import ScaleGrid


def binary_resnet(size: int = 12, channels: int = 24, blocks: int = 2, **metadata: Any) -> Graph:
    """A float stem, binary blocks with a shortcut each, and a float classifier of five classes."""
    rng = np.random.default_rng(channels)
    nodes = [
        Node("normalize", Normalize([120.0, 118.0, 110.0], [60.0]), "image"),
        Node("stem", Conv2d(rng.normal(size=(channels, 3, 3, 3)) / 5, padding=1), "normalize"),
        Node("map0", random_norm(rng, channels), "stem"),
    ]
    for block in range(blocks):
        before, after = f"map{block}", f"map{block + 1}"
        scale = ScaleGrid(rng.uniform(0.01, 0.1, (-(-channels // 8), 1)), 8, channels)
        weight = random_bits(rng, channels, 3, 3, channels)
        nodes += [
            Node(f"sign{block}", signs(channels), before),
            Node(f"conv{block}", BinaryConv2d(weight, scale, padding=1), f"sign{block}"),
            Node(f"norm{block}", random_norm(rng, channels), f"conv{block}"),
            Node(f"add{block}", Add(), (before, f"norm{block}")),
            Node(after, PRelu(rng.uniform(0, 1, channels)), f"add{block}"),
        ]
    nodes += [
        Node("mean", GlobalAvgPool2d(), f"map{blocks}"),
        Node("scores", Dense(rng.normal(size=(5, channels)), rng.normal(size=5)), "mean"),
    ]
    inputs = {"image": TensorType((size, size, 3), "uint8")}
    return Graph(inputs, tuple(nodes), metadata=Metadata(**metadata))


def float_resnet(size: int = 10, channels: int = 8, blocks: int = 2, **metadata: Any) -> Graph:
    """A float residual network: its maps are what follows each ReLU; five classes."""
    rng = np.random.default_rng(channels)

    def convolution(inputs: int) -> Conv2d:
        weight = rng.normal(size=(channels, 3, 3, inputs)) / np.sqrt(4 * inputs)
        return Conv2d(weight, rng.normal(size=channels) / 4, padding=1)

    nodes = [
        Node("normalize", Normalize([120.0, 118.0, 110.0], [60.0]), "image"),
        Node("stem", convolution(3), "normalize"),
        Node("map0", Relu(), "stem"),
    ]
    for block in range(blocks):
        before, after = f"map{block}", f"map{block + 1}"
        nodes += [
            Node(f"first{block}", convolution(channels), before),
            Node(f"inner{block}", Relu(), f"first{block}"),
            Node(f"second{block}", convolution(channels), f"inner{block}"),
            Node(f"add{block}", Add(), (f"second{block}", before)),
            Node(after, Relu(), f"add{block}"),
        ]
    nodes += [
        Node("mean", GlobalAvgPool2d(), f"map{blocks}"),
        Node("scores", Dense(rng.normal(size=(5, channels)), rng.normal(size=5)), "mean"),
    ]
    inputs = {"image": TensorType((size, size, 3), "uint8")}
    return Graph(inputs, tuple(nodes), metadata=Metadata(**metadata))


def with_codecs(graph: Graph, codec: str = "eight-bit", largest: int | None = None) -> Graph:
    """The network with a codec in its usual setting for each of its maps.

    Where `largest` is given, the codecs say that no map took more bytes.
    """
    found = Search(graph, Sample(pictures(graph, 4, seed=1))).usual(CODECS[codec]).graph
    if largest is None:
        return found
    codecs = {name: replace(each, largest=largest) for name, each in found.codecs.items()}
    return replace(found, codecs=codecs)


def pictures(graph: Graph, count: int, seed: int = 0) -> np.ndarray:
    """Random uint8 images of the network's input size."""
    (value,) = graph.inputs.values()
    return np.random.default_rng(seed).integers(0, 256, (count, *value.shape)).astype(np.uint8)
