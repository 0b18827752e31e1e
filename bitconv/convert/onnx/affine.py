"""Products and sums with constants, folded into the node before where that changes no rounding.

A chain of ONNX nodes rounds to float32 after every product and every sum; so does a chain of
operators. Two products or sums become one only where the first of them is exact: sums of signs are
integers, and halving them or adding integers to them loses nothing. All else stays an operation
of its own, in its place.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.convert.onnx.building import Build
from bitconv.convert.onnx.reach import dyadic_unit
from bitconv.convert.onnx.weights import coarsest_grid
from bitconv.operators import BatchNorm, BinaryConv2d, BinaryDense, Multiply, Normalize
from bitconv.scales import ScaleGrid

EXACT = 2.0**24  # the integers up to it are float32 numbers

Vector = NDArray[np.float32]
BinaryLayer = BinaryConv2d | BinaryDense


def multiply(build: Build, name: str, factor: Vector) -> str:
    """``x · factor``; `factor` has one number or one a channel."""
    if (factor == 1).all():
        return name
    before = build.extendable(name)
    if isinstance(before, BinaryLayer):
        if before.bias is None and _is_power_of_two(_scales(before)):
            return build.replaced(name, replace(before, scale=_scaled(before, factor)))
        if _is_power_of_two(factor):
            bias = None if before.bias is None else before.bias * factor
            return build.replaced(name, replace(before, scale=_scaled(before, factor), bias=bias))
    return build.add(Multiply(factor), name)


def add(build: Build, name: str, offset: Vector) -> str:
    """``x + offset``; `offset` has one number or one a channel."""
    if not offset.any():
        return name
    before = build.extendable(name)
    if isinstance(before, BinaryLayer):
        filters = before.weight.shape[0]
        if before.bias is None:
            return build.replaced(name, replace(before, bias=np.broadcast_to(offset, (filters,))))
        if build.types[build.nodes[name].inputs[0]].kind == "bits" and _sums_exactly(
            before, offset
        ):
            return build.replaced(name, replace(before, bias=before.bias + offset))
    if isinstance(before, Multiply):
        return build.replaced(name, _batch_norm(build, name, before.factor, offset))
    return build.add(_batch_norm(build, name, np.ones(1, np.float32), offset), name)


def divide(build: Build, name: str, divisor: Vector) -> str:
    """``x / divisor``; `divisor` has one number or one a channel."""
    with np.errstate(divide="ignore"):
        inverse = (1 / divisor).astype(np.float32)
    if _is_power_of_two(divisor) and np.isfinite(inverse).all():
        return multiply(build, name, inverse)
    before = build.extendable(name)
    if isinstance(before, BatchNorm) and _is_offset(before):
        mean = -before.factors()[1]
        return build.replaced(name, Normalize(*_narrowed(mean), divisor))
    return build.add(Normalize(np.zeros(1, np.float32), divisor), name)


def normalization(
    gamma: Vector, beta: Vector, mean: Vector, variance: Vector, epsilon: np.float32
) -> BatchNorm:
    """Batch norm with its factor and offset computed as onnxruntime does, in float32.

    Behind a sum of signs many images share a number that lies on the threshold of the next sign but
    for rounding, so a factor of more exact digits would turn the same sign in all of them.
    """
    with np.errstate(all="ignore"):
        factor = gamma * (np.float32(1) / np.sqrt(variance + epsilon))
        offset = beta - mean * factor
    zero, one = np.zeros_like(factor), np.ones_like(factor)
    return BatchNorm(np.stack([factor, offset, zero, one]), 0.0)


def _narrowed(vector: Vector) -> tuple[Vector]:
    """One number in place of equal ones."""
    return (vector[:1] if (vector == vector[0]).all() else vector,)


def _batch_norm(build: Build, name: str, factor: Vector, offset: Vector) -> BatchNorm:
    """``x · factor + offset``, which rounds twice as a product and a sum do."""
    channels = build.types[name].shape[-1]
    zero, one = np.zeros(1, np.float32), np.ones(1, np.float32)
    rows = [np.broadcast_to(row, (channels,)) for row in (factor, offset, zero, one)]
    return BatchNorm(np.stack(rows), 0.0)


def _is_offset(norm: BatchNorm) -> bool:
    return bool((norm.factors()[0] == 1).all())


def _scales(layer: BinaryLayer) -> NDArray[Any]:
    return np.ones(1, np.float32) if layer.scale is None else layer.scale.values


def _scaled(layer: BinaryLayer, factor: Vector) -> ScaleGrid | None:
    """The scales times a factor for each filter, as coarse as they can be."""
    filters, *_, channels = layer.weight.shape
    if layer.scale is None:
        grid = coarsest_grid(np.broadcast_to(factor[:, None], (filters, channels)))
    else:
        runs = layer.scale.channels_per_scale
        by_channel = np.repeat(layer.scale.by_filter(filters), runs, axis=1)[:, :channels]
        grid = coarsest_grid(by_channel * factor[:, None])
    return None if (grid.values == 1).all() else grid


def _is_power_of_two(numbers: NDArray[Any]) -> bool:
    return bool((np.abs(np.frexp(numbers)[0]) == 0.5).all())


def _sums_exactly(layer: BinaryLayer, offset: Vector) -> bool:
    """Whether no sum that the layer adds up needs rounding, nor does one with `offset`."""
    assert layer.bias is not None
    numbers = [array.astype(np.float64).ravel() for array in (_scales(layer), layer.bias, offset)]
    unit = min(map(dyadic_unit, numbers))
    largest = [float(np.abs(array).max()) for array in numbers]
    reach = prod(layer.weight.shape[1:]) * largest[0] + largest[1] + largest[2]
    return layer.activation_scale == 1.0 and reach <= EXACT * unit
