"""Steps of convolutions and fully connected layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.bits import words_for
from bitconv.compiler.builder import Value, at
from bitconv.compiler.context import Context, input_segments, reach, scale_runs
from bitconv.compiler.fusion import Program
from bitconv.compiler.plan import NO_RING
from bitconv.compiler.thresholds import IntegerSign, integer_sign, is_monotone
from bitconv.compiler.weights import (
    Borders,
    filter_words,
    tile_binary_weights,
    tile_by_filter,
    tile_float_weights,
    tile_sign_weights,
    window_bases,
)
from bitconv.graph import Node
from bitconv.kernels.records import BLOCK_CHANNELS, PACKED_WORDS, Opcode
from bitconv.kernels.tile_shapes import BIT_FILTERS, FLOAT_FILTERS, row_width
from bitconv.operators import BinaryConv2d, BinaryDense, Conv2d, Dense, Sign
from bitconv.operators.window import Window

# Rough rates of one core, only to tell small steps from large ones.
FLOAT_MACS_PER_SECOND = 40e9
BINARY_MACS_PER_SECOND = 250e9
WEIGHT_BYTES_PER_SECOND = 16e9  # from memory; what a dense layer waits for


def convolution(context: Context, node: Node) -> None:
    """A float convolution or dense layer, and the pointwise nodes behind it."""
    operator = node.operator
    if isinstance(operator, Dense):
        operator = operator.convolution
    assert isinstance(operator, Conv2d)
    source = context.floats(node.inputs[0])
    filters, kernel_rows, kernel_columns, channels = operator.weight_shape
    tiles = -(-(filters // operator.groups) // FLOAT_FILTERS)
    program = _program(context, node, operator, min(tiles * FLOAT_FILTERS, BLOCK_CHANNELS))
    if operator.bias is not None:
        program.vector(Opcode.ADD_VECTOR, operator.bias, filters)
    program.follow(node.name)
    merged = operator.groups == operator.window.dilation[1] == 1
    taps, length = (1, kernel_columns * channels) if merged else (kernel_columns, channels)
    rows, columns = operator.window.output_size(source.layout.height, source.layout.width)
    weights = tile_float_weights(operator)
    record = {
        **_geometry(source, operator.window, merged),
        "rows": rows,
        "columns": columns,
        "taps": taps,
        "length": length,
        "groups": operator.groups,
        "group_channels": channels,
        "group_filters": filters // operator.groups,
        "tiles": tiles,
        "weights": context.builder.constants.add(weights),
    }
    macs = rows * columns * filters * kernel_rows * kernel_columns * channels
    context.builder.add_step(
        "conv2d",
        nodes=program.nodes,
        reads=[(node.inputs[0], source), *program.reads],
        writes=program.writes,
        records=[record],
        program=program.instructions,
        seconds=max(macs / FLOAT_MACS_PER_SECOND, weights.nbytes / WEIGHT_BYTES_PER_SECOND),
    )


def binary_convolution(context: Context, node: Node) -> None:
    """A binary convolution or dense layer, and the pointwise nodes behind it."""
    operator = node.operator
    if isinstance(operator, BinaryDense):
        operator = operator.convolution
    assert isinstance(operator, BinaryConv2d)
    lower = _convolution_of_bits if context.reads_bits(node) else _convolution_of_floats
    lower(context, node, operator)


def _convolution_of_bits(context: Context, node: Node, operator: BinaryConv2d) -> None:
    """Binary weights and binary activations."""
    name = node.inputs[0]
    height, width = context.values[name].layout.height, context.values[name].layout.width
    ring = reach(operator.window, height, width)
    source = context.packed(name, input_segments(operator), ring)
    filters, kernel_rows, kernel_columns, channels = operator.weight_shape
    group_filters = filters // operator.groups
    program = _program(context, node, operator, min(row_width(group_filters), BIT_FILTERS))
    comparison = _integer_comparison(context, node, operator, program)
    if comparison is None:
        _rescale(program, operator, node)
        program.follow(node.name)
    rows, columns = operator.window.output_size(height, width)
    record = {
        **_geometry(source, operator.window, _is_merged(operator)),
        "taps": 1 if _is_merged(operator) else kernel_columns,
        **_binary_constants(context, operator, comparison, height, width),
        "rows": rows,
        "columns": columns,
        "groups": operator.groups,
        "group_filters": group_filters,
        "tiles": -(-group_filters // BIT_FILTERS),
        **(_packed_window(operator, source) if packs_windows(operator) else {}),
    }
    macs = rows * columns * filters * kernel_rows * kernel_columns * channels
    context.builder.add_step(
        "binary_conv2d",
        nodes=program.nodes,
        reads=[(name, source), *program.reads],
        writes=program.writes,
        records=[record],
        program=program.instructions,
        seconds=macs / BINARY_MACS_PER_SECOND,
    )


def _convolution_of_floats(context: Context, node: Node, operator: BinaryConv2d) -> None:
    """Binary weights and float activations."""
    source = context.floats(node.inputs[0])
    filters, kernel_rows, kernel_columns, channels = operator.weight_shape
    tiles = -(-(filters // operator.groups) // FLOAT_FILTERS)
    program = _program(context, node, operator, min(tiles * FLOAT_FILTERS, BLOCK_CHANNELS))
    _rescale(program, operator, node)
    program.follow(node.name)
    rows, columns = operator.window.output_size(source.layout.height, source.layout.width)
    record = {
        **_geometry(source, operator.window, _is_merged(operator)),
        **_sign_constants(context, operator),
        "rows": rows,
        "columns": columns,
        "taps": 1 if _is_merged(operator) else kernel_columns,
        "groups": operator.groups,
        "group_channels": channels,
        "group_filters": filters // operator.groups,
        "tiles": tiles,
    }
    macs = rows * columns * filters * kernel_rows * kernel_columns * channels
    context.builder.add_step(
        "binary_weight_conv2d",
        nodes=program.nodes,
        reads=[(node.inputs[0], source), *program.reads],
        writes=program.writes,
        records=[record],
        program=program.instructions,
        seconds=macs / FLOAT_MACS_PER_SECOND,
    )


def _program(context: Context, node: Node, operator: Conv2d | BinaryConv2d, width: int) -> Program:
    """The program behind a convolution whose kernel handles rows of `width` filters."""
    filters = operator.weight_shape[0] // operator.groups
    return Program(
        context,
        width,
        nodes=[node.name],
        packs_signs=operator.groups == 1 or filters % 8 == 0,
        repeats=operator.groups == 1 or filters % width == 0,
    )


def packs_windows(operator: BinaryConv2d) -> bool:
    """Whether the signs of a window take fewer words without the gaps between the taps."""
    taps, channels = math.prod(operator.window.kernel), operator.weight_shape[-1]
    words = words_for(taps * channels)
    return len(scale_runs(operator)) == 1 and words < taps and words <= PACKED_WORDS


def _packed_window(operator: BinaryConv2d, source: Value) -> dict[str, int]:
    """Where the taps lie that become one, and the loops over that one."""
    window, layout = operator.window, source.layout
    return {
        "tap_signs": operator.weight_shape[-1],
        "tap_rows": window.kernel[0],
        "tap_columns": window.kernel[1],
        "tap_row_step": window.dilation[0] * layout.row,
        "tap_column_step": window.dilation[1] * layout.pixel,
        "kernel_rows": 1,
        "row_step": 0,
        "taps": 1,
        "tap_step": 0,
    }


def _is_merged(operator: BinaryConv2d) -> bool:
    """Whether the words of a kernel row follow each other."""
    return operator.groups == len(scale_runs(operator)) == operator.window.dilation[1] == 1


def _geometry(source: Value, window: Window, merged: bool) -> dict[str, Any]:
    """Where windows lie: the first one begins above and left of the map by the padding."""
    layout = source.layout
    top, left, _, _ = window.padding
    return {
        **at("source", source, -top * layout.row - left * layout.pixel),
        "stride_row": window.stride[0] * layout.row,
        "stride_column": window.stride[1] * layout.pixel,
        "kernel_rows": window.kernel[0],
        "row_step": window.dilation[0] * layout.row,
        "tap_step": 0 if merged else window.dilation[1] * layout.pixel,
    }


def _rescale(program: Program, operator: BinaryConv2d, node: Node) -> None:
    """What follows the dot product, in the order of `BinaryConv2d.rescale`."""
    filters = operator.weight_shape[0]
    if operator.scale is not None and len(scale_runs(operator)) == 1:
        scales = operator.scale.by_filter(filters)[:, 0]
        program.multiply(scales, filters)
    if operator.activation_scale != 1.0:
        program.multiply(operator.activation_scale, filters)
    if len(node.inputs) == 2:
        program.multiply_pixel(node.inputs[1])
    if operator.bias is not None:
        program.vector(Opcode.ADD_VECTOR, operator.bias, filters)


def _integer_comparison(
    context: Context, node: Node, operator: BinaryConv2d, program: Program
) -> IntegerSign | None:
    """Fold all that follows into one comparison, if it ends in a sign and nothing else reads it."""
    if len(node.inputs) == 2 or len(scale_runs(operator)) > 1 or not program.packs_signs:
        return None
    chain: list[Node] = []
    last = node
    while last.name not in context.kept and len(context.readers[last.name]) == 1:
        (last,) = context.readers[last.name]
        if isinstance(last.operator, Sign):
            comparison = integer_sign(operator, chain, last.operator)
            if comparison is not None:
                program.nodes.extend(follower.name for follower in chain)
                program.sign(last)
            return comparison
        if not is_monotone(last):
            return None
        chain.append(last)
    return None


def _binary_constants(
    context: Context,
    operator: BinaryConv2d,
    comparison: IntegerSign | None,
    height: int,
    width: int,
) -> dict[str, int]:
    """Weights, dot products of full agreement, scales and limits, put among the constants."""
    add = context.builder.constants.add
    bits = operator.weight.bits()
    if comparison is not None:
        bits = bits ^ comparison.negated[:, None, None, None]
    runs, groups = scale_runs(operator), operator.groups
    window = operator.window
    padded = operator.pad_value != 1 and reach(window, height, width) != NO_RING
    borders = (Borders.of if padded else Borders.none)(window, height, width)
    bases = tile_by_filter(window_bases(operator, bits, runs, borders), groups, BIT_FILTERS)
    if packs_windows(operator):
        bits = bits.reshape(len(bits), 1, 1, -1)
        table = np.array([(group, words_for(bits.shape[-1]), 0) for group in range(groups)])
        weights = tile_binary_weights(bits, groups, [(0, bits.shape[-1])])
    else:
        table = _segment_table(operator, runs)
        weights = tile_binary_weights(bits, groups, runs)
    constants = {
        "weights": add(weights),
        "filter_words": weights.shape[2],
        "segments": len(runs),
        "segment_table": add(table.astype(np.int64)),
        "bases": add(bases),
        "classes": bases.shape[2],
        "row_classes": add(borders.rows),
        "column_classes": add(borders.columns),
        "column_class_count": borders.outside.shape[1],
        "scales": -1,
        "limits": -1,
    }
    if len(runs) > 1:
        constants["scales"] = add(_scales_by_run(operator, BIT_FILTERS))
    if comparison is not None:
        limits = tile_by_filter(comparison.limits, groups, BIT_FILTERS)
        limits[..., len(bits) // groups :] = np.iinfo(np.int32).min
        constants["limits"] = add(limits)
    return constants


def _segment_table(
    operator: BinaryConv2d, runs: list[tuple[int, int]]
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """For every group and run: its first word in a pixel, words to read at once, weight start."""
    table = []
    word = 0
    starts = np.cumsum([0, *filter_words(operator.window.kernel, runs)])
    for _ in range(operator.groups):
        for (first, end), start in zip(runs, starts, strict=False):
            length = words_for(end - first)
            merged = operator.window.kernel[1] if _is_merged(operator) else 1
            table.append((word, length * merged, start))
            word += length
    return np.array(table, np.int64)


def _sign_constants(context: Context, operator: BinaryConv2d) -> dict[str, int]:
    """Weights of one bit and the scales of partial sums, put among the constants."""
    add = context.builder.constants.add
    runs = scale_runs(operator)
    taps = operator.window.kernel[0] * operator.window.kernel[1]
    merged = operator.window.kernel[1] if _is_merged(operator) else 1
    table = [(first, (end - first) * merged, taps * first) for first, end in runs]
    partial = len(runs) > 1
    return {
        "weights": add(tile_sign_weights(operator.weight.bits(), operator.groups, runs)),
        "depth": taps * runs[-1][1],
        "runs": len(runs),
        "run_table": add(np.array(table, np.int64)),
        "scales": add(_scales_by_run(operator, FLOAT_FILTERS)) if partial else -1,
    }


def _scales_by_run(operator: BinaryConv2d, tile_filters: int) -> NDArray[np.float32]:
    """Scales of partial sums, (groups, runs, filters of all tiles)."""
    assert operator.scale is not None  # what else would part the sums
    scales = operator.scale.by_filter(operator.weight_shape[0]).T
    return tile_by_filter(np.ascontiguousarray(scales), operator.groups, tile_filters)
