"""PyTorch modules that several tests export."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bitconv.graph import Graph
from bitconv.operators import Normalize
from bitconv.training import BinaryConv2d, BinarySign

IMAGES = np.random.default_rng(3).integers(0, 256, (6, 13, 11, 3), dtype=np.uint8)
NORMALIZATION = Normalize([120.0, 110, 100], [60.0, 65, 70])


class Block(nn.Module):
    """A residual block that shrinks the map and doubles its channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.sign = BinarySign(channels)
        self.convolution = BinaryConv2d(channels, 2 * channels, 3, 2, 1, bias=False, scale="3xI")
        self.norm = nn.BatchNorm2d(2 * channels)
        self.shrink = nn.AvgPool2d(3, 2, 1)
        self.activation = nn.PReLU(2 * channels)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.shrink(x)
        y = self.norm(self.convolution(self.sign(x)))
        return self.activation(torch.cat([shortcut, shortcut], 1) + y)


class Network(nn.Module):
    """A float stem, two binary blocks and a float classifier of four classes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 5, (3, 2), padding=(1, 0), dilation=(1, 2))
        self.norm = nn.BatchNorm2d(5, affine=False)
        self.relu = nn.ReLU(inplace=True)
        self.blocks = nn.Sequential(Block(5), Block(10))
        self.classifier = nn.Linear(20, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.blocks(self.relu(self.norm(self.stem(x)))).mean((2, 3)))


class Calls(nn.Module):
    """A module whose forward is a function of its input, and of `gain` where that is asked for."""

    def __init__(self, function: Any, channels: int = 3) -> None:
        super().__init__()
        self.function = function
        self.gain = nn.Parameter(torch.linspace(-1, 2, channels).view(channels, 1, 1))

    def forward(self, x: Tensor) -> Any:
        wants_gain = self.function.__code__.co_argcount == 2
        return self.function(x, self.gain) if wants_gain else self.function(x)


def as_trained(module: nn.Module) -> nn.Module:
    """Statistics, slopes and thresholds as training would leave them: all different."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -1, 1)
            nn.init.uniform_(layer.running_var, 0.5, 2)
            if layer.affine:
                nn.init.uniform_(layer.weight, -1, 1)
                nn.init.uniform_(layer.bias, -1, 1)
        elif isinstance(layer, BinarySign):
            nn.init.uniform_(layer.threshold, -0.5, 0.5)
        elif isinstance(layer, nn.PReLU):
            nn.init.uniform_(layer.weight, -0.5, 0.5)
    return module


def floats(*shape: int) -> NDArray[np.float32]:
    """Random images (N, height, width, channels) around zero."""
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def reference(graph: Graph, images: NDArray[Any]) -> NDArray[Any]:
    """What the graph's references make of images."""
    values = {"image": images}
    for node in graph.nodes:
        values[node.name] = node.operator.reference(*(values[name] for name in node.inputs))
    return values[graph.outputs[0]]


def in_pytorch(module: nn.Module, images: NDArray[Any]) -> NDArray[Any]:
    """What the module makes of images, maps channels last."""
    with torch.no_grad():
        result = module.eval()(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous())
    return (result.movedim(1, -1) if result.dim() > 2 else result).numpy()
