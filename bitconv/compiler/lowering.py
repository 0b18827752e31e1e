"""From the nodes of a graph to the steps of a plan.

A node that produces floats takes the pointwise nodes behind it along: their work becomes the
program that its kernel runs on each block of values, so a chain of convolution, batch norm,
addition and sign is one step, and of the values in between only those are stored that somebody
else reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bitconv.bits import pack_words
from bitconv.compiler.builder import PlanBuilder, Value, at, pointwise_record
from bitconv.compiler.context import Context, natural_layout
from bitconv.compiler.convolutions import binary_convolution, convolution
from bitconv.compiler.feature_maps import decode_map, encode_map
from bitconv.compiler.fusion import Program
from bitconv.compiler.moving import concat, pad, reshape, slice_, transpose
from bitconv.compiler.ordering import moved_terms_first
from bitconv.compiler.plan import Plan
from bitconv.compiler.pooled_signs import TurnedMaxPool2d, pool_signs
from bitconv.errors import UnsupportedError
from bitconv.graph import Graph, Node, needed_nodes
from bitconv.kernels.records import BLOCK_CHANNELS
from bitconv.operators import (
    ActivationScaleMap,
    Add,
    AvgPool2d,
    BatchNorm,
    BinaryConv2d,
    BinaryDense,
    Clip,
    Concat,
    Conv2d,
    DecodeMap,
    Dense,
    EncodeMap,
    Flatten,
    GlobalAvgPool2d,
    MaxPool2d,
    Multiply,
    Normalize,
    Operator,
    Pad,
    PRelu,
    Relu,
    Reshape,
    Sign,
    Slice,
    Softmax,
    Transpose,
)
from bitconv.operators.window import Window

# Rough times on one core, only to tell small steps from large ones.
SECONDS_PER_ELEMENT = 0.5e-9
SECONDS_PER_TAP = 0.2e-9


def compile_graph(
    graph: Graph, *, images: int = 1, threads: int = 1, keep: Sequence[str] = ()
) -> Plan:
    """Compile a network.

    Parameters
    ----------
    graph : Graph
    images : int
        The most images that one run takes.
    threads : int
        Threads a run may use.
    keep : sequence of str
        Values to be had after a run besides the outputs.

    Raises
    ------
    UnsupportedError
        Where the graph is valid but cannot be run, naming the node.
    """
    builder = PlanBuilder(images, threads)
    kept = frozenset((*graph.outputs, *keep))
    # A graph has nodes, even where its outputs are all inputs.
    nodes = needed_nodes(graph.nodes, kept) or graph.nodes
    pooled = pool_signs(graph, moved_terms_first(nodes), kept)
    context = Context(pooled.graph, builder, kept)
    for name, value in graph.inputs.items():
        if value.kind not in ("uint8", "float32"):
            raise UnsupportedError(f"input {name!r}: images of kind {value.kind} cannot be run")
        layout = context.layout(name) if value.kind == "float32" else natural_layout(value)
        context.values[name] = builder.new_value(layout)
    done: set[str] = set()
    for node in context.nodes:
        if node.name not in done:
            done.update(_lower(context, node))
    plan = builder.finish(context.values, kept)
    steps = [replace(step, nodes=pooled.original(step.nodes)) for step in plan.steps]
    return replace(plan, steps=tuple(steps))


def _lower(context: Context, node: Node) -> Sequence[str]:
    """Append the steps of a node; the names of all nodes whose work they do."""
    before = context.builder.step_count
    LOWERINGS[type(node.operator)](context, node)
    return [node.name, *context.builder.nodes_since(before)]


def _pointwise(context: Context, node: Node) -> None:
    """A pointwise node whose input no kernel before it could hand over."""
    name = node.inputs[0]
    value = context.values[name]
    source = value if value.layout.stored == "uint8" else context.floats(name)
    record = pointwise_record(source)
    program = Program(context, min(BLOCK_CHANNELS, source.layout.channels))
    if isinstance(node.operator, Sign):
        program.sign(node)
    elif source.layout.stored == "uint8" and isinstance(node.operator, Normalize):
        record["table"] = _table_of_bytes(context, node, source.layout.channels)
        program.nodes.append(node.name)
        program.follow(node.name)
    else:
        program.pointwise(node, name)
        program.follow(node.name)
    _add_program_step(context, "pointwise", name, source, record, program)


def _table_of_bytes(context: Context, node: Node, channels: int) -> int:
    """Offset of what the node makes of every byte, a channel after the other."""
    octets = np.repeat(np.arange(256, dtype=np.uint8)[:, None], channels, axis=1)
    table = node.operator.reference(octets).astype(np.float32)
    return context.builder.constants.add(np.ascontiguousarray(table.T))


def _pool(context: Context, node: Node) -> None:
    """A pool, and the pointwise nodes behind it; of bits, the pool alone."""
    operator, name = node.operator, node.inputs[0]
    source = context.values[name]
    layout = source.layout
    if isinstance(operator, GlobalAvgPool2d):
        window = Window((layout.height, layout.width))
    else:
        assert isinstance(operator, AvgPool2d | MaxPool2d)
        window = operator.window
    record = {**at("source", source), **_window_fields(window, layout.height, layout.width)}
    if layout.stored == "bits":
        _pool_bits(context, node, source, record)
        return
    record |= {
        "channels": layout.channels,
        "largest": isinstance(operator, MaxPool2d),
        "count_padding": isinstance(operator, AvgPool2d) and operator.count_padding,
    }
    width = min(BLOCK_CHANNELS, layout.channels)
    program = Program(context, width, nodes=[node.name])
    program.follow(node.name)
    _add_program_step(context, "pool2d", name, source, record, program)


def _pool_bits(context: Context, node: Node, source: Value, record: dict[str, Any]) -> None:
    target = context.store(node.name)
    sides = zip(("top", "left", "bottom", "right"), target.ring, strict=True)
    record |= {**at("target", target), **{f"target_{side}": size for side, size in sides}}
    context.builder.add_step(
        "max_pool2d_bits",
        nodes=[node.name],
        reads=[(node.inputs[0], source)],
        writes={node.name: target},
        records=[record | {"words": source.layout.depth, "turned": _turned(context, node)}],
    )


def _turned(context: Context, node: Node) -> int:
    """Where the words lie that change the sign of some channels; −1 where none changes."""
    if not isinstance(node.operator, TurnedMaxPool2d):
        return -1
    return context.builder.constants.add(pack_words(node.operator.turned.bits()))


def _window_fields(window: Window, height: int, width: int) -> dict[str, int]:
    rows, columns = window.output_size(height, width)
    return {
        "rows": rows,
        "columns": columns,
        "kernel_rows": window.kernel[0],
        "kernel_columns": window.kernel[1],
        "stride_rows": window.stride[0],
        "stride_columns": window.stride[1],
        "height": height,
        "width": width,
        "top": window.padding[0],
        "left": window.padding[1],
    }


def _add_program_step(
    context: Context,
    kernel: str,
    name: str,
    source: Value,
    record: dict[str, Any],
    program: Program,
) -> None:
    taps = record.get("kernel_rows", 1) * record.get("kernel_columns", 1)
    elements = record["rows"] * record["columns"] * record["channels"]
    context.builder.add_step(
        kernel,
        nodes=program.nodes,
        reads=[(name, source), *program.reads],
        writes=program.writes,
        records=[record],
        program=program.instructions,
        seconds=elements * (SECONDS_PER_ELEMENT + taps * SECONDS_PER_TAP),
    )


def _activation_scale_map(context: Context, node: Node) -> None:
    operator, name = node.operator, node.inputs[0]
    assert isinstance(operator, ActivationScaleMap)
    source, target = context.floats(name), context.store_without_ring(node.name)
    layout = source.layout
    means = context.builder.new_value(
        natural_layout(context.graph.types[name]).with_channels(operator.groups)
    )
    record = {
        **at("source", source),
        **at("target", target),
        **_window_fields(operator.window, layout.height, layout.width),
        "dilation_rows": operator.window.dilation[0],
        "dilation_columns": operator.window.dilation[1],
        "groups": operator.groups,
        "group_channels": layout.channels // operator.groups,
        "means": at("means", means)["means_offset"],
    }
    context.builder.add_step(
        "activation_scale_map",
        nodes=[node.name],
        reads=[(name, source)],
        writes={node.name: target},
        records=[record],
    )


def _softmax(context: Context, node: Node) -> None:
    name = node.inputs[0]
    source, target = context.floats(name), context.store_without_ring(node.name)
    layout = source.layout
    record = {
        **at("source", source),
        **at("target", target),
        "rows": layout.height,
        "columns": layout.width,
        "channels": layout.channels,
    }
    context.builder.add_step(
        "softmax",
        nodes=[node.name],
        reads=[(name, source)],
        writes={node.name: target},
        records=[record],
    )


LOWERINGS: dict[type[Operator], Callable[[Context, Node], None]] = {
    ActivationScaleMap: _activation_scale_map,
    Add: _pointwise,
    AvgPool2d: _pool,
    BatchNorm: _pointwise,
    BinaryConv2d: binary_convolution,
    BinaryDense: binary_convolution,
    Clip: _pointwise,
    Concat: concat,
    Conv2d: convolution,
    DecodeMap: decode_map,
    Dense: convolution,
    EncodeMap: encode_map,
    Flatten: reshape,
    GlobalAvgPool2d: _pool,
    MaxPool2d: _pool,
    Multiply: _pointwise,
    Normalize: _pointwise,
    PRelu: _pointwise,
    Pad: pad,
    Relu: _pointwise,
    Reshape: reshape,
    Sign: _pointwise,
    Slice: slice_,
    Softmax: _softmax,
    Transpose: transpose,
    TurnedMaxPool2d: _pool,
}
