"""Steps that only move elements."""

from __future__ import annotations

import math

from bitconv.bits import WORD_BITS
from bitconv.compiler.boxes import Box, copy, steps_of
from bitconv.compiler.builder import Value
from bitconv.compiler.context import Context, natural_layout
from bitconv.compiler.parts import parts_of
from bitconv.graph import Node, TensorType
from bitconv.operators import Flatten, Pad, Reshape, Slice, Transpose


def concat(context: Context, node: Node) -> None:
    """Copy every input that is not in its place yet beside the one before it."""
    target = context.values[node.name] = context.whole(node.name)
    steps = steps_of(target, context.shape(node.name))
    places = parts_of(node, context.graph.types)
    missing = [(name, part) for name, part in places if part not in context.parts.get(name, ())]
    boxes: list[tuple[Value | None, Box]] = []
    for name, part in missing:
        value, shape = context.values[name], context.shape(name)
        boxes.append((value, Box(shape, steps_of(value, shape), steps, 0, part.first)))
    if boxes:
        reads = {name: context.values[name] for name, _ in missing}
        whole = len(missing) == len(places)
        copy(context.builder, (node.name,), reads, {node.name: target}, boxes, clear=whole)


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
    """The same memory where pixels and runs of channels are chosen; else copy the elements."""
    operator = node.operator
    assert isinstance(operator, Slice)
    (name,) = node.inputs
    source = context.values[name]
    if _is_part(context, node, operator):
        down, across, along = map(range, operator.start, operator.stop, operator.step)
        layout = source.layout.pixels(down, across).run(along.start, len(along))
        context.values[node.name] = Value(layout, source.buffer)
        return
    steps = steps_of(source, context.shape(name))
    offset = sum(first * step for first, step in zip(operator.start, steps, strict=True))
    strides = tuple(step * by for step, by in zip(steps, operator.step, strict=True))
    _copy_as(context, node, strides, offset)


def _is_part(context: Context, node: Node, operator: Slice) -> bool:
    """Whether the elements lie as those of a map do, and nobody needs them otherwise."""
    shape = context.shape(node.inputs[0])
    if len(shape) != 3 or operator.step[-1] != 1 or context.reaches_over_pixels(node.name):
        return False
    first, end = operator.start[-1], operator.stop[-1]
    by_words = first % WORD_BITS == 0 and (end % WORD_BITS == 0 or end == shape[-1])
    return by_words or not context.reads_bits(node)


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
    if len(result.shape) == 1:
        context.values[node.name] = flat
        return
    if layout.dense and flat.layout.dense:
        context.values[node.name] = Value(layout, flat.buffer)
        return
    target = context.store(node.name)
    steps = tuple(math.prod(result.shape[axis + 1 :]) for axis in range(len(result.shape)))
    box = Box(result.shape, steps, steps_of(target, result.shape))
    copy(context.builder, (node.name,), {name: flat}, {node.name: target}, [(flat, box)])


def _flattened(context: Context, node: Node, name: str, source: Value) -> Value:
    value = context.graph.types[name]
    layout = natural_layout(TensorType((value.size,), value.kind))
    if len(value.shape) == 1:
        return source
    if source.layout.dense:
        return Value(layout, source.buffer)
    target = context.builder.new_value(layout)
    steps = tuple(math.prod(value.shape[axis + 1 :]) for axis in range(len(value.shape)))
    box = Box(value.shape, steps_of(source, value.shape), steps)
    copy(context.builder, (node.name,), {name: source}, {node.name: target}, [(source, box)])
    return target
