"""Fully connected layers with float weights and with binary weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.bits import BitArray
from bitconv.errors import GraphError
from bitconv.graph import TensorType
from bitconv.operators.convolution import BinaryConv2d, Conv2d, check_bias, check_binary
from bitconv.operators.operator import BITS, FLOAT32, SCALE, Operator
from bitconv.scales import ScaleGrid


def _as_pixel(value: TensorType) -> TensorType:
    if len(value.shape) != 1:
        raise GraphError(f"takes a vector, found {value}; flatten it first")
    return TensorType((1, 1, *value.shape), value.kind, value.planes)


def _check_matrix(shape: tuple[int, ...]) -> None:
    if len(shape) != 2 or min(shape) < 1:
        raise GraphError(f"weight takes the shape (outputs, inputs), found {shape}")


@dataclass(frozen=True, eq=False)
class Dense(Operator):
    """``y = W x + b``: a 1×1 `Conv2d` of one pixel.

    Attributes
    ----------
    weight : float32 array of shape (outputs, inputs)
    bias : float32 array of shape (outputs,), optional
    """

    name = "dense"
    weight: NDArray[np.float32] = field(metadata=FLOAT32)
    bias: NDArray[np.float32] | None = field(default=None, metadata=FLOAT32)

    def check(self) -> None:
        _check_matrix(self.weight.shape)
        check_bias(self.bias, len(self.weight))

    @property
    def convolution(self) -> Conv2d:
        """The same layer as a convolution."""
        return Conv2d(weight=self.weight[:, None, None, :], bias=self.bias)

    def infer(self, value: TensorType) -> TensorType:
        result = self.convolution.infer(_as_pixel(value))
        return TensorType(result.shape[-1:], result.kind)

    def reference(self, vectors: NDArray[Any]) -> NDArray[np.float32]:
        return self.convolution.reference(vectors[:, None, None, :])[:, 0, 0, :]


@dataclass(frozen=True, eq=False)
class BinaryDense(Operator):
    """A fully connected layer with weights −1 and +1: a 1×1 `BinaryConv2d` of one pixel.

    Of signs or, as in BWN (arXiv 1603.05279, section 3.1), of numbers.

    Attributes
    ----------
    weight : BitArray of shape (outputs, inputs)
    scale : ScaleGrid, optional
    bias : float32 array of shape (outputs,), optional
    activation_scale : float
    """

    name = "binary_dense"
    weight: BitArray = field(metadata=BITS)
    scale: ScaleGrid | None = field(default=None, metadata=SCALE)
    bias: NDArray[np.float32] | None = field(default=None, metadata=FLOAT32)
    activation_scale: float = 1.0

    def check(self) -> None:
        _check_matrix(self.weight.shape)
        check_binary(self)

    @property
    def convolution(self) -> BinaryConv2d:
        """The same layer as a convolution."""
        outputs, inputs = self.weight.shape
        weight = BitArray((outputs, 1, 1, inputs), self.weight.stream, self.weight.planes)
        return BinaryConv2d(
            weight=weight, scale=self.scale, bias=self.bias, activation_scale=self.activation_scale
        )

    def infer(self, value: TensorType) -> TensorType:
        result = self.convolution.infer(_as_pixel(value))
        return TensorType(result.shape[-1:], result.kind)

    def reference(self, vectors: NDArray[Any]) -> NDArray[Any]:
        return self.convolution.reference(vectors[:, None, None, :])[:, 0, 0, :]
