"""What each layer with parameters becomes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bitconv.bits import BitArray
from bitconv.errors import UnsupportedError
from bitconv.operators import (
    ActivationScaleMap,
    BatchNorm,
    BinaryDense,
    Conv2d,
    Dense,
    Flatten,
    PRelu,
    Reshape,
    Sign,
)
from bitconv.operators import BinaryConv2d as BinaryConv2dOperator
from bitconv.scales import ScaleGrid
from bitconv.training.build import Build
from bitconv.training.layers import BinaryConv2d, BinaryLayer, BinaryLinear, BinarySign


def array(tensor: Tensor) -> NDArray[np.float32]:
    """The values of a tensor."""
    return tensor.detach().numpy()


# --- Convolutions ----------------------------------------------------------------------------


def _channels_last(weight: Tensor) -> NDArray[np.float32]:
    """From PyTorch's (O, I, height, width) to bitconv's (O, height, width, I)."""
    return array(weight).transpose(0, 2, 3, 1)


def _optional(bias: Tensor | None) -> NDArray[np.float32] | None:
    return None if bias is None else array(bias)


def _geometry(layer: nn.Conv2d) -> dict[str, Any]:
    """The parameters that all convolutions and `ActivationScaleMap` share."""
    if layer.padding_mode != "zeros":
        raise UnsupportedError(f"padding in mode {layer.padding_mode!r}, expected 'zeros'")
    return {
        "stride": tuple(layer.stride),
        "dilation": tuple(layer.dilation),
        "padding": _padding(layer),
        "groups": layer.groups,
    }


def _padding(layer: nn.Conv2d) -> tuple[int, ...]:
    """(top, left, bottom, right); where ``"same"`` is odd, the extra one lies at the end."""
    if layer.padding == "valid":
        return (0, 0, 0, 0)
    if layer.padding == "same":
        totals = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        before = [total // 2 for total in totals]
        return (*before, *(total - half for total, half in zip(totals, before, strict=True)))
    return (*layer.padding, *layer.padding)


def _conv2d(build: Build, layer: nn.Conv2d, x: str) -> str:
    weight = _channels_last(layer.weight)
    return build.add(Conv2d(weight, _optional(layer.bias), **_geometry(layer)), x)


# --- Binary layers ---------------------------------------------------------------------------


def _scale_grid(layer: BinaryLayer) -> ScaleGrid:
    return ScaleGrid(array(layer.scales()), *layer.scale.steps(*layer.weight.shape[:2]))


def _constant(layer: BinaryLayer) -> float:
    return layer.activation_mean.item() if layer.activation_scale == "constant" else 1.0


def _activations(build: Build, layer: BinaryLayer, x: str) -> str:
    """What the weights meet: the signs of x in mode ``"xnor"``, if it is not made of signs."""
    if layer.mode == "bwn" or build.types[x].kind == "bits":
        return x
    return build.add_part(Sign(np.zeros(1, np.float32)), x)


def _expect_magnitudes(build: Build, x: str) -> None:
    if build.types[x].kind == "bits":
        raise UnsupportedError(
            "activation_scale='map' takes the mean of |x|, but the input is signs already; feed "
            "the layer what those are signs of, or leave the map out"
        )


def _binary_conv2d(build: Build, layer: BinaryConv2d, x: str) -> str:
    geometry = _geometry(layer)
    inputs = []
    if layer.activation_scale == "map":
        _expect_magnitudes(build, x)
        inputs.append(build.add_part(ActivationScaleMap(tuple(layer.kernel_size), **geometry), x))
    operation = BinaryConv2dOperator(
        weight=BitArray.from_signs(_channels_last(layer.weight)),
        scale=_scale_grid(layer),
        bias=_optional(layer.bias),
        activation_scale=_constant(layer),
        **geometry,
    )
    build.sums = build.add(operation, _activations(build, layer, x), *inputs)
    return build.sums


def _binary_linear(build: Build, layer: BinaryLinear, x: str) -> str:
    dense = BinaryDense(
        weight=BitArray.from_signs(array(layer.weight)),
        scale=_scale_grid(layer),
        bias=_optional(layer.bias),
        activation_scale=_constant(layer),
    )
    if layer.activation_scale != "map":
        build.sums = build.add(dense, _activations(build, layer, x))
        return build.sums
    # Only the convolution takes a map K, so the vector becomes a map of one pixel.
    _expect_magnitudes(build, x)
    pixel = build.add_part(Reshape((1, 1, layer.in_features)), x)
    activation_scales = build.add_part(ActivationScaleMap(1), pixel)
    signs = _activations(build, layer, pixel)
    build.sums = build.add_part(dense.convolution, signs, activation_scales)
    return build.add(Flatten(), build.sums)


def _binary_sign(build: Build, layer: BinarySign, x: str) -> str:
    return build.add(Sign(array(layer.threshold)), x)


# --- Others ----------------------------------------------------------------------------------


def _batch_norm(build: Build, layer: nn.BatchNorm1d | nn.BatchNorm2d, x: str) -> str:
    axes = 1 if isinstance(layer, nn.BatchNorm1d) else 3
    if len(build.types[x].shape) != axes:
        raise UnsupportedError(
            f"takes {'vectors' if axes == 1 else 'maps'}, found {build.types[x]}"
        )
    mean, variance = layer.running_mean, layer.running_var
    if mean is None or variance is None:
        raise UnsupportedError("batch norm without running statistics depends on the batch")
    gamma = torch.ones_like(mean) if layer.weight is None else layer.weight
    beta = torch.zeros_like(mean) if layer.bias is None else layer.bias
    statistics = array(torch.stack((gamma, beta, mean, variance)))
    return build.add(BatchNorm(statistics, layer.eps), x)


def _linear(build: Build, layer: nn.Linear, x: str) -> str:
    return build.add(Dense(array(layer.weight), _optional(layer.bias)), x)


def _prelu(build: Build, layer: nn.PReLU, x: str) -> str:
    return build.add(PRelu(array(layer.weight)), x)


LAYERS: dict[type[nn.Module], Callable[[Build, Any, str], str]] = {
    BinaryConv2d: _binary_conv2d,
    BinaryLinear: _binary_linear,
    BinarySign: _binary_sign,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.Conv2d: _conv2d,
    nn.Linear: _linear,
    nn.PReLU: _prelu,
}
