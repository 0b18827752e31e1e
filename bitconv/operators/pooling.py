"""Maximum and average over windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.errors import GraphError
from bitconv.graph import TensorType
from bitconv.operators.operator import Operator, as_float, expect_kind, expect_map
from bitconv.operators.window import Window, pair, sides


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

    kernel: tuple[int, int] | int
    stride: tuple[int, int] | int | None = None
    padding: tuple[int, int, int, int] | tuple[int, int] | int = (0, 0, 0, 0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kernel", pair(self.kernel))
        stride = self.kernel if self.stride is None else self.stride
        object.__setattr__(self, "stride", pair(stride))
        object.__setattr__(self, "padding", sides(self.padding))
        super().__post_init__()

    @property
    def window(self) -> Window:
        return Window(self.kernel, self.stride, (1, 1), self.padding)  # type: ignore[arg-type]  # normalized above

    def check(self) -> None:
        (height, width), padding = self.window.kernel, self.window.padding
        if max(padding[0], padding[2]) >= height or max(padding[1], padding[3]) >= width:
            raise GraphError(f"padding {padding} must be less than the kernel {self.kernel}")

    def output_shape(self, value: TensorType) -> tuple[int, int, int]:
        height, width, channels = expect_map(value)
        return (*self.window.output_size(height, width), channels)

    def taps(self, maps: NDArray[Any], pad_value: float) -> list[NDArray[Any]]:
        """For each tap of the window in row-major order, its values (N, rows, columns, C)."""
        windows = self.window.slide(maps, pad_value)
        height, width = windows.shape[-2:]
        return [windows[..., y, x] for y in range(height) for x in range(width)]


@dataclass(frozen=True, eq=False)
class MaxPool2d(_Pool):
    """The largest value of each window; padding never wins. Takes bits too: +1 beats −1."""

    name = "max_pool2d"

    def infer(self, value: TensorType) -> TensorType:
        expect_kind(value, "bits", "float32", "int32")
        kind = "bits" if value.kind == "bits" else "float32"
        return TensorType(self.output_shape(value), kind)

    def reference(self, maps: NDArray[Any]) -> NDArray[Any]:
        if maps.dtype == np.int8:
            return np.max(self.taps(maps, -1), axis=0)
        return np.max(self.taps(as_float(maps), -np.inf), axis=0)


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

    def reference(self, maps: NDArray[Any]) -> NDArray[np.float32]:
        total = _running_sum(self.taps(as_float(maps), 0.0))
        height, width = self.window.kernel
        if self.count_padding:
            return total / np.float32(height * width)
        ones = np.ones((1, *maps.shape[1:3], 1), np.float32)
        return total / _running_sum(self.taps(ones, 0.0))


@dataclass(frozen=True, eq=False)
class GlobalAvgPool2d(Operator):
    """The mean of each channel over the whole map, a vector; added up in row-major order."""

    name = "global_avg_pool2d"

    def infer(self, value: TensorType) -> TensorType:
        expect_kind(value, "float32", "int32")
        return TensorType(expect_map(value)[-1:], "float32")

    def reference(self, maps: NDArray[Any]) -> NDArray[np.float32]:
        pixels = as_float(maps).reshape(len(maps), -1, maps.shape[-1])
        return _running_sum(list(np.moveaxis(pixels, 1, 0))) / np.float32(pixels.shape[1])


def _running_sum(terms: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The float32 sum, one addition after another from zero."""
    total = np.zeros_like(terms[0])
    for term in terms:
        total += term
    return total
