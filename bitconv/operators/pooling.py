"""Maximum and average over windows."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.errors import GraphError
from bitconv.graph import TensorType
from bitconv.operators.operator import (
    Operator,
    as_float,
    expect_kind,
    expect_map,
    ieee,
    running_sum,
)
from bitconv.operators.window import PAIR, SIDES, Window, pair, sides


@dataclass(frozen=True, eq=False)
class _Pool(Operator):
    """The geometry that both pools share.

    Attributes
    ----------
    kernel : int or tuple of int
        (height, width).
    stride : int or tuple of int, optional
        (vertical, horizontal); the kernel when not given.
    padding : int or tuple of int
        One number, (vertical, horizontal), or (top, left, bottom, right); less than the kernel.
    """

    kernel: tuple[int, int] | int = field(metadata=PAIR)
    stride: tuple[int, int] | int | None = field(default=None, metadata=PAIR)
    padding: tuple[int, int, int, int] | tuple[int, int] | int = field(
        default=(0, 0, 0, 0), metadata=SIDES
    )

    def __post_init__(self) -> None:
        if self.stride is None:
            object.__setattr__(self, "stride", self.kernel)
        super().__post_init__()

    @property
    def window(self) -> Window:
        """Where the kernel lies on a map."""
        kernel, padding = pair(self.kernel, "kernel"), sides(self.padding, "padding")
        stride = kernel if self.stride is None else pair(self.stride, "stride")
        return Window(kernel, stride, padding=padding)

    def check(self) -> None:
        (height, width), padding = self.window.kernel, self.window.padding
        if max(padding[0], padding[2]) >= height or max(padding[1], padding[3]) >= width:
            raise GraphError(f"padding {padding} must be less than the kernel {self.kernel}")

    def output_shape(self, value: TensorType) -> tuple[int, int, int]:
        """Shape of the result, or a `GraphError`."""
        *_, channels = expect_map(value)
        return self.window.output_shape(value, channels)


@dataclass(frozen=True, eq=False)
class MaxPool2d(_Pool):
    """The largest value of each window; padding never wins. Takes bits too: +1 beats −1."""

    name = "max_pool2d"

    def infer(self, value: TensorType) -> TensorType:
        expect_kind(value, "bits", "float32", "int32")
        return TensorType(self.output_shape(value), "bits" if value.kind == "bits" else "float32")

    def reference(self, maps: NDArray[Any]) -> NDArray[Any]:
        is_bits = maps.dtype == np.int8
        taps = self.window.taps(maps, -1) if is_bits else self.window.taps(as_float(maps), -np.inf)
        return reduce(np.maximum, taps)


@dataclass(frozen=True, eq=False)
class AvgPool2d(_Pool):
    """The mean of each window, added up tap by tap in row-major order in float32.

    Attributes
    ----------
    count_padding : bool
        Whether padded taps count as zeros; by default only real ones are counted.
    """

    name = "avg_pool2d"
    count_padding: bool = False

    def infer(self, value: TensorType) -> TensorType:
        expect_kind(value, "float32", "int32")
        return TensorType(self.output_shape(value), "float32")

    @ieee
    def reference(self, maps: NDArray[Any]) -> NDArray[np.float32]:
        total = running_sum(self.window.taps(as_float(maps), 0.0))
        if self.count_padding:
            height, width = self.window.kernel
            return total / np.float32(height * width)
        ones = np.ones((1, *maps.shape[1:3], 1), np.float32)
        return total / running_sum(self.window.taps(ones, 0.0))


@dataclass(frozen=True, eq=False)
class GlobalAvgPool2d(Operator):
    """The mean of each channel over the whole map, a vector; added up in row-major order."""

    name = "global_avg_pool2d"

    def infer(self, value: TensorType) -> TensorType:
        expect_kind(value, "float32", "int32")
        return TensorType(expect_map(value)[-1:], "float32")

    @ieee
    def reference(self, maps: NDArray[Any]) -> NDArray[np.float32]:
        n, height, width, channels = maps.shape
        pixels = as_float(maps).reshape(n, height * width, channels)
        return running_sum(np.moveaxis(pixels, 1, 0)) / np.float32(height * width)
