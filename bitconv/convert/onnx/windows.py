"""Padding and pools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bitconv.convert.onnx.context import Context, Operand, padded
from bitconv.convert.onnx.reading import OnnxNode
from bitconv.convert.onnx.values import Value
from bitconv.errors import UnsupportedError
from bitconv.operators import AvgPool2d, GlobalAvgPool2d, MaxPool2d

Sides = tuple[int, int, int, int]


def convolution_sides(
    node: OnnxNode, size: Sequence[int], extent: Sequence[int], stride: Sequence[int]
) -> Sides:
    """Padding of a window as (top, left, bottom, right), whichever way the node says it."""
    how = node.attributes.get("auto_pad", "NOTSET")
    if how == "NOTSET":
        pads = node.attributes.get("pads", [0] * 4)
        if len(pads) != 4 or min(pads) < 0:
            raise UnsupportedError(f"takes four lengths of padding from 0 up, found {list(pads)}")
        top, left, bottom, right = map(int, pads)
        return top, left, bottom, right
    if how == "VALID":
        return 0, 0, 0, 0
    if how not in ("SAME_UPPER", "SAME_LOWER"):
        raise UnsupportedError(f"auto_pad {how!r} is not known")
    sums = [
        max((-(-length // step) - 1) * step + reach - length, 0)
        for length, reach, step in zip(size, extent, stride, strict=True)
    ]
    less, more = [each // 2 for each in sums], [each - each // 2 for each in sums]
    before, after = (less, more) if how == "SAME_UPPER" else (more, less)
    return before[0], before[1], after[0], after[1]


def pad(context: Context, node: OnnxNode, inputs: list[Operand | None]) -> Value:
    """A pad, which the graph holds only where nothing behind it takes it over."""
    value, *_ = inputs
    assert isinstance(value, Value)
    mode = node.attributes.get("mode", "constant")
    if mode != "constant":
        raise UnsupportedError(f"mode {mode!r} is not known")
    number = context.option(node, list(inputs), "value", 2, 0.0)
    number = float(np.asarray(number).reshape(-1)[0]) if np.size(number) else 0.0
    before, after = _pad_lengths(context, node, inputs, len(value.shape))
    if not any(before) and not any(after):
        return value
    value = context.unfolded(context.unpadded(value))
    return padded(value, before, after, number)


def _pad_lengths(
    context: Context, node: OnnxNode, inputs: list[Operand | None], rank: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Elements before and after each axis, the batch not counted."""
    name = "pads" if "pads" in node.attributes or context.opset >= 11 else "paddings"
    lengths = [int(each) for each in context.option(node, list(inputs), name, 1, ())]
    axes = context.option(node, list(inputs), "axes", 3) or range(rank + 1)
    whole = [[0] * (rank + 1), [0] * (rank + 1)]
    for place, axis in enumerate(axes):
        for end, half in enumerate((lengths[: len(axes)], lengths[len(axes) :])):
            whole[end][axis % (rank + 1)] = half[place]
    if whole[0][0] or whole[1][0]:
        raise UnsupportedError("pads the batch")
    if min(map(min, whole)) < 0:
        raise UnsupportedError(f"takes lengths from 0 up, found {lengths}")
    before, after = (tuple(end[1:]) for end in whole)
    return before, after


def max_pool(context: Context, node: OnnxNode, inputs: list[Operand | None]) -> Value:
    """The maximum of each window."""
    value = _pooled(context, inputs)
    kernel, stride, sides = _geometry(node, value)
    if any(each != 1 for each in node.attributes.get("dilations", (1, 1))):
        raise UnsupportedError("dilations are not known")
    if len(node.outputs) > 1:
        raise UnsupportedError("gives the places of its maxima too")
    operator = MaxPool2d(kernel, stride, _ceiled(node, value, kernel, stride, sides))
    if value.levels:
        value = context.signs(value)
    if value.levels:
        low, high = value.levels
        if (low <= high).all():
            result = context.map_of(context.build.add(operator, value.node))
            return replace(result, levels=value.levels)
        value = context.numbers(value)
    return context.map_of(context.build.add(operator, value.node))


def average_pool(context: Context, node: OnnxNode, inputs: list[Operand | None]) -> Value:
    """The mean of each window."""
    value = context.numbers(_pooled(context, inputs))
    kernel, stride, sides = _geometry(node, value)
    if any(each != 1 for each in node.attributes.get("dilations", (1, 1))):
        raise UnsupportedError("dilations are not known")
    counts = bool(node.attributes.get("count_include_pad", 0))
    all_sides = _ceiled(node, value, kernel, stride, sides)
    if counts and all_sides != sides:
        raise UnsupportedError("ceil_mode with count_include_pad is not known")
    operator = AvgPool2d(kernel, stride, all_sides, count_padding=counts)
    return context.map_of(context.build.add(operator, value.node))


def global_average_pool(
    context: Context,
    node: OnnxNode,  # noqa: ARG001  # rules share a signature
    inputs: list[Operand | None],
) -> Value:
    """The mean over a whole map, whose axes stay."""
    return _mean(context, _pooled(context, inputs), keeps=True)


def global_max_pool(
    context: Context,
    node: OnnxNode,  # noqa: ARG001  # rules share a signature
    inputs: list[Operand | None],
) -> Value:
    """The maximum over a whole map."""
    value = context.numbers(_pooled(context, inputs))
    _, height, width = value.shape
    return context.map_of(context.build.add(MaxPool2d((height, width)), value.node))


def reduce_mean(context: Context, node: OnnxNode, inputs: list[Operand | None]) -> Value:
    """The mean over a whole map."""
    value = _pooled(context, inputs)
    axes = context.option(node, list(inputs), "axes", 1, ())
    if sorted(axis % 4 for axis in axes) != [2, 3]:
        raise UnsupportedError(f"takes the mean over a whole map, axes 2 and 3, found {axes}")
    return _mean(context, value, keeps=bool(node.attributes.get("keepdims", 1)))


def _mean(context: Context, value: Value, keeps: bool) -> Value:
    value = context.numbers(value)
    channels = value.shape[0]
    node = context.build.add(GlobalAvgPool2d(), value.node)
    if not keeps:
        return context.held(node, (channels,))
    return context.map_of(context.build.reshape(node, (1, 1, channels)))


def _pooled(context: Context, inputs: list[Operand | None]) -> Value:
    value = inputs[0]
    if not isinstance(value, Value) or len(value.shape) != 3:
        raise UnsupportedError("takes maps, tensors of 4 axes")
    return context.natural(context.unpadded(value))


def _geometry(node: OnnxNode, value: Value) -> tuple[tuple[int, int], tuple[int, int], Sides]:
    """Kernel, stride and padding of a pool."""
    height, width = map(int, node.attributes["kernel_shape"])
    down, across = map(int, node.attributes.get("strides", (1, 1)))
    sides = convolution_sides(node, value.shape[1:], (height, width), (down, across))
    return (height, width), (down, across), sides


def _ceiled(
    node: OnnxNode, value: Value, kernel: Sequence[int], stride: Sequence[int], sides: Sides
) -> Sides:
    """The padding that gives the last windows where ONNX rounds their number up."""
    if not node.attributes.get("ceil_mode", 0):
        return sides
    ends: list[Any] = list(sides)
    for axis, length in enumerate(value.shape[1:]):
        whole = length + sides[axis] + sides[axis + 2]
        windows = -(-(whole - kernel[axis]) // stride[axis]) + 1
        if (windows - 1) * stride[axis] >= length + sides[axis]:
            windows -= 1  # it would begin in the padding
        lacking = (windows - 1) * stride[axis] + kernel[axis] - whole
        ends[axis + 2] += max(lacking, 0)
    return ends[0], ends[1], ends[2], ends[3]
