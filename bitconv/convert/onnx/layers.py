"""Convolutions and dense layers: which of them are binary, and what they become."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bitconv.bits import BitArray
from bitconv.convert.onnx import affine
from bitconv.convert.onnx.context import Context, Operand, has_three_levels
from bitconv.convert.onnx.reading import OnnxNode
from bitconv.convert.onnx.values import Value, uniform
from bitconv.convert.onnx.weights import (
    TwoLevelWeight,
    binary_weight,
    two_level_weight,
    why_not_binary,
)
from bitconv.convert.onnx.windows import convolution_sides
from bitconv.convert.report import LayerKind, LayerReport
from bitconv.errors import UnsupportedError
from bitconv.operators import Add, BinaryConv2d, BinaryDense, Concat, Conv2d, Dense
from bitconv.scales import ScaleGrid

Sides = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Layer:
    """A convolution of a map, or a dense layer as one of a single pixel.

    Attributes
    ----------
    node : OnnxNode
    weight : float32 array of shape (O, height, width, I)
    bias : float32 array of shape (O,), optional
    stride, dilation : tuple of int
    sides : tuple of int
        Padding with zeros: (top, left, bottom, right).
    groups : int
    is_dense : bool
    """

    node: OnnxNode
    weight: NDArray[np.float32]
    bias: NDArray[np.float32] | None = None
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    sides: Sides = (0, 0, 0, 0)
    groups: int = 1
    is_dense: bool = False

    def binary(
        self, signs: BitArray, scale: ScaleGrid | None, pad_value: int
    ) -> BinaryConv2d | BinaryDense:
        """The binary operator with that weight."""
        if scale is not None and (scale.values == 1).all():
            scale = None
        if self.is_dense:
            outputs, _, _, inputs = signs.shape
            return BinaryDense(BitArray((outputs, inputs), signs.stream), scale)
        return BinaryConv2d(
            signs,
            scale,
            stride=self.stride,
            dilation=self.dilation,
            padding=self.sides,
            groups=self.groups,
            pad_value=pad_value,
        )

    def real(self) -> Conv2d | Dense:
        """The operator with float weights."""
        if self.is_dense:
            return Dense(self.weight[:, 0, 0, :], self.bias)
        return Conv2d(
            self.weight,
            self.bias,
            stride=self.stride,
            dilation=self.dilation,
            padding=self.sides,
            groups=self.groups,
        )

    def by_filter(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """A number for each input channel, as each filter sees them: shape (O, 1, 1, I)."""
        filters, _, _, channels = self.weight.shape
        by_group = np.broadcast_to(numbers, (self.groups * channels,)).reshape(self.groups, -1)
        return np.repeat(by_group, filters // self.groups, axis=0)[:, None, None, :]


def conv(context: Context, node: OnnxNode, inputs: list[Operand | None]) -> Value:
    """Conv: a binary layer where its input and weights are binary, else a float one."""
    value, weight, *rest = inputs
    if not isinstance(value, Value) or not isinstance(weight, np.ndarray):
        raise UnsupportedError("its weight is not constant")
    if weight.ndim != 4 or len(value.shape) != 3:
        raise UnsupportedError(f"takes maps and a weight of 4 axes, found {weight.ndim}")
    bias = _bias(rest, len(weight))
    stride = _pair(node, "strides")
    dilation = _pair(node, "dilations")
    extent = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilation, strict=True)]
    sides = convolution_sides(node, value.shape[1:], extent, stride)
    layer = Layer(
        node,
        weight.transpose(0, 2, 3, 1).astype(np.float32),
        bias,
        stride,
        dilation,
        sides,
        int(node.attributes.get("group", 1)),
    )
    return context.map_of(_layer(context, layer, context.natural(value)))


def dense(context: Context, node: OnnxNode, inputs: list[Operand | None]) -> Value:
    """Gemm and MatMul."""
    value, weight, *rest = inputs
    if not isinstance(value, Value) or not isinstance(weight, np.ndarray):
        raise UnsupportedError("takes a tensor on the left and a constant on the right")
    if weight.ndim != 2 or len(value.shape) != 1:
        raise UnsupportedError(
            f"takes a vector an image and a matrix, found {list(value.shape)} and "
            f"{list(weight.shape)}"
        )
    if node.attributes.get("transA", 0):
        raise UnsupportedError("transA mixes images")
    matrix = weight if node.attributes.get("transB", 0) else weight.T
    alpha, beta = (np.float32(node.attributes.get(name, 1.0)) for name in ("alpha", "beta"))
    bias = _bias(rest, len(matrix))
    order = value.feature_order()
    matrix = (matrix if order is None else matrix[:, order]) * alpha
    bias = None if bias is None else bias * beta
    layer = Layer(node, matrix[:, None, None, :].astype(np.float32), bias, is_dense=True)
    return context.held(_layer(context, layer, value), (len(matrix),))


def _bias(rest: list[Operand | None], filters: int) -> NDArray[np.float32] | None:
    if not rest or rest[0] is None:
        return None
    if not isinstance(rest[0], np.ndarray):
        raise UnsupportedError("its bias is not constant")
    try:
        return np.broadcast_to(rest[0].reshape(-1), (filters,)).astype(np.float32)
    except ValueError as error:
        raise UnsupportedError(f"a bias of shape {rest[0].shape} is no number a filter") from error


def _pair(node: OnnxNode, name: str) -> tuple[int, int]:
    vertical, horizontal = node.attributes.get(name, (1, 1))
    return int(vertical), int(horizontal)


def _layer(context: Context, layer: Layer, value: Value) -> str:
    """Append the layer, and what it became to the report; its node."""
    why = ""
    if value.levels:
        found = _of_levels(context, layer, value)
        if isinstance(found, str):
            return _reported(context, layer, "binary", "", found)
        why = found.reason
    note = why or "its input is not two-valued"
    merged, value = _merged_padding(context, layer, value)
    value = context.natural(context.numbers(value))
    if (weight := binary_weight(merged.weight)) is not None:
        name = context.build.add(merged.binary(weight.signs, weight.scale, 0), value.node)
        name = name if layer.bias is None else affine.add(context.build, name, layer.bias)
        return _reported(context, layer, "binary weights", note, name)
    return _reported(context, layer, "float", why, context.build.add(merged.real(), value.node))


@dataclass(frozen=True)
class _NotBinary:
    reason: str


def _reported(context: Context, layer: Layer, kind: LayerKind, note: str, name: str) -> str:
    """The node that the layer ends in, after an entry in the report."""
    report = LayerReport(layer.node.name, layer.node.operator, kind, note)
    context.layers.append((report, name))
    return name


def _merged_padding(context: Context, layer: Layer, value: Value) -> tuple[Layer, Value]:
    """The layer for numbers, with zeros around its input as its own padding."""
    if value.padding is None:
        return layer, value
    if value.is_numbers and value.padding.value == 0:
        return replace(layer, sides=_with(layer.sides, value)), replace(value, padding=None)
    return layer, context.numbers(value)


def _with(sides: Sides, value: Value) -> Sides:
    assert value.padding is not None
    (_, top, left), (_, bottom, right) = value.padding.before, value.padding.after
    a, b, c, d = sides
    return a + top, b + left, c + bottom, d + right


def _of_levels(context: Context, layer: Layer, value: Value) -> str | _NotBinary:
    """The layer of signs, of an input of three levels as the sum of two layers."""
    if value.is_comparison:
        value = context.settled(value)
    if not (value.is_comparison and has_three_levels(value)):
        return _of_signs(context, layer, context.signs(value))
    found = [
        _of_signs(context, replace(layer, bias=bias), context.signs(half))
        for half, bias in zip(context.halves(value), (layer.bias, None), strict=True)
    ]
    for each in found:
        if isinstance(each, _NotBinary):
            return each
    return context.build.add(Add(), *map(str, found))


def _of_signs(context: Context, layer: Layer, value: Value) -> str | _NotBinary:
    """The layer of signs by binary weights, or why it is none.

    An input is ``half · s + middle`` with s = ±1, so its products with a weight add up to
    ``half · Σ s·W + middle · ΣW``. Padded taps are s at the border, whatever they stand for.
    """
    value, low = context.per_channel(value, value.levels[0].astype(np.float64))
    value, high = context.per_channel(value, value.levels[1].astype(np.float64))
    half = (high.astype(np.float64) - low) / 2
    middle = (high.astype(np.float64) + low) / 2
    edge = _edge(context, layer, value, half, middle)
    if isinstance(edge, _NotBinary):
        return edge
    layer, value, pad_value = edge
    offset = (layer.by_filter(middle) * layer.weight).sum(axis=(1, 2, 3))
    if uniform(half) is None:  # each channel has its own magnitude: part of the weights
        scaled = (layer.by_filter(half) * layer.weight).astype(np.float32)
        layer, half = replace(layer, weight=scaled), np.ones(1)
    elif half[0] < 0:
        layer, half = replace(layer, weight=-layer.weight), -half
    build = context.build
    factor = half[:1].astype(np.float32)
    weight = binary_weight(layer.weight)
    if weight is not None and weight.scale.values.shape[1] == 1:
        name = build.add(layer.binary(weight.signs, None, pad_value), value.node)
        alpha = weight.scale.by_filter(len(layer.weight))[:, 0]
        if not offset.any():
            name = affine.multiply(build, name, alpha * factor)
        else:  # sums of 0 and 1 are integers: exact up to α
            name = affine.multiply(build, name, factor)
            with np.errstate(divide="ignore", invalid="ignore"):
                integer = np.where(alpha == 0, 0, offset / alpha).astype(np.float32)
            name = affine.multiply(build, affine.add(build, name, integer), alpha)
    elif weight is not None:
        scale = replace(weight.scale, values=weight.scale.values * factor)
        name = build.add(layer.binary(weight.signs, scale, pad_value), value.node)
        name = affine.add(build, name, offset.astype(np.float32))
    elif (levels := two_level_weight(layer.weight)) is not None:
        name = _two_levels(context, layer, value, levels, pad_value)
        name = affine.multiply(build, name, (levels.halves * factor).astype(np.float32))
        name = affine.add(build, name, offset.astype(np.float32))
    else:
        return _NotBinary(
            f"its input is binary; {why_not_binary(layer.weight) or 'its weights are not'}"
        )
    return name if layer.bias is None else affine.add(build, name, layer.bias)


def _two_levels(
    context: Context, layer: Layer, value: Value, weight: TwoLevelWeight, pad_value: int
) -> str:
    """``Σ s·(S + 1)``, the product with weights 0 and 2: of s beside itself with S beside ones."""
    build, both = context.build, (weight.signs, np.ones_like(weight.signs))
    if layer.groups > 1:  # whose channels would have to be mixed
        parts = [layer.binary(BitArray.from_signs(each), None, pad_value) for each in both]
        return build.add(Add(), *(build.add(part, value.node) for part in parts))
    operator = layer.binary(BitArray.from_signs(np.concatenate(both, axis=-1)), None, pad_value)
    return build.add(operator, build.add(Concat(), value.node, value.node))


def _edge(
    context: Context, layer: Layer, value: Value, half: NDArray[Any], middle: NDArray[Any]
) -> tuple[Layer, Value, Literal[-1, 0, 1]] | _NotBinary:
    """The layer with all padding its own, and what a padded tap counts as in terms of signs."""
    if (half == 0).any():
        return _NotBinary("the two levels of its input are one")
    own = any(layer.sides)
    if value.padding is not None:
        merges = not own or value.padding.value == 0
        if merges and value.padding.before[0] == value.padding.after[0] == 0:
            level = value.padding.value
            layer, own = replace(layer, sides=_with(layer.sides, value)), True
            value = replace(value, padding=None)
        else:
            value, level = context.unpadded(value), 0.0
            if value.is_numbers:
                return _NotBinary("the padding of its input is neither of its levels")
    else:
        level = 0.0
    if not own:
        return layer, value, 0
    sign = uniform((level - middle) / half)
    for pad_value in (-1, 0, 1):
        if sign == pad_value:
            return layer, value, pad_value
    return _NotBinary(f"padded with {level:g}, which is no sign")
