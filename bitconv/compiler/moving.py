"""Steps that only move elements."""

from __future__ import annotations

import math

from bitconv.compiler.boxes import Box, copy, steps_of
from bitconv.compiler.builder import Value
from bitconv.compiler.context import Context, natural_layout
from bitconv.graph import Node, TensorType
from bitconv.operators import Flatten, Pad, Reshape, Slice, Transpose


def concat(context: Context, node: Node) -> None:
    """Copy every input beside the one before it."""
    target = context.store(node.name)
    steps = steps_of(target, context.shape(node.name))
    boxes: list[tuple[Value | None, Box]] = []
    channel = 0
    for name in node.inputs:
        value, shape = context.values[name], context.shape(name)
        boxes.append((value, Box(shape, steps_of(value, shape), steps, 0, channel)))
        channel += shape[-1]
    reads = {name: context.values[name] for name in node.inputs}
    copy(context.builder, (node.name,), reads, {node.name: target}, boxes)


def pad(context: Context, node: Node) -> None:
    """Fill the result with the constant, then copy the input into its middle."""
    operator = node.operator
    assert isinstance(operator, Pad)
    (name,) = node.inputs
    source, shape = context.values[name], context.shape(name)
    target = context.store(node.name)
    steps = steps_of(target, context.shape(node.name))
    offset = sum(count * step for count, step in zip(operator.before, steps, strict=True))
    boxes = [
        (None, Box(context.shape(node.name), (0,) * len(shape), steps)),
        (source, Box(shape, steps_of(source, shape), steps, 0, offset)),
    ]
    copy(
        context.builder,
        (node.name,),
        {name: source},
        {node.name: target},
        boxes,
        operator.value,
    )


def slice_(context: Context, node: Node) -> None:
    """Copy the chosen elements."""
    operator = node.operator
    assert isinstance(operator, Slice)
    (name,) = node.inputs
    source = context.values[name]
    steps = steps_of(source, context.shape(name))
    offset = sum(first * step for first, step in zip(operator.start, steps, strict=True))
    strides = tuple(step * by for step, by in zip(steps, operator.step, strict=True))
    _copy_as(context, node, strides, offset)


def transpose(context: Context, node: Node) -> None:
    """Copy with the axes of the source in another order."""
    operator = node.operator
    assert isinstance(operator, Transpose)
    (name,) = node.inputs
    steps = steps_of(context.values[name], context.shape(name))
    _copy_as(context, node, tuple(steps[axis] for axis in operator.order), 0)


def _copy_as(context: Context, node: Node, source_steps: tuple[int, ...], offset: int) -> None:
    (name,) = node.inputs
    source, target = context.values[name], context.store(node.name)
    shape = context.shape(node.name)
    box = Box(shape, source_steps, steps_of(target, shape), offset)
    copy(context.builder, (node.name,), {name: source}, {node.name: target}, [(source, box)])


def reshape(context: Context, node: Node) -> None:
    """The same memory under another shape where it has no gaps; else a copy through a vector."""
    assert isinstance(node.operator, Flatten | Reshape)
    (name,) = node.inputs
    source = context.values[name]
    result = context.graph.types[node.name]
    flat = _flattened(context, node, name, source)
    layout = context.layout(node.name)
    if layout.dense or len(result.shape) == 1:
        context.values[node.name] = Value(layout, flat.buffer)
        return
    target = context.store(node.name)
    steps = tuple(math.prod(result.shape[axis + 1 :]) for axis in range(len(result.shape)))
    box = Box(result.shape, steps, steps_of(target, result.shape))
    copy(context.builder, (node.name,), {name: flat}, {node.name: target}, [(flat, box)])


def _flattened(context: Context, node: Node, name: str, source: Value) -> Value:
    value = context.graph.types[name]
    layout = natural_layout(TensorType((value.size,), value.kind))
    if source.layout.dense or len(value.shape) == 1:
        return Value(layout, source.buffer)
    target = context.builder.new_value(layout)
    steps = tuple(math.prod(value.shape[axis + 1 :]) for axis in range(len(value.shape)))
    box = Box(value.shape, steps_of(source, value.shape), steps)
    copy(context.builder, (node.name,), {name: source}, {node.name: target}, [(source, box)])
    return target
