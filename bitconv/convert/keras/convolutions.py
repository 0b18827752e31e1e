"""What convolutions and dense layers become, those of Keras and those of Larq."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.bits import BitArray
from bitconv.convert.keras.activations import activate
from bitconv.convert.keras.build import Build
from bitconv.convert.keras.fields import Fields, Pair
from bitconv.convert.keras.geometry import Sides, expect_channels_last, padding_of
from bitconv.convert.keras.quantizers import Kernel, quantize_input, quantized_kernel
from bitconv.convert.report import LayerReport, scales_of
from bitconv.errors import FileError
from bitconv.operators import (
    BatchNorm,
    BinaryConv2d,
    BinaryDense,
    Conv2d,
    Dense,
    Operator,
    Pad,
)
from bitconv.operators.operator import expect_map
from bitconv.scales import ScaleGrid


@dataclass(frozen=True)
class Window:
    """Where filters lie on a map.

    Attributes
    ----------
    stride, dilation : tuple of int
    padding : tuple of int
        (top, left, bottom, right).
    pad_value : float
        What padded pixels count as, after the input quantizer.
    groups : int
    """

    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: Sides = (0, 0, 0, 0)
    pad_value: float = 0.0
    groups: int = 1

    @property
    def parameters(self) -> dict[str, Any]:
        """Those that all convolutions take."""
        return {
            "stride": self.stride,
            "dilation": self.dilation,
            "padding": self.padding,
            "groups": self.groups,
        }


# --- The rules of the layers -----------------------------------------------------------------


def conv2d(build: Build, config: Fields, x: str) -> str:
    """Conv2D and QuantConv2D, kernel (height, width, I / groups, O)."""
    expect_channels_last(config)
    (stored,), bias = _arrays(build, config, ["kernel"])
    kernel = quantized_kernel(_of_rank(stored, 4), config, "kernel_quantizer")
    window = replace(_window(build, config, x, stored), groups=config.integer("groups", 1))
    y = _meet(build, config, x, _filters_first(kernel), window, bias)
    return activate(build, config, y)


def depthwise_conv2d(build: Build, config: Fields, x: str) -> str:
    """DepthwiseConv2D and QuantDepthwiseConv2D."""
    expect_channels_last(config)
    (stored,), bias = _arrays(build, config, ["depthwise_kernel"])
    window = _window(build, config, x, stored)
    y = _meet(build, config, x, *_depthwise(config, stored, window), bias)
    return activate(build, config, y)


def separable_conv2d(build: Build, config: Fields, x: str) -> str:
    """SeparableConv2D and QuantSeparableConv2D: each channel by itself, then 1 × 1.

    The input quantizer works in front of the first of the two alone.
    """
    expect_channels_last(config)
    (stored, pointwise), bias = _arrays(build, config, ["depthwise_kernel", "pointwise_kernel"])
    window = _window(build, config, x, stored)
    y = _meet(build, config, x, *_depthwise(config, stored, window), None)
    kernel = quantized_kernel(_of_rank(pointwise, 4), config, "pointwise_quantizer")
    y = _append(build, y, _filters_first(kernel), Window(), bias)
    return activate(build, config, y)


def dense(build: Build, config: Fields, x: str) -> str:
    """Dense and QuantDense, kernel (I, O); on a map a 1 × 1 convolution."""
    (stored,), bias = _arrays(build, config, ["kernel"])
    kernel = quantized_kernel(_of_rank(stored, 2), config, "kernel_quantizer")
    as_pixel = Kernel(kernel.values.T[:, None, None, :], kernel.is_binary, kernel.scale)
    y = _meet(build, config, x, as_pixel, Window(), bias)
    return activate(build, config, y)


def _depthwise(
    config: Fields, stored: NDArray[np.float32], window: Window
) -> tuple[Kernel, Window]:
    """The filters of kernel (height, width, I, multiplier): the first channel's, then the next's.

    Larq takes the scales over all but the last axis, so all channels share those of the multiplier.
    """
    kernel = quantized_kernel(_of_rank(stored, 4), config, "depthwise_quantizer")
    height, width, channels, multiplier = stored.shape
    by_channel = kernel.values.transpose(2, 3, 0, 1)
    values = by_channel.reshape(channels * multiplier, height, width, 1)
    scale = None if kernel.scale is None else np.tile(kernel.scale, channels)
    return Kernel(values, kernel.is_binary, scale), replace(window, groups=channels)


def _filters_first(kernel: Kernel) -> Kernel:
    return replace(kernel, values=kernel.values.transpose(3, 0, 1, 2))


# --- What they are made of -------------------------------------------------------------------


def _arrays(
    build: Build, config: Fields, names: list[str]
) -> tuple[list[NDArray[np.float32]], NDArray[np.float32] | None]:
    if not config.flag("use_bias", True):
        return build.weights(names), None
    *kernels, bias = build.weights([*names, "bias"])
    return kernels, bias


def _of_rank(kernel: NDArray[np.float32], rank: int) -> NDArray[np.float32]:
    if kernel.ndim != rank or not kernel.size:
        raise FileError(f"a kernel has shape {kernel.shape}, expected {rank} axes")
    return kernel


def _window(build: Build, config: Fields, x: str, kernel: NDArray[np.float32]) -> Window:
    _of_rank(kernel, 4)
    height, width, _ = expect_map(build.types[x])
    size = (kernel.shape[0], kernel.shape[1])
    stride, dilation = config.pair("strides", 1), config.pair("dilation_rate", 1)
    if min(*stride, *dilation) < 1:
        raise FileError(f"strides {stride} and dilation_rate {dilation} must be at least 1")
    padding = padding_of(config, (height, width), size, stride, dilation)
    return Window(stride, dilation, padding, config.number("pad_values", 0.0))


def _meet(
    build: Build,
    config: Fields,
    x: str,
    kernel: Kernel,
    window: Window,
    bias: NDArray[np.float32] | None,
) -> str:
    """The kernel over what the input quantizer leaves of x."""
    value, is_heaviside = quantize_input(build, config, x)
    if not is_heaviside:
        return _append(build, value, kernel, window, bias)
    if kernel.is_binary and (not any(window.padding) or window.pad_value in (0, 1)):
        return _heaviside(build, value, kernel, window, bias)
    return _append(build, build.affine_of_signs(value, 0.5, 0.5), kernel, window, bias)


def _heaviside(
    build: Build,
    x: str,
    kernel: Kernel,
    window: Window,
    bias: NDArray[np.float32] | None,
) -> str:
    """Signs s that stand for h = (s + 1) / 2: ``Σ w·h = (Σ w·s + Σ w) / 2``, on bits.

    Without scale all of it is exact. The bias is added apart, for its sum with Σ w / 2 may round.
    """
    totals = np.where(kernel.values < 0, -1.0, 1.0).sum(axis=(1, 2, 3)) / 2
    alpha = np.ones(len(totals)) if kernel.scale is None else kernel.scale.astype(np.float64)
    halved = replace(kernel, scale=(alpha / 2).astype(np.float32))
    pad_value = 2 * window.pad_value - 1
    y = _append(build, x, halved, replace(window, pad_value=pad_value), _float32(alpha * totals))
    if bias is None:
        return y
    ones, zeros = np.ones_like(bias), np.zeros_like(bias)
    return build.add_part(BatchNorm(np.stack([ones, bias, zeros, ones]), 0.0), y)


def _float32(values: NDArray[np.float64]) -> NDArray[np.float32]:
    return values.astype(np.float32)


def _append(
    build: Build, x: str, kernel: Kernel, window: Window, bias: NDArray[np.float32] | None
) -> str:
    """The convolution, or the dense layer where x is a vector."""
    on_bits = kernel.is_binary and build.types[x].kind == "bits"
    if not any(window.padding):
        window = replace(window, pad_value=0.0)
    elif window.pad_value and not (on_bits and window.pad_value in (-1, 1)):
        x, window = _padded(build, x, window), replace(window, padding=(0, 0, 0, 0), pad_value=0.0)
    value = x if kernel.is_binary else build.numbers(x)
    is_vector = len(build.types[value].shape) == 1
    operation = _dense(kernel, bias) if is_vector else _convolution(kernel, window, bias)
    y = build.add(operation, value)
    build.reports.append(_report(y, operation, kernel, build.types[x].kind == "bits"))
    return y


def _report(name: str, operation: Operator, kernel: Kernel, meets_signs: bool) -> LayerReport:
    """Whether the layer became binary; and why not, if its kernel or its input is."""
    if not kernel.is_binary:
        note = "its input is binary, but its kernel is not" if meets_signs else ""
        return LayerReport(name, operation.name, "float", note)
    assert isinstance(operation, BinaryConv2d | BinaryDense)
    scales = scales_of(operation)
    if meets_signs:
        return LayerReport(name, operation.name, "binary", "", scales)
    return LayerReport(name, operation.name, "binary weights", "its input is not binary", scales)


def _padded(build: Build, x: str, window: Window) -> str:
    top, left, bottom, right = window.padding
    return build.add_part(
        Pad((top, left, 0), (bottom, right, 0), window.pad_value), build.floats(x)
    )


def _convolution(kernel: Kernel, window: Window, bias: NDArray[np.float32] | None) -> Operator:
    if not kernel.is_binary:
        return Conv2d(kernel.values, bias, **window.parameters)
    return BinaryConv2d(
        BitArray.from_signs(kernel.values),
        _scale_grid(kernel),
        bias,
        pad_value=int(window.pad_value),
        **window.parameters,
    )


def _dense(kernel: Kernel, bias: NDArray[np.float32] | None) -> Operator:
    matrix = kernel.values[:, 0, 0, :]
    if not kernel.is_binary:
        return Dense(matrix, bias)
    return BinaryDense(BitArray.from_signs(matrix), _scale_grid(kernel), bias)


def _scale_grid(kernel: Kernel) -> ScaleGrid | None:
    if kernel.scale is None:
        return None
    return ScaleGrid.per_filter(kernel.scale, kernel.values.shape[-1])
