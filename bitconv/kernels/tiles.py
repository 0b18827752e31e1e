"""The vector instructions that kernels are made of, callable from compiled code.

    xnor_tile, xnor_half_tile    differing bits of a tile of windows and filters
    fma_tile                     products of a tile of float windows and filters
    sign_tile                    the same with filters of one bit a weight
    pack_below, pack_not_above, pack_not_above_int32
                                 comparisons, stored as bits

Tiles are generated for Numba's target: how many pixels and filters they hold is in the constants.
Offsets and strides count elements, arrays are one-dimensional and contiguous, scalars int64.
Nothing checks bounds here: sizes are validated before a kernel runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from bitconv.kernels import table_counts
from bitconv.kernels.arithmetic import FusedMultiplyAdd, WordPopcount
from bitconv.kernels.byte_counts import BytePopcount
from bitconv.kernels.microkernel import I8, I64, Arithmetic, Operands, Tile, generate, load_vector
from bitconv.kernels.sign_products import SignProducts
from bitconv.kernels.table_counts import TableCounts
from bitconv.kernels.target import BIT_LANES, FLOAT_LANES, Popcount, numba_target, popcount

Scheme = Callable[[Tile], Arithmetic]


def bit_scheme(counting: Popcount, lanes: int) -> tuple[Tile, Scheme]:
    """The tile and the way of counting bits that do best on a target.

    Parameters
    ----------
    counting : how the target counts bits
    lanes : 64-bit lanes of a vector
    """
    match counting:
        case "words":
            return Tile(pixels=4, vectors=4, lanes=lanes), WordPopcount
        case "table":
            widest = max(table_counts.LOOKUP)
            return Tile(pixels=4, vectors=2, lanes=min(lanes * 8, widest)), TableCounts
        case "bytes":
            return Tile(pixels=4, vectors=4, lanes=lanes), BytePopcount
        case "arithmetic":  # shifts and masks need registers, too
            return Tile(pixels=2, vectors=4, lanes=lanes), BytePopcount


BIT_TILE, BIT_SCHEME = bit_scheme(popcount(), BIT_LANES)
BIT_PIXELS = BIT_TILE.pixels
BIT_FILTERS = BIT_TILE.filters

FLOAT_TILE = Tile(pixels=6, vectors=numba_target().vector_registers // 8, lanes=FLOAT_LANES)
FLOAT_PIXELS = FLOAT_TILE.pixels
FLOAT_FILTERS = FLOAT_TILE.filters

# Fewer sums than in FLOAT_TILE: the bits and what they become need registers, too. The more pixels
# to a vector, the fewer bits to turn into floats.
SIGN_TILE = Tile(pixels=numba_target().vector_registers // 16 * 5, vectors=2, lanes=FLOAT_LANES)
SIGN_PIXELS = SIGN_TILE.pixels
SIGN_FILTERS = SIGN_TILE.filters


def arrange_weights(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Bring packed filters into the order of bits that `xnor_tile` reads.

    Parameters
    ----------
    words : uint64 array of any shape with BIT_FILTERS adjacent filters innermost

    Returns
    -------
    uint64 array of the same shape
    """
    if BIT_SCHEME is TableCounts:
        return table_counts.arrange_weights(words, BIT_TILE)
    return words


def instruction(define: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function of Numba types, to signature and code generator, callable in kernels."""
    made: Callable[..., Any] = intrinsic(define)
    return made


def signature_of(*arguments: Any) -> Any:
    """A signature without a result: arrays as they are, every scalar as int64."""
    return types.void(
        *(argument if isinstance(argument, types.Array) else types.int64 for argument in arguments)
    )


@instruction
def xnor_tile(
    _context: Any,
    activations: Any,
    pixel_offsets: Any,
    weights: Any,
    weight_offset: Any,
    rows: Any,
    row_stride: Any,
    taps: Any,
    tap_stride: Any,
    length: Any,
    counts: Any,
    count_offset: Any,
) -> Any:
    """Count the differing bits of BIT_PIXELS windows and BIT_FILTERS filters.

    ``counts[count_offset + m * BIT_FILTERS + f]`` becomes the sum over r < rows, t < taps and
    k < length of the bits in which these words differ:

        activations[pixel_offsets[m] + r * row_stride + t * tap_stride + k]
        weights[weight_offset + ((r * taps + t) * length + k) * BIT_FILTERS + f]

    Parameters
    ----------
    activations : uint64 array
    pixel_offsets : int64 array of at least BIT_PIXELS
        Word at which the window of each pixel starts.
    weights : uint64 array, as `arrange_weights` returned it
    counts : int32 array
    """
    signature = signature_of(
        activations,
        pixel_offsets,
        weights,
        weight_offset,
        rows,
        row_stride,
        taps,
        tap_stride,
        length,
        counts,
        count_offset,
    )
    return signature, tile_codegen(BIT_TILE, BIT_SCHEME)


@instruction
def xnor_half_tile(
    _context: Any,
    activations: Any,
    pixel_offsets: Any,
    weights: Any,
    weight_offset: Any,
    rows: Any,
    row_stride: Any,
    taps: Any,
    tap_stride: Any,
    length: Any,
    counts: Any,
    count_offset: Any,
) -> Any:
    """The first half of the filters of `xnor_tile`; the counts of the others stay as they are.

    For layers whose last tile has no more than BIT_FILTERS // 2 filters.
    """
    signature = signature_of(
        activations,
        pixel_offsets,
        weights,
        weight_offset,
        rows,
        row_stride,
        taps,
        tap_stride,
        length,
        counts,
        count_offset,
    )
    return signature, tile_codegen(BIT_TILE.half(), BIT_SCHEME)


@instruction
def fma_tile(
    _context: Any,
    activations: Any,
    pixel_offsets: Any,
    weights: Any,
    weight_offset: Any,
    rows: Any,
    row_stride: Any,
    taps: Any,
    tap_stride: Any,
    length: Any,
    sums: Any,
    sum_offset: Any,
) -> Any:
    """Sum the products of FLOAT_PIXELS windows and FLOAT_FILTERS filters.

    As `xnor_tile`, with the products of float32 values in place of differing bits. Every sum starts
    from zero and adds one product after the other, in order, fused where the target can.
    """
    signature = signature_of(
        activations,
        pixel_offsets,
        weights,
        weight_offset,
        rows,
        row_stride,
        taps,
        tap_stride,
        length,
        sums,
        sum_offset,
    )
    return signature, tile_codegen(FLOAT_TILE, FusedMultiplyAdd)


@instruction
def sign_tile(
    _context: Any,
    activations: Any,
    pixel_offsets: Any,
    weights: Any,
    weight_offset: Any,
    rows: Any,
    row_stride: Any,
    taps: Any,
    tap_stride: Any,
    length: Any,
    sums: Any,
    sum_offset: Any,
) -> Any:
    """As `fma_tile`, for SIGN_PIXELS windows and SIGN_FILTERS filters of weights −1 and +1.

    With i = (r * taps + t) * length + k, the weight is −1 where bit ``31 - i % 32`` is set in
    ``weights[weight_offset + i // 32 * SIGN_FILTERS + f]``, a uint32 array.
    """
    signature = signature_of(
        activations,
        pixel_offsets,
        weights,
        weight_offset,
        rows,
        row_stride,
        taps,
        tap_stride,
        length,
        sums,
        sum_offset,
    )
    return signature, tile_codegen(SIGN_TILE, SignProducts)


@instruction
def pack_below(
    _context: Any,
    values: Any,
    value_offset: Any,
    thresholds: Any,
    threshold_offset: Any,
    count: Any,
    bits: Any,
    byte_offset: Any,
) -> Any:
    """Store which values are less than their thresholds as bits.

    Bit j of ``bits[byte_offset + i]`` becomes ``values[value_offset + 8 * i + j] <
    thresholds[threshold_offset + 8 * i + j]``; a comparison with NaN is false.

    Parameters
    ----------
    values, thresholds : float32 arrays
    count : a multiple of 8
    bits : uint8 array
    """
    signature = signature_of(
        values, value_offset, thresholds, threshold_offset, count, bits, byte_offset
    )
    return signature, pack_codegen(lambda builder, *pair: builder.fcmp_ordered("<", *pair))


@instruction
def pack_not_above(
    _context: Any,
    values: Any,
    value_offset: Any,
    thresholds: Any,
    threshold_offset: Any,
    count: Any,
    bits: Any,
    byte_offset: Any,
) -> Any:
    """As `pack_below`, with ``<=``."""
    signature = signature_of(
        values, value_offset, thresholds, threshold_offset, count, bits, byte_offset
    )
    return signature, pack_codegen(lambda builder, *pair: builder.fcmp_ordered("<=", *pair))


@instruction
def pack_not_above_int32(
    _context: Any,
    values: Any,
    value_offset: Any,
    limits: Any,
    limit_offset: Any,
    count: Any,
    bits: Any,
    byte_offset: Any,
) -> Any:
    """As `pack_below`, with ``<=`` of int32 arrays."""
    signature = signature_of(values, value_offset, limits, limit_offset, count, bits, byte_offset)
    return signature, pack_codegen(lambda builder, *pair: builder.icmp_signed("<=", *pair))


def tile_codegen(tile: Tile, scheme: Scheme) -> Callable[..., Any]:
    """Code generator of an instruction with the arguments of `xnor_tile`."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        (
            activations,
            pixel_offsets,
            weights,
            weight_offset,
            rows,
            row_stride,
            taps,
            tap_stride,
            length,
            sums,
            sum_offset,
        ) = _element_pointers(context, builder, signature, arguments)
        operands = Operands(
            activations,
            pixel_offsets,
            builder.gep(weights, [weight_offset]),
            rows,
            row_stride,
            taps,
            tap_stride,
            length,
            builder.gep(sums, [sum_offset]),
        )
        generate(builder, tile, scheme(tile), operands)
        return context.get_dummy_value()

    return codegen


def pack_codegen(compare: Callable[..., ir.Value]) -> Callable[..., Any]:
    """Code generator of an instruction with the arguments of `pack_below`."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        values, value_offset, thresholds, threshold_offset, count, bits, byte_offset = (
            _element_pointers(context, builder, signature, arguments)
        )
        left = builder.gep(values, [value_offset])
        right = builder.gep(thresholds, [threshold_offset])
        octets = builder.gep(bits, [byte_offset])
        eight = ir.VectorType(left.type.pointee, 8)
        with cgutils.for_range(builder, builder.ashr(count, I64(3))) as octet:
            at = builder.shl(octet.index, I64(3))
            outcome = compare(
                builder,
                load_vector(builder, eight, builder.gep(left, [at])),
                load_vector(builder, eight, builder.gep(right, [at])),
            )
            builder.store(builder.bitcast(outcome, I8), builder.gep(octets, [octet.index]))
        return context.get_dummy_value()

    return codegen


def _element_pointers(
    context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any
) -> list[ir.Value]:
    """The arguments, with pointers to their first elements in place of arrays."""
    return [
        context.make_array(kind)(context, builder, value).data
        if isinstance(kind, types.Array)
        else value
        for kind, value in zip(signature.args, arguments, strict=True)
    ]
