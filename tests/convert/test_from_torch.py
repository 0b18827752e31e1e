"""PyTorch modules that are not made of bitconv's layers, through PyTorch's exporters."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx_networks import kinds
from torch import Tensor, nn
from torch.nn import functional

from bitconv.convert import from_torch
from bitconv.convert.onnx import convert
from bitconv.errors import UnsupportedError
from bitconv.model import Model
from bitconv.operators import BinaryConv2d, BinaryDense


class SignFunction(torch.autograd.Function):
    """A sign with a straight-through gradient, as BNN code has it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004  # PyTorch's signature
        return torch.where(x >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004  # PyTorch's signature
        return gradient


class Conv(nn.Conv2d):
    """XNOR-Net's layer: signs of the input, α·sign of the weights."""

    def forward(self, x: Tensor) -> Tensor:
        alpha = self.weight.abs().mean((1, 2, 3), keepdim=True)
        bits = torch.where(self.weight >= 0, 1.0, -1.0)
        signs = (SignFunction.apply(x) - x).detach() + x  # type: ignore[no-untyped-call]  # of PyTorch
        return functional.conv2d(signs, bits * alpha, None, self.stride, self.padding)


class Network(nn.Module):
    """A residual block and a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.conv = Conv(8, 8, 3, padding=1)
        self.after = nn.BatchNorm2d(8)
        self.down = nn.Linear(8 * 4 * 4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm(self.stem(x / 255)))
        x = x + self.after(self.conv(x - 0.5))
        x = functional.max_pool2d(functional.hardtanh(x), 2)
        return self.down(x.view(x.size(0), -1))


def _module() -> Network:
    torch.manual_seed(2)
    module = Network()
    for norm in (module.norm, module.after):
        nn.init.uniform_(norm.running_mean, -0.5, 0.5)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    return module.eval()


def _images() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (4, 3, 8, 8)).astype(np.uint8)


def _agrees(module: nn.Module, graph: Any) -> None:
    images = _images()
    with torch.no_grad():
        expected = module(torch.from_numpy(images).float()).numpy()
    found = Model(graph).reference(images.transpose(0, 2, 3, 1).astype(np.float32))
    np.testing.assert_allclose(found, expected, 1e-4, 1e-4)


def test_a_module_of_its_own_layers_gives_the_same_scores() -> None:
    module = _module()
    graph = from_torch(module, torch.zeros(1, 3, 8, 8))
    _agrees(module, graph)
    binary = [node for node in graph.nodes if isinstance(node.operator, BinaryConv2d | BinaryDense)]
    assert len(binary) == 1
    assert graph.types[binary[0].inputs[0]].kind == "bits"


def test_the_older_exporter_gives_the_same(tmp_path: Path) -> None:
    module, path = _module(), tmp_path / "net.onnx"

    class Plain(Conv):
        def forward(self, x: Tensor) -> Tensor:
            alpha = self.weight.abs().mean((1, 2, 3), keepdim=True)
            bits = torch.where(self.weight >= 0, 1.0, -1.0)
            signs = torch.where(x >= 0, 1.0, -1.0)
            return functional.conv2d(signs, bits * alpha, None, self.stride, self.padding)

    module.conv.__class__ = Plain
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is the older one
        torch.onnx.export(
            module,
            (torch.zeros(1, 3, 8, 8),),
            str(path),
            dynamo=False,
            input_names=["image"],
            dynamic_axes={"image": [0]},
        )
    conversion = convert(path)
    _agrees(module, conversion.graph)
    assert kinds(conversion) == ["float", "binary", "float"]


def test_a_module_that_cannot_be_exported_is_refused() -> None:
    class Fickle(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(UnsupportedError, match="cannot export Fickle"):
        from_torch(Fickle(), torch.zeros(1, 3, 8, 8))
