"""What each layer becomes, by the name of its class."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from bitconv.convert.keras import activations
from bitconv.convert.keras.build import Build
from bitconv.convert.keras.convolutions import conv2d, dense, depthwise_conv2d, separable_conv2d
from bitconv.convert.keras.fields import Fields, is_number
from bitconv.convert.keras.geometry import expect_channels_last, padding_of
from bitconv.convert.keras.quantizers import HEAVISIDE, SIGNS
from bitconv.errors import FileError, UnsupportedError
from bitconv.operators import (
    Add,
    AvgPool2d,
    BatchNorm,
    Concat,
    Flatten,
    GlobalAvgPool2d,
    MaxPool2d,
    Multiply,
    Normalize,
    Pad,
    PRelu,
    Reshape,
    Slice,
    Transpose,
)
from bitconv.operators.operator import expect_map

OneInput = Callable[[Build, Fields, str], str]
SeveralInputs = Callable[[Build, Fields, list[str]], str]

SMALLEST_STD = 1e-7  # Keras' epsilon, which Normalization divides by at least


# --- Element by element ----------------------------------------------------------------------


def _batch_norm(build: Build, config: Fields, x: str) -> str:
    _expect_last_axis(build, config, x)
    has_scale, has_center = config.flag("scale", True), config.flag("center", True)
    present = [
        *(["gamma"] if has_scale else []),
        *(["beta"] if has_center else []),
        "moving_mean",
        "moving_variance",
    ]
    arrays = dict(zip(present, build.weights(present), strict=True))
    mean = arrays["moving_mean"]
    gamma = arrays.get("gamma", np.ones_like(mean))
    beta = arrays.get("beta", np.zeros_like(mean))
    rows = (gamma, beta, mean, arrays["moving_variance"])
    if any(row.shape != mean.shape or row.ndim != 1 for row in rows):
        raise FileError(f"its arrays have the shapes {[row.shape for row in rows]}, expected one")
    epsilon = config.number("epsilon", 1e-3)
    return build.add(BatchNorm(np.stack(rows), epsilon), build.numbers(x))


def _expect_last_axis(build: Build, config: Fields, x: str) -> None:
    last = len(build.types[x].shape)
    axis = config.get("axis", -1)
    if axis not in (-1, last, [-1], [last]):
        raise UnsupportedError(f"works along axis {axis}, expected the last, the channels")


def _activation(build: Build, config: Fields, x: str) -> str:
    return activations.activate(build, config, x)


def _prelu(build: Build, _: Fields, x: str) -> str:
    (alpha,) = build.weights(["alpha"])
    shape = build.types[x].shape
    if alpha.ndim != len(shape) or not alpha.size:
        raise FileError(f"slopes of shape {alpha.shape} do not fit the input {build.types[x]}")
    per_channel = alpha.reshape(-1, alpha.shape[-1])
    if (per_channel != per_channel[0]).any():
        raise UnsupportedError(
            f"slopes of shape {alpha.shape} differ along other axes than the channels; expected "
            "shared_axes=[1, 2]"
        )
    return build.add(PRelu(per_channel[0]), build.numbers(x))


def _rescaling(build: Build, config: Fields, x: str) -> str:
    scale, offset = (_per_channel(config, name) for name in ("scale", "offset"))
    if not offset.any():
        return build.add(Multiply(scale), build.floats(x))
    channels = build.types[x].shape[-1]
    if not {len(scale), len(offset)} <= {1, channels}:
        raise FileError(f"takes {channels} scales and offsets, found {len(scale)}, {len(offset)}")
    factor, shift = (np.broadcast_to(values, channels) for values in (scale, offset))
    zeros, ones = np.zeros(channels, np.float32), np.ones(channels, np.float32)
    return build.add(BatchNorm(np.stack([factor, shift, zeros, ones]), 0.0), build.floats(x))


def _per_channel(config: Fields, name: str) -> NDArray[np.float32]:
    """One number, or one a channel, however deep the lists around them."""
    values = config.get(name, 0.0)
    while isinstance(values, list) and len(values) == 1:
        (values,) = values
    entries = values if isinstance(values, list) else [values]
    if not entries or not all(map(is_number, entries)):
        raise FileError(f"{name!r} takes one number or one a channel")
    return np.array(entries, np.float32)


def _normalization(build: Build, config: Fields, x: str) -> str:
    if config.flag("invert", False):
        raise UnsupportedError("invert=True has no operator")
    if config.get("axis", -1) is not None:
        _expect_last_axis(build, config, x)
    if config.get("mean") is not None:
        mean, variance = (_per_channel(config, name) for name in ("mean", "variance"))
    else:
        mean, variance = (array.reshape(-1) for array in build.weights(["mean", "variance"]))
    if (variance < 0).any():
        raise FileError("its variance is negative")
    std = np.maximum(np.sqrt(variance), np.float32(SMALLEST_STD))
    return build.add(Normalize(mean, std), build.numbers(x))


def _as_function(name: str) -> OneInput:
    """A layer that does what an activation of that name does."""
    return lambda build, config, x: activations.ACTIVATIONS[name](build, config, x)


def _identity(_: Build, __: Fields, x: str) -> str:
    return x


# --- Pools -----------------------------------------------------------------------------------


def _max_pool(build: Build, config: Fields, x: str) -> str:
    return build.add(MaxPool2d(*_pool(build, config, x)), x)


def _average_pool(build: Build, config: Fields, x: str) -> str:
    return build.add(AvgPool2d(*_pool(build, config, x)), build.numbers(x))


def _pool(
    build: Build, config: Fields, x: str
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int]]:
    """Kernel, stride and padding; padding is neither the largest value nor counted."""
    expect_channels_last(config)
    height, width, _ = expect_map(build.types[x])
    size = config.pair("pool_size")
    stride = size if config.get("strides") is None else config.pair("strides")
    if min(*size, *stride) < 1:
        raise FileError(f"pool_size {size} and strides {stride} must be at least 1")
    return size, stride, padding_of(config, (height, width), size, stride, (1, 1))


def _global_average_pool(build: Build, config: Fields, x: str) -> str:
    expect_channels_last(config)
    y = build.add(GlobalAvgPool2d(), build.numbers(x))
    return _kept_as_pixel(build, config, y)


def _global_max_pool(build: Build, config: Fields, x: str) -> str:
    expect_channels_last(config)
    height, width, _ = expect_map(build.types[x])
    pooled = build.add_part(MaxPool2d((height, width)), x)
    return pooled if config.flag("keepdims", False) else build.add(Flatten(), pooled)


def _kept_as_pixel(build: Build, config: Fields, y: str) -> str:
    if not config.flag("keepdims", False):
        return y
    return build.add_part(Reshape((1, 1, *build.types[y].shape)), y)


# --- Shapes ----------------------------------------------------------------------------------


def _flatten(build: Build, config: Fields, x: str) -> str:
    expect_channels_last(config)
    return build.add(Flatten(), x)


def _reshape(build: Build, config: Fields, x: str) -> str:
    shape, size = config.integers("target_shape"), build.types[x].size
    if shape.count(-1) == 1:
        rest = math.prod(length for length in shape if length != -1)
        shape = tuple(size // rest if length == -1 and rest else length for length in shape)
    return build.add(Reshape(shape), x)


def _permute(build: Build, config: Fields, x: str) -> str:
    return build.add(Transpose(tuple(axis - 1 for axis in config.integers("dims"))), x)


def _zero_padding(build: Build, config: Fields, x: str) -> str:
    expect_channels_last(config)
    (top, bottom), (left, right) = config.sides("padding")
    return build.add(Pad((top, left, 0), (bottom, right, 0)), build.numbers(x))


def _cropping(build: Build, config: Fields, x: str) -> str:
    expect_channels_last(config)
    (top, bottom), (left, right) = config.sides("cropping")
    height, width, channels = expect_map(build.types[x])
    stop = (height - bottom, width - right, channels)
    return build.add(Slice((top, left, 0), stop, (1, 1, 1)), x)


# --- Several inputs --------------------------------------------------------------------------


def _add(build: Build, _: Fields, inputs: list[str]) -> str:
    first, *rest = map(build.numbers, inputs)
    *early, last = rest
    total = reduce(lambda left, right: build.add_part(Add(), left, right), early, first)
    return build.add(Add(), total, last)


def _concatenate(build: Build, config: Fields, inputs: list[str]) -> str:
    _expect_last_axis(build, config, inputs[0])
    kinds = {build.types[x].kind for x in inputs}
    return build.add(Concat(), *(inputs if len(kinds) == 1 else map(build.floats, inputs)))


ONE_INPUT: dict[str, OneInput] = {
    "Activation": _activation,
    "AveragePooling2D": _average_pool,
    "BatchNormalization": _batch_norm,
    "BatchNormalizationV1": _batch_norm,
    "BatchNormalizationV2": _batch_norm,
    "Conv2D": conv2d,
    "Cropping2D": _cropping,
    "Dense": dense,
    "DepthwiseConv2D": depthwise_conv2d,
    "Flatten": _flatten,
    "GlobalAveragePooling2D": _global_average_pool,
    "GlobalMaxPooling2D": _global_max_pool,
    "LeakyReLU": activations.leaky_relu,
    "MaxPooling2D": _max_pool,
    "Normalization": _normalization,
    "PReLU": _prelu,
    "Permute": _permute,
    "QuantConv2D": conv2d,
    "QuantDense": dense,
    "QuantDepthwiseConv2D": depthwise_conv2d,
    "QuantSeparableConv2D": separable_conv2d,
    "ReLU": activations.relu,
    "Rescaling": _rescaling,
    "Reshape": _reshape,
    "SeparableConv2D": separable_conv2d,
    "Softmax": activations.softmax,
    "SyncBatchNormalization": _batch_norm,
    "ZeroPadding2D": _zero_padding,
    "ApproxSign": _as_function(SIGNS[1]),
    "SteHeaviside": _as_function(HEAVISIDE),
    "SteSign": _as_function(SIGNS[0]),
    "SwishSign": _as_function(SIGNS[2]),
    **dict.fromkeys(
        (
            "ActivityRegularization",
            "AlphaDropout",
            "Dropout",
            "GaussianDropout",
            "GaussianNoise",
            "SpatialDropout2D",
        ),
        _identity,
    ),
}

SEVERAL_INPUTS: dict[str, SeveralInputs] = {"Add": _add, "Concatenate": _concatenate}
