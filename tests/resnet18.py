"""ResNet-18 with random weights: the float network, and one whose 3×3 layers are binary."""

from __future__ import annotations

import numpy as np

from bitconv.bits import BitArray
from bitconv.graph import Graph, Node, TensorType
from bitconv.operators import (
    Add,
    BatchNorm,
    BinaryConv2d,
    Conv2d,
    Dense,
    GlobalAvgPool2d,
    MaxPool2d,
    Operator,
    Relu,
    Sign,
)
from bitconv.scales import ScaleGrid

STAGES = (64, 128, 256, 512)  # channels; two blocks of two convolutions each
LARGE = 64  # rows from which the stem shrinks the map, as for ImageNet


def resnet18(size: int, *, binary: bool, classes: int = 1000) -> Graph:
    """A ResNet-18 for float32 images of `size` rows and columns.

    The binary network has a sign wherever the float one has a rectifier before a 3×3 convolution;
    its stem, its 1×1 shortcuts and its classifier stay float.
    """
    return _ResNet18(binary).graph(size, classes)


class _ResNet18:
    def __init__(self, binary: bool) -> None:
        self.binary = binary
        self.rng = np.random.default_rng(0)
        self.nodes: list[Node] = []

    def graph(self, size: int, classes: int) -> Graph:
        last = self.stem(large=size >= LARGE)
        for stage, channels in enumerate(STAGES):
            for block in range(2):
                stride = 2 if stage > 0 and block == 0 else 1
                before = STAGES[stage - 1] if stride == 2 else channels
                last = self.block(f"stage{stage}_{block}", last, before, channels, stride)
        last = self.add("mean", GlobalAvgPool2d(), last)
        weight = self.rng.normal(size=(classes, STAGES[-1])) / 20
        self.add("scores", Dense(weight, self.rng.normal(size=classes) / 20), last)
        return Graph({"image": TensorType((size, size, 3))}, tuple(self.nodes))

    def stem(self, *, large: bool) -> str:
        kernel, stride = (7, 2) if large else (3, 1)
        last = self.float_layer("stem", "image", 3, STAGES[0], kernel, stride)
        last = self.add("stem_relu", Relu(), last)
        return self.add("stem_pool", MaxPool2d(3, 2, padding=1), last) if large else last

    def block(self, name: str, x: str, before: int, channels: int, stride: int) -> str:
        last = self.layer(f"{name}_a", self.activation(f"{name}_x", x), before, channels, stride)
        last = self.activation(f"{name}_y", last)
        last = self.layer(f"{name}_b", last, channels, channels, 1)
        shortcut = x
        if stride == 2:
            shortcut = self.float_layer(f"{name}_shortcut", x, before, channels, 1, stride)
        return self.add(f"{name}_sum", Add(), shortcut, last)

    def activation(self, name: str, x: str) -> str:
        return self.add(name, Sign([0.0]) if self.binary else Relu(), x)

    def layer(self, name: str, x: str, before: int, channels: int, stride: int) -> str:
        if not self.binary:
            return self.float_layer(name, x, before, channels, 3, stride)
        bits = BitArray.from_bits(self.rng.random((channels, 3, 3, before)) < 0.5)
        scale = ScaleGrid(self.rng.uniform(0.01, 0.03, (channels, 1)), 1, before)
        convolution = BinaryConv2d(bits, scale, stride=stride, padding=1)
        return self.norm(name, self.add(f"{name}_convolution", convolution, x), channels)

    def float_layer(
        self, name: str, x: str, before: int, channels: int, kernel: int, stride: int
    ) -> str:
        weight = self.rng.normal(size=(channels, kernel, kernel, before))
        weight *= (2 / (kernel * kernel * before)) ** 0.5
        convolution = Conv2d(weight, stride=stride, padding=kernel // 2)
        return self.norm(name, self.add(f"{name}_convolution", convolution, x), channels)

    def norm(self, name: str, x: str, channels: int) -> str:
        gamma, variance = self.rng.uniform(0.5, 1.5, (2, channels))
        beta, mean = self.rng.normal(size=(2, channels)) / 10
        return self.add(f"{name}_norm", BatchNorm(np.stack([gamma, beta, mean, variance])), x)

    def add(self, name: str, operator: Operator, *inputs: str) -> str:
        self.nodes.append(Node(name, operator, inputs))
        return name
