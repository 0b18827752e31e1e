"""Products of floats with weights of one bit, which become −1 and +1 in registers.

    bit of a weight → sign bit of 1.0 → fused multiply-add

Every sum adds the same products in the same order as `FusedMultiplyAdd` does with float weights −1
and +1, so the two are equal bit for bit, but the weights take a 32nd of the memory.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir
from numba.core import cgutils

from bitconv.kernels.arithmetic import FusedMultiplyAdd
from bitconv.kernels.microkernel import (
    I32,
    I64,
    broadcast,
    constant,
    load_vector,
    weight_row,
)
from bitconv.kernels.tile_shapes import WORD_STEPS, Tile

UNROLLED = 16  # steps from branch to branch; of 1 to 32 the fastest on AVX2, by a tenth over 1
_STEPS_LOG = WORD_STEPS.bit_length() - 1
_SIGN_BIT = 1 << 31
_ONE = 0x3F800000  # 1.0


class SignProducts(FusedMultiplyAdd):
    """A vector of words holds the next weights of its filters, shifted left step by step.

    The bits of a filter follow each other without gaps from run to run, so a run may start and end
    within a word.
    """

    def __init__(self, tile: Tile) -> None:
        super().__init__(tile)
        self.words = ir.VectorType(I32, tile.lanes)

    def add_run(
        self,
        builder: ir.IRBuilder,
        activations: Sequence[ir.Value],
        weights: ir.Value,
        first: ir.Value,
        length: ir.Value,
    ) -> None:
        """`weights` is a word a filter for every WORD_STEPS weights of the window."""
        end = builder.add(first, length)
        words_end = builder.ashr(builder.add(end, I64(WORD_STEPS - 1)), I64(_STEPS_LOG))
        words = builder.ashr(first, I64(_STEPS_LOG))
        with cgutils.for_range_slice(builder, words, words_end, I64(1)) as (word, _):
            word_first = builder.shl(word, I64(_STEPS_LOG))
            start = _larger(builder, word_first, first)
            stop = _smaller(builder, builder.add(word_first, I64(WORD_STEPS)), end)
            row = weight_row(builder, self.tile, weights, word)
            coming = self._load(builder, row, builder.sub(start, word_first))
            k_start, k_stop = builder.sub(start, first), builder.sub(stop, first)
            unrolled = builder.and_(builder.sub(k_stop, k_start), I64(-UNROLLED))
            k_rest = builder.add(k_start, unrolled)
            with cgutils.for_range_slice(builder, k_start, k_rest, I64(UNROLLED)) as (k, _):
                for step in range(UNROLLED):
                    self._step(builder, activations, builder.add(k, I64(step)), coming)
            with cgutils.for_range_slice(builder, k_rest, k_stop, I64(1)) as (k, _):
                self._step(builder, activations, k, coming)

    def _load(self, builder: ir.IRBuilder, row: ir.Value, used: ir.Value) -> list[ir.Value]:
        """Cells with the words of all filters, their first `used` bits shifted out."""
        shift = broadcast(builder, builder.trunc(used, I32), self.tile.lanes)
        cells = []
        for column in self.tile.columns:
            cell = cgutils.alloca_once(builder, self.words)
            builder.store(builder.shl(load_vector(builder, self.words, row, column), shift), cell)
            cells.append(cell)
        return cells

    def _step(
        self,
        builder: ir.IRBuilder,
        activations: Sequence[ir.Value],
        k: ir.Value,
        coming: Sequence[ir.Value],
    ) -> None:
        """Add activation k of each pixel times the next weight of every filter."""
        filters = [self._next(builder, cell) for cell in coming]
        self.add_products(builder, activations, k, filters)

    def _next(self, builder: ir.IRBuilder, cell: ir.Value) -> ir.Value:
        """The next weight of every filter as a float, and its bit shifted out."""
        words = builder.load(cell)
        builder.store(builder.shl(words, constant(self.words, 1)), cell)
        sign = builder.and_(words, constant(self.words, _SIGN_BIT))
        return builder.bitcast(builder.or_(sign, constant(self.words, _ONE)), self.vector)


def _larger(builder: ir.IRBuilder, left: ir.Value, right: ir.Value) -> ir.Value:
    return builder.select(builder.icmp_signed(">", left, right), left, right)


def _smaller(builder: ir.IRBuilder, left: ir.Value, right: ir.Value) -> ir.Value:
    return builder.select(builder.icmp_signed("<", left, right), left, right)
