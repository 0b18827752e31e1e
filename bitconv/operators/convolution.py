"""Convolutions with float weights and with binary weights."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.bits import BitArray
from bitconv.errors import GraphError
from bitconv.graph import TensorType
from bitconv.operators.operator import (
    BITS,
    FLOAT32,
    SCALE,
    Operator,
    as_float,
    expect_kind,
    expect_map,
)
from bitconv.operators.window import Window, pair, sides
from bitconv.scales import ScaleGrid

MAX_TERMS = 2**24  # of one dot product of signs, so that it is exact in float32


@dataclass(frozen=True, eq=False)
class _Convolution(Operator):
    """The geometry that both convolutions share.

    Attributes
    ----------
    stride, dilation : int or tuple of int
        (vertical, horizontal).
    padding : int or tuple of int
        One number, (vertical, horizontal), or (top, left, bottom, right).
    groups : int
        Filters of group g see only the input channels of group g.
    """

    _: KW_ONLY
    stride: tuple[int, int] | int = (1, 1)
    dilation: tuple[int, int] | int = (1, 1)
    padding: tuple[int, int, int, int] | tuple[int, int] | int = (0, 0, 0, 0)
    groups: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "stride", pair(self.stride))
        object.__setattr__(self, "dilation", pair(self.dilation))
        object.__setattr__(self, "padding", sides(self.padding))
        super().__post_init__()

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """(O, kernel height, kernel width, I): filters, taps, channels of one group."""
        return self.weight.shape  # type: ignore[attr-defined, no-any-return]  # subclasses have it

    @property
    def window(self) -> Window:
        _, height, width, _ = self.weight_shape
        return Window((height, width), self.stride, self.dilation, self.padding)  # type: ignore[arg-type]  # normalized above

    def check(self) -> None:
        if len(self.weight_shape) != 4 or min(self.weight_shape) < 1:
            raise GraphError(
                "weight takes the shape (filters, kernel height, kernel width, channels), found "
                f"{self.weight_shape}"
            )
        if self.groups < 1 or self.weight_shape[0] % self.groups:
            raise GraphError(
                f"{self.weight_shape[0]} filters do not divide into {self.groups} groups"
            )
        _ = self.window

    def output_shape(self, value: TensorType) -> tuple[int, int, int]:
        height, width, channels = expect_map(value)
        filters, _, _, group_channels = self.weight_shape
        if channels != group_channels * self.groups:
            raise GraphError(
                f"weight of shape {self.weight_shape} in {self.groups} group(s) takes "
                f"{group_channels * self.groups} channels, found {value}"
            )
        rows, columns = self.window.output_size(height, width)
        return rows, columns, filters

    def grouped_windows(self, maps: NDArray[Any], pad_value: float) -> NDArray[np.float64]:
        """Windows as (groups, N, rows, columns, kernel height, kernel width, I), float64."""
        windows = self.window.slide(maps.astype(np.float64), pad_value)
        n, rows, columns, _, height, width = windows.shape
        split = windows.reshape(n, rows, columns, self.groups, -1, height, width)
        return np.moveaxis(split, (3, 4), (0, 6))


def _check_bias(bias: NDArray[np.float32] | None, filters: int) -> None:
    if bias is not None and bias.shape != (filters,):
        raise GraphError(f"bias has shape {bias.shape}, expected ({filters},)")


def _dot(windows: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Contract (G, N, rows, columns, kh, kw, I) and (G, O/G, kh, kw, I) to (N, rows, columns, O)"""
    groups, n, rows, columns = windows.shape[:4]
    left = windows.reshape(groups, n * rows * columns, -1)
    right = weight.reshape(groups, weight.shape[1], -1).transpose(0, 2, 1)
    return (left @ right).transpose(1, 0, 2).reshape(n, rows, columns, -1)


@dataclass(frozen=True, eq=False)
class Conv2d(_Convolution):
    """Convolution of a float map with float weights; padded taps count as zero.

    Attributes
    ----------
    weight : float32 array of shape (O, kernel height, kernel width, I)
    bias : float32 array of shape (O,), optional
    """

    name = "conv2d"
    weight: NDArray[np.float32] = field(metadata=FLOAT32)
    bias: NDArray[np.float32] | None = field(default=None, metadata=FLOAT32)

    def check(self) -> None:
        super().check()
        _check_bias(self.bias, self.weight_shape[0])

    def infer(self, value: TensorType) -> TensorType:
        expect_kind(value, "float32", "uint8", "int32")
        return TensorType(self.output_shape(value), "float32")

    def reference(self, maps: NDArray[Any]) -> NDArray[np.float32]:
        weight = self.weight.astype(np.float64).reshape(self.groups, -1, *self.weight_shape[1:])
        sums = _dot(self.grouped_windows(maps, 0.0), weight)
        if self.bias is not None:
            sums = sums + self.bias
        return sums.astype(np.float32)


@dataclass(frozen=True, eq=False)
class BinaryConv2d(_Convolution):
    """Convolution with weights −1 and +1.

    ``y = (((dot · α) · activation_scale) · K) + bias``, rounded to float32 after every operation;
    what is absent is left out. `dot` is the exact integer sum. Where α differs by input channel,
    the sum splits into partial sums that are scaled and added in the order of the channels.

    Attributes
    ----------
    weight : BitArray of shape (O, kernel height, kernel width, I)
    scale : ScaleGrid, optional
        α. Without scale, bias, K and constant the result is the int32 dot product itself.
    bias : float32 array of shape (O,), optional
    pad_value : {0, 1, -1}
        What a padded tap counts as.
    activation_scale : float
        A constant in place of K (arXiv 1603.05279).

    The second input, if there is one, is the map K of shape (rows, columns, groups).
    """

    name = "binary_conv2d"
    weight: BitArray = field(metadata=BITS)
    scale: ScaleGrid | None = field(default=None, metadata=SCALE)
    bias: NDArray[np.float32] | None = field(default=None, metadata=FLOAT32)
    _: KW_ONLY
    pad_value: int = 0
    activation_scale: float = 1.0

    def check(self) -> None:
        super().check()
        filters, height, width, channels = self.weight_shape
        if self.weight.planes != 1:
            raise GraphError(f"weights in {self.weight.planes} bit planes cannot be run yet")
        if height * width * channels > MAX_TERMS:
            raise GraphError(
                f"a filter has {height * width * channels} weights, at most {MAX_TERMS}"
            )
        if self.pad_value not in (0, 1, -1):
            raise GraphError(f"pad_value takes 0, 1 or -1, found {self.pad_value}")
        if not np.isfinite(self.activation_scale):
            raise GraphError(f"activation_scale must be finite, found {self.activation_scale}")
        if self.scale is not None:
            self.scale.check(filters, channels)
        _check_bias(self.bias, filters)

    def infer(self, value: TensorType, activation_scales: TensorType | None = None) -> TensorType:
        expect_kind(value, "bits")
        shape = self.output_shape(value)
        if activation_scales is not None:
            expect_kind(activation_scales, "float32")
            if activation_scales.shape != (*shape[:2], self.groups):
                raise GraphError(
                    f"the map of activation scales must be {(*shape[:2], self.groups)}, found "
                    f"{activation_scales}"
                )
        exact = activation_scales is None and not self.scaled
        return TensorType(shape, "int32" if exact else "float32")

    @property
    def scaled(self) -> bool:
        """Whether anything follows the integer sum."""
        return self.scale is not None or self.bias is not None or self.activation_scale != 1.0

    def reference(
        self, maps: NDArray[Any], activation_scales: NDArray[np.float32] | None = None
    ) -> NDArray[Any]:
        filters, *_, channels = self.weight_shape
        windows = self.grouped_windows(maps, self.pad_value)
        signs = self.weight.signs().astype(np.float64)
        weight = signs.reshape(self.groups, -1, *self.weight_shape[1:])
        if self.scale is None:
            result = _dot(windows, weight).astype(np.int32)
            if activation_scales is None and not self.scaled:
                return result
            result = as_float(result)
        else:
            alpha = self.scale.by_filter(filters)
            parts = [
                as_float(_dot(windows[..., first:end], weight[..., first:end])) * alpha[:, index]
                for index, (first, end) in enumerate(self.scale.segments(channels))
            ]
            result = parts[0]
            for part in parts[1:]:
                result = result + part
        if self.activation_scale != 1.0:
            result = result * np.float32(self.activation_scale)
        if activation_scales is not None:
            result = result * np.repeat(activation_scales, filters // self.groups, axis=-1)
        return result if self.bias is None else result + self.bias


@dataclass(frozen=True, eq=False)
class ActivationScaleMap(Operator):
    """XNOR-Net's K: the mean of |x| over the channels of a group and over the kernel's window.

    ``K = A ∗ k`` with A the mean of |x| over channels and k a box of 1/(kh·kw); padding counts as
    zero (arXiv 1603.05279, section 3.2).
    """

    name = "activation_scale_map"
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1

    @property
    def window(self) -> Window:
        return Window(self.kernel, self.stride, self.dilation, self.padding)

    def check(self) -> None:
        if self.groups < 1:
            raise GraphError(f"groups must be at least 1, found {self.groups}")
        _ = self.window

    def infer(self, value: TensorType) -> TensorType:
        expect_kind(value, "float32", "int32")
        height, width, channels = expect_map(value)
        if channels % self.groups:
            raise GraphError(f"{value} does not divide into {self.groups} groups")
        return TensorType((*self.window.output_size(height, width), self.groups), "float32")

    def reference(self, maps: NDArray[Any]) -> NDArray[np.float32]:
        grouped = np.abs(as_float(maps)).reshape(*maps.shape[:3], self.groups, -1)
        mean = _sum_in_order(grouped, -1) / np.float32(grouped.shape[-1])
        windows = self.window.slide(mean, 0.0)
        taps = windows.reshape(*windows.shape[:4], -1)
        return _sum_in_order(taps, -1) / np.float32(taps.shape[-1])


def _sum_in_order(values: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """The float32 sum along `axis`, one addition after another."""
    first, *rest = np.moveaxis(values, axis, 0)
    total = first.copy()
    for item in rest:
        total += item
    return total
