"""The vector instructions that kernels are made of, callable from compiled code.

    xnor_tile, xnor_half_tile    differing bits of a tile of windows and filters
    fma_tile, more_fma_tile      products of a tile of float windows and filters
    expand_signs                 filters of one bit a weight as floats

Tiles are generated for Numba's target: how many pixels and filters they hold says `tile_shapes`.
Offsets and strides count elements, arrays are one-dimensional and contiguous, scalars int64.
Nothing checks bounds here: sizes are validated before a kernel runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from bitconv.kernels.arithmetic import FusedMultiplyAdd, MoreProducts, WordPopcount
from bitconv.kernels.byte_counts import BytePopcount
from bitconv.kernels.instructions import element_pointers, instruction, signature_of
from bitconv.kernels.microkernel import Arithmetic, Operands, generate
from bitconv.kernels.sign_weights import expanding_instruction
from bitconv.kernels.table_counts import TableCounts
from bitconv.kernels.target import Popcount, popcount
from bitconv.kernels.tile_shapes import BIT_TILE, FLOAT_TILE, Tile

Scheme = Callable[[Tile], Arithmetic]


def bit_scheme(counting: Popcount) -> Scheme:
    """The way of counting bits that does best on a target."""
    schemes: dict[Popcount, Scheme] = {"words": WordPopcount, "table": TableCounts}
    return schemes.get(counting, BytePopcount)


BIT_SCHEME = bit_scheme(popcount())


def tile_instruction(tile: Tile, scheme: Scheme) -> Callable[..., Any]:
    """The instruction that computes a tile.

    It takes ``(activations, pixel_offsets, weights, weight_offset, rows, row_stride, taps,
    tap_stride, length, sums, sum_offset, sum_step)``. For every pixel m and filter f of the tile,
    ``sums[sum_offset + m * sum_step + f]`` becomes the sum over r < rows, t < taps and
    k < length of what the scheme makes of

        activations[pixel_offsets[m] + r * row_stride + t * tap_stride + k]
        weights[weight_offset + ((r * taps + t) * length + k) * tile.filters + f]
    """

    def define(
        _context: Any, activations: Any, pixel_offsets: Any, weights: Any, weight_offset: Any,
        rows: Any, row_stride: Any, taps: Any, tap_stride: Any, length: Any,
        sums: Any, sum_offset: Any, sum_step: Any,
    ) -> Any:  # fmt: skip
        signature = signature_of(
            activations, pixel_offsets, weights, weight_offset,
            rows, row_stride, taps, tap_stride, length,
            sums, sum_offset, sum_step,
        )  # fmt: skip
        return signature, codegen

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        pointers = element_pointers(context, builder, signature, arguments)
        activations, pixel_offsets, weights, weight_offset, *loops, sums, sum_offset, sum_step = (
            pointers
        )
        rows, row_stride, taps, tap_stride, length = loops
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
            sum_step,
        )
        generate(builder, tile, scheme(tile), operands)
        return context.get_dummy_value()

    return instruction(define)


# Differing bits of uint64 words, counted in int32; the weights as `arrange_weights` returns them.
xnor_tile = tile_instruction(BIT_TILE, BIT_SCHEME)

# The same for a last tile of at most BIT_FILTERS // 2 filters; the other counts stay as they are.
xnor_half_tile = tile_instruction(BIT_TILE.half(), BIT_SCHEME)

# Products of float32. Every sum starts from zero and adds one product after the other, in order,
# fused where the target can.
fma_tile = tile_instruction(FLOAT_TILE, FusedMultiplyAdd)

# The same, added to what the sums are before.
more_fma_tile = tile_instruction(FLOAT_TILE, MoreProducts)

# Weights −1 and +1 for both, made of bits.
expand_signs = expanding_instruction(FLOAT_TILE)
