"""ONNX operators that only move elements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.convert.onnx.context import Context, Operand, padded
from bitconv.convert.onnx.reading import OnnxNode
from bitconv.convert.onnx.values import MAP, Value, natural_order, uniform
from bitconv.errors import UnsupportedError
from bitconv.operators import Concat, Flatten, Slice


def place_of(axis: int, value: Value) -> int:
    """Which entry of the value's shape an axis of the ONNX tensor is; −1 for the batch."""
    rank = len(value.shape) + 1
    if not -rank <= axis < rank:
        raise UnsupportedError(f"axis {axis} of a tensor of {rank} axes does not exist")
    return axis % rank - 1


def _plain(context: Context, value: Operand | None) -> Value:
    """A value that its node holds whole: numbers, or signs with one pair of levels."""
    if not isinstance(value, Value):
        raise UnsupportedError("a tensor is expected, found a constant")
    value = context.unpadded(value)
    if value.levels:
        value = context.signs(value)
    if value.levels:
        if any(uniform(level) is None for level in value.levels):
            return context.numbers(value)
        low, high = (np.asarray(uniform(level)) for level in value.levels)
        return replace(value, levels=(low, high))
    return value


def transpose(context: Context, node: OnnxNode, inputs: list[Operand | None]) -> Value:
    """Another order of the axes; the graph moves nothing until somebody needs it."""
    value = context.unfolded(_plain(context, inputs[0]))
    rank = len(value.shape)
    order = list(node.attributes.get("perm", range(rank + 1)[::-1]))
    if order[0] != 0:
        raise UnsupportedError("moves the batch")
    axes = [axis - 1 for axis in order[1:]]
    shape = tuple(value.shape[axis] for axis in axes)
    return replace(value, shape=shape, order=tuple(axes.index(axis) for axis in value.order))


def flatten(context: Context, node: OnnxNode, inputs: list[Operand | None]) -> Value:
    """Everything after the batch in one row."""
    value = _plain(context, inputs[0])
    if place_of(node.attributes.get("axis", 1), value) != 0:
        raise UnsupportedError("takes everything after the batch")
    return _reshaped(context, value, (prod(value.shape),))


def reshape(context: Context, node: OnnxNode, inputs: list[Operand | None]) -> Value:
    """Another shape of the same elements, the batch left alone."""
    value = _plain(context, inputs[0])
    wanted = [int(each) for each in context.option(node, list(inputs), "shape", 1)]
    found = (context.batch, *value.shape)
    if not node.attributes.get("allowzero", 0):
        wanted = [found[i] if each == 0 else each for i, each in enumerate(wanted)]
    if -1 in wanted:
        rest = prod(each for each in wanted if each != -1)
        wanted[wanted.index(-1)] = prod(found) // max(rest, 1)
    if prod(wanted) != prod(found) or wanted[0] != context.batch:
        raise UnsupportedError(f"mixes images: {list(found)} becomes {wanted}")
    return _reshaped(context, value, tuple(wanted[1:]))


def squeeze(context: Context, node: OnnxNode, inputs: list[Operand | None]) -> Value:
    """Without axes of one element."""
    value = _plain(context, inputs[0])
    axes = context.option(node, list(inputs), "axes", 1)
    if axes is None:
        axes = [axis for axis, length in enumerate(value.shape, start=1) if length == 1]
    gone = {place_of(axis, value) for axis in axes}
    if -1 in gone:
        raise UnsupportedError("removes the batch")
    shape = tuple(length for axis, length in enumerate(value.shape) if axis not in gone)
    return _reshaped(context, value, shape)


def unsqueeze(context: Context, node: OnnxNode, inputs: list[Operand | None]) -> Value:
    """With more axes of one element."""
    value = _plain(context, inputs[0])
    axes = context.option(node, list(inputs), "axes", 1, ())
    rank = len(value.shape) + 1 + len(axes)
    places = sorted(axis % rank for axis in axes)
    if 0 in places:
        raise UnsupportedError("adds an axis before the batch")
    shape = list(value.shape)
    for place in places:
        shape.insert(place - 1, 1)
    return _reshaped(context, value, tuple(shape))


def _reshaped(context: Context, value: Value, shape: tuple[int, ...]) -> Value:
    """The same elements, in ONNX's order, in another shape."""
    if shape == value.shape:
        return value
    if not shape:
        raise UnsupportedError("leaves a single number")
    build = context.build
    if len(shape) == 1 and len(value.shape) == 3:
        value = context.natural(value)
        channels, height, width = value.shape
        node = value.node
        node = build.add(Flatten(), node) if height * width > 1 else build.reshape(node, shape)
        chw = (channels, height, width) if height * width > 1 and channels > 1 else None
        return replace(value, node=node, shape=shape, order=(0,), chw=chw)
    if value.chw is not None and shape == value.chw:
        channels, height, width = shape
        node = build.reshape(value.node, (height, width, channels))
        return replace(value, node=node, shape=shape, order=MAP, chw=None)
    value = context.unfolded(value)
    if len(shape) == 3 and shape[1:] == (1, 1):
        value = context.ordered(value, tuple(range(len(value.shape))))
        node = build.reshape(value.node, (1, 1, shape[0]))
        return replace(value, node=node, shape=shape, order=MAP)
    value = context.ordered(value, tuple(range(len(value.shape))))
    node = build.reshape(value.node, shape)
    return replace(value, node=node, shape=shape, order=tuple(range(len(shape))))


def concat(context: Context, node: OnnxNode, inputs: list[Operand | None]) -> Value:
    """Tensors beside each other, or constants of one number beside one, which are a pad."""
    if any(isinstance(each, np.ndarray) for each in inputs):
        return _joined_with_constants(context, node, inputs)
    values = [_plain(context, each) for each in inputs]
    rank = len(values[0].shape)
    axis = place_of(node.attributes["axis"], values[0])
    if axis < 0:
        raise UnsupportedError("joins images")
    order = (*(each for each in natural_order(rank) if each != axis), axis)
    first = values[0]
    same_levels = all(
        each.levels and all(map(np.array_equal, each.levels, first.levels)) for each in values
    )
    if not same_levels:
        values = [context.numbers(each) for each in values]
    values = [context.ordered(context.unfolded(each), order) for each in values]
    shape = tuple(
        sum(each.shape[axis] for each in values) if place == axis else length
        for place, length in enumerate(first.shape)
    )
    name = context.build.add(Concat(), *(each.node for each in values))
    return replace(values[0], node=name, shape=shape)


def _joined_with_constants(context: Context, node: OnnxNode, inputs: list[Operand | None]) -> Value:
    """A tensor beside constants of one number, which are a pad."""
    places = [place for place, each in enumerate(inputs) if isinstance(each, Value)]
    value = context.unfolded(_plain(context, inputs[places[0]]))
    axis = place_of(node.attributes["axis"], value)
    constants = [each for each in inputs if isinstance(each, np.ndarray)]
    number = uniform(np.concatenate([each.reshape(-1) for each in constants]))
    if len(places) > 1 or number is None or axis < 0:
        raise UnsupportedError("joins tensors with constants that are not one number")
    before, after = [0] * len(value.shape), [0] * len(value.shape)
    for place, each in enumerate(inputs):
        if isinstance(each, np.ndarray):
            (before if place < places[0] else after)[axis] += each.shape[axis + 1]
    return padded(value, tuple(before), tuple(after), float(number))


def slice_(context: Context, node: OnnxNode, inputs: list[Operand | None]) -> Value:
    """A range of each axis."""
    value = context.unfolded(_plain(context, inputs[0]))
    starts, ends = (
        context.option(node, list(inputs), name, index)
        for index, name in enumerate(("starts", "ends"), start=1)
    )
    axes = context.option(node, list(inputs), "axes", 3) or list(range(len(starts)))
    steps = context.option(node, list(inputs), "steps", 4) or [1] * len(starts)
    runs = [range(length) for length in value.shape]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        place = place_of(axis, value)
        length = context.batch if place < 0 else value.shape[place]
        run = range(*slice(start, end, step).indices(length))
        if step < 1:
            raise UnsupportedError("goes backwards")
        if place >= 0:
            runs[place] = run
        elif len(run) != length:
            raise UnsupportedError("takes some of the images")
    return _sliced(context, value, runs)


def split(context: Context, node: OnnxNode, inputs: list[Operand | None]) -> tuple[Value, ...]:
    """Adjacent ranges of one axis."""
    value = context.unfolded(_plain(context, inputs[0]))
    place = place_of(node.attributes.get("axis", 0), value)
    if place < 0:
        raise UnsupportedError("takes some of the images")
    parts, length = len(node.outputs), value.shape[place]
    even = [-(-length // parts)] * (parts - 1)
    lengths = context.option(node, list(inputs), "split", 1) or [*even, length - sum(even)]
    ends = np.cumsum(lengths).tolist()
    results = []
    for count, end in zip(lengths, ends, strict=True):
        runs = [range(each) for each in value.shape]
        runs[place] = range(end - count, end)
        results.append(_sliced(context, value, runs))
    return tuple(results)


def gather(context: Context, node: OnnxNode, inputs: list[Operand | None]) -> Value:
    """Evenly spaced elements along one axis."""
    value, indices = context.unfolded(_plain(context, inputs[0])), inputs[1]
    place = place_of(node.attributes.get("axis", 0), value)
    if not isinstance(indices, np.ndarray) or indices.ndim > 1 or place < 0:
        raise UnsupportedError("takes constant indices of one axis, not the batch")
    length = value.shape[place]
    if not indices.size or indices.min() < -length or indices.max() >= length:
        raise UnsupportedError(f"takes indices of {length} elements, found {indices.tolist()}")
    places = (indices.reshape(-1) % length).tolist()
    step = places[1] - places[0] if len(places) > 1 else 1
    run = range(places[0], places[-1] + 1, step) if step > 0 else range(0)
    if list(run) != places:
        raise UnsupportedError("takes elements that are not evenly spaced, in their order")
    runs = [range(each) for each in value.shape]
    runs[place] = run
    taken = _sliced(context, value, runs)
    if indices.ndim:
        return taken
    shape = (*taken.shape[:place], *taken.shape[place + 1 :])
    return _reshaped(context, taken, shape)


def _sliced(context: Context, value: Value, runs: Sequence[range]) -> Value:
    if min(map(len, runs)) < 1:
        raise UnsupportedError("takes no element")
    shape = tuple(map(len, runs))
    if shape == value.shape:
        return value
    stored = [runs[axis] for axis in value.order]
    operator = Slice(
        tuple(run.start for run in stored),
        tuple(run.stop for run in stored),
        tuple(run.step for run in stored),
    )
    return replace(value, node=context.build.add(operator, value.node), shape=shape)


def shape_of(context: Context, node: OnnxNode, inputs: list[Operand | None]) -> NDArray[Any]:
    """The shape of a tensor, a constant."""
    (value,) = inputs
    assert isinstance(value, Value)
    start, end = node.attributes.get("start", 0), node.attributes.get("end")
    return np.array((context.batch, *value.shape)[start:end], np.int64)
