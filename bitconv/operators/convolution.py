"""Convolutions with float weights and with binary weights."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from math import isfinite, prod
from typing import TYPE_CHECKING, Any

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
    ieee,
    running_sum,
)
from bitconv.operators.window import PAIR, SIDES, Window, pair, sides
from bitconv.scales import ScaleGrid

if TYPE_CHECKING:
    from bitconv.operators.dense import BinaryDense

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
    stride: tuple[int, int] | int = field(default=(1, 1), metadata=PAIR)
    dilation: tuple[int, int] | int = field(default=(1, 1), metadata=PAIR)
    padding: tuple[int, int, int, int] | tuple[int, int] | int = field(
        default=(0, 0, 0, 0), metadata=SIDES
    )
    groups: int = 1

    @property
    @abstractmethod
    def weight_shape(self) -> tuple[int, ...]:
        """(O, kernel height, kernel width, I): filters, taps, channels of one group."""

    @property
    def window(self) -> Window:
        """Where the kernel lies on a map."""
        _, height, width, _ = self.weight_shape
        stride, dilation = pair(self.stride, "stride"), pair(self.dilation, "dilation")
        return Window((height, width), stride, dilation, sides(self.padding, "padding"))

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
        _ = self.window  # checks itself

    def output_shape(self, value: TensorType) -> tuple[int, int, int]:
        """Shape of the result, or a `GraphError`."""
        *_, channels = expect_map(value)
        filters, _, _, group_channels = self.weight_shape
        if channels != group_channels * self.groups:
            raise GraphError(
                f"weight of shape {self.weight_shape} in {self.groups} group(s) takes "
                f"{group_channels * self.groups} channels, found {value}"
            )
        return self.window.output_shape(value, filters)

    def sums(
        self, maps: NDArray[Any], weight: NDArray[Any], pad_value: float, run: slice = slice(None)
    ) -> NDArray[np.float64]:
        """Sums of products in float64, shape (N, rows, columns, O).

        Only the channels `run` of each group take part. Each image is multiplied by itself, so that
        its result does not depend on the rest of the batch.
        """
        filters, height, width, channels = self.weight_shape
        kernel = weight[..., run].astype(np.float64)
        by_tap = kernel.reshape(self.groups, -1, height * width, kernel.shape[-1])
        by_tap = by_tap.transpose(2, 0, 3, 1)  # (taps, groups, I, O / groups)
        n, rows, columns = len(maps), *self.window.output_size(*maps.shape[1:3])
        total = np.zeros((n, self.groups, rows * columns, filters // self.groups))
        for values, factors in zip(
            self.window.taps(maps.astype(np.float64), pad_value), by_tap, strict=True
        ):
            grouped = values.reshape(n, rows * columns, self.groups, channels)[..., run]
            total += grouped.swapaxes(1, 2) @ factors
        return total.swapaxes(1, 2).reshape(n, rows, columns, filters)


def check_bias(bias: NDArray[np.float32] | None, filters: int) -> None:
    """Raise `GraphError` unless there is one number a filter, or no bias."""
    if bias is not None and bias.shape != (filters,):
        raise GraphError(f"bias has shape {bias.shape}, expected ({filters},)")


def check_binary(layer: BinaryConv2d | BinaryDense) -> None:
    """Raise `GraphError` where what binary layers share does not fit their weight."""
    filters, *lengths = layer.weight.shape
    if layer.weight.planes != 1:
        raise GraphError(f"weights in {layer.weight.planes} bit planes cannot be run yet")
    if prod(lengths) > MAX_TERMS:
        raise GraphError(f"a filter has {prod(lengths)} weights, at most {MAX_TERMS}")
    if not isfinite(layer.activation_scale):
        raise GraphError(f"activation_scale must be finite, found {layer.activation_scale}")
    if layer.scale is not None:
        layer.scale.check(filters, lengths[-1])
    check_bias(layer.bias, filters)


@dataclass(frozen=True, eq=False)
class Conv2d(_Convolution):
    """Convolution of a float map with float weights; padded taps count as zero.

    Sum and bias are added up in float64 and rounded once to float32.

    Attributes
    ----------
    weight : float32 array of shape (O, kernel height, kernel width, I)
    bias : float32 array of shape (O,), optional
    """

    name = "conv2d"
    weight: NDArray[np.float32] = field(metadata=FLOAT32)
    bias: NDArray[np.float32] | None = field(default=None, metadata=FLOAT32)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        return self.weight.shape

    def check(self) -> None:
        super().check()
        check_bias(self.bias, self.weight_shape[0])

    def infer(self, value: TensorType) -> TensorType:
        expect_kind(value, "float32", "uint8", "int32")
        return TensorType(self.output_shape(value), "float32")

    @ieee
    def reference(self, maps: NDArray[Any]) -> NDArray[np.float32]:
        sums = self.sums(maps, self.weight, 0.0)
        if self.bias is not None:
            sums = sums + self.bias
        return sums.astype(np.float32)


@dataclass(frozen=True, eq=False)
class BinaryConv2d(_Convolution):
    """Convolution with weights −1 and +1, of signs (XNOR-Net) or of numbers (BWN).

    ``y = (((dot · α) · activation_scale) · K) + bias``, rounded to float32 after every operation;
    what is absent is left out. Of signs, `dot` is the exact integer sum; of numbers (arXiv
    1603.05279, section 3.1) it is added up in float64 and rounded once. Where α differs by input
    channel, the sum splits into partial sums that are scaled and added in the order of the
    channels.

    Attributes
    ----------
    weight : BitArray of shape (O, kernel height, kernel width, I)
    scale : ScaleGrid, optional
        α. Of signs without scale, bias, K and constant, the result is the int32 dot product itself.
    bias : float32 array of shape (O,), optional
    pad_value : {0, 1, -1}
        What a padded tap counts as; of numbers, 0.
    activation_scale : float
        A constant in place of K (arXiv 1603.05279).

    The second input, if there is one, is the map K of shape (rows, columns, groups). It stands for
    the magnitude of the numbers that the signs were taken of, so numbers go without.
    """

    name = "binary_conv2d"
    weight: BitArray = field(metadata=BITS)
    scale: ScaleGrid | None = field(default=None, metadata=SCALE)
    bias: NDArray[np.float32] | None = field(default=None, metadata=FLOAT32)
    _: KW_ONLY
    pad_value: int = 0
    activation_scale: float = 1.0

    @property
    def weight_shape(self) -> tuple[int, ...]:
        return self.weight.shape

    def check(self) -> None:
        super().check()
        check_binary(self)
        if self.pad_value not in (0, 1, -1):
            raise GraphError(f"pad_value takes 0, 1 or -1, found {self.pad_value}")

    def infer(self, value: TensorType, activation_scales: TensorType | None = None) -> TensorType:
        expect_kind(value, "bits", "float32", "uint8", "int32")
        shape = self.output_shape(value)
        if value.kind != "bits":
            self._check_for_numbers(value, activation_scales)
            return TensorType(shape, "float32")
        if activation_scales is not None:
            expect_kind(activation_scales, "float32")
            if activation_scales.shape != (*shape[:2], self.groups):
                raise GraphError(
                    f"the map of activation scales must be {(*shape[:2], self.groups)}, found "
                    f"{activation_scales}"
                )
        exact = activation_scales is None and not self.scaled
        return TensorType(shape, "int32" if exact else "float32")

    def _check_for_numbers(self, value: TensorType, activation_scales: TensorType | None) -> None:
        if self.pad_value != 0:
            raise GraphError(f"pad_value {self.pad_value} is for signs, 0 for {value}")
        if activation_scales is not None:
            raise GraphError(f"a map of activation scales is for signs, not for {value}")

    @property
    def scaled(self) -> bool:
        """Whether anything follows the integer sum."""
        return self.scale is not None or self.bias is not None or self.activation_scale != 1.0

    @ieee
    def reference(
        self, maps: NDArray[Any], activation_scales: NDArray[np.float32] | None = None
    ) -> NDArray[Any]:
        channels, signs = self.weight_shape[-1], self.weight.signs()
        runs = [(0, channels)] if self.scale is None else self.scale.segments(channels)
        exact = maps.dtype == np.int8  # signs
        kind = np.int32 if exact else np.float32
        dots = [self.sums(maps, signs, self.pad_value, slice(*run)).astype(kind) for run in runs]
        if exact and activation_scales is None and not self.scaled:
            return dots[0]
        return self.rescale(dots, activation_scales)

    @ieee
    def rescale(
        self,
        dots: Sequence[NDArray[Any]],
        activation_scales: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """What follows the sums.

        Parameters
        ----------
        dots : sequence of int32 or float32 arrays of shape (..., O)
            The sums over each run of input channels that shares a scale.
        activation_scales : float32 array of shape (..., groups), optional
            K.
        """
        filters = self.weight_shape[0]
        result, *parts = map(as_float, dots)
        if self.scale is not None:
            alpha = self.scale.by_filter(filters)
            result = result * alpha[:, 0]
            for index, part in enumerate(parts, start=1):
                result = result + part * alpha[:, index]
        if self.activation_scale != 1.0:
            result = result * np.float32(self.activation_scale)
        if activation_scales is not None:
            result = result * np.repeat(activation_scales, filters // self.groups, axis=-1)
        return result if self.bias is None else result + self.bias


@dataclass(frozen=True, eq=False)
class ActivationScaleMap(Operator):
    """XNOR-Net's K: the mean of |x| over the channels of a group and over the kernel's window.

    ``K = A ∗ k`` with A the mean of |x| over channels and k a box of 1/(kh·kw); padding counts as
    zero (arXiv 1603.05279, section 3.2). Sums are added up in float32, channels and then taps in
    row-major order.

    Attributes
    ----------
    kernel, stride, dilation, padding, groups
        Those of the convolution that K is for.
    """

    name = "activation_scale_map"
    kernel: tuple[int, int] | int = field(metadata=PAIR)
    stride: tuple[int, int] | int = field(default=(1, 1), metadata=PAIR)
    dilation: tuple[int, int] | int = field(default=(1, 1), metadata=PAIR)
    padding: tuple[int, int, int, int] | tuple[int, int] | int = field(
        default=(0, 0, 0, 0), metadata=SIDES
    )
    groups: int = 1

    @property
    def window(self) -> Window:
        """Where the kernel lies on a map."""
        kernel, stride = pair(self.kernel, "kernel"), pair(self.stride, "stride")
        dilation, padding = pair(self.dilation, "dilation"), sides(self.padding, "padding")
        return Window(kernel, stride, dilation, padding)

    def check(self) -> None:
        if self.groups < 1:
            raise GraphError(f"groups must be at least 1, found {self.groups}")
        _ = self.window  # checks itself

    def infer(self, value: TensorType) -> TensorType:
        expect_kind(value, "float32", "int32")
        *_, channels = expect_map(value)
        if channels % self.groups:
            raise GraphError(f"{value} does not divide into {self.groups} groups")
        return TensorType(self.window.output_shape(value, self.groups), "float32")

    @ieee
    def reference(self, maps: NDArray[Any]) -> NDArray[np.float32]:
        channels = maps.shape[-1] // self.groups
        grouped = np.abs(as_float(maps)).reshape(*maps.shape[:3], self.groups, channels)
        mean = running_sum(np.moveaxis(grouped, -1, 0)) / np.float32(channels)
        height, width = self.window.kernel
        return running_sum(self.window.taps(mean, 0.0)) / np.float32(height * width)
