"""The vector instructions that kernels are made of, callable from compiled code.

    xnor_tile, xnor_half_tile    differing bits of a tile of windows and filters
    fma_tile                     products of a tile of float windows and filters
    sign_tile                    the same with filters of one bit a weight

Tiles are generated for Numba's target: how many pixels and filters they hold is in the constants.
Offsets and strides count elements, arrays are one-dimensional and contiguous, scalars int64.
Nothing checks bounds here: sizes are validated before a kernel runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from bitconv.kernels import table_counts
from bitconv.kernels.arithmetic import FusedMultiplyAdd, WordPopcount
from bitconv.kernels.byte_counts import BytePopcount
from bitconv.kernels.instructions import element_pointers, instruction, signature_of
from bitconv.kernels.microkernel import Arithmetic, Operands, Tile, generate
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
        ) = element_pointers(context, builder, signature, arguments)
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
