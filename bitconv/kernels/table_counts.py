"""Counting differing bits by table, where the best instruction looks bytes up in a table of 16.

For four bits of an activation, a table of 16 bytes holds how many bits differ from each value of
four bits of a weight. So one lookup finishes four bits of as many filters as a vector has bytes,
without XOR, masks and shifts: on AVX2 half as fast again as XOR and a population count.

    activations       word of a pixel → 16 nibbles → for each, its row of the table in every vector
    weights           one vector a nibble, a byte a filter: an index into the row

The weights keep two nibbles in a byte, so `arrange_weights` brings them into another order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numpy.typing import NDArray

from bitconv.kernels.byte_counts import LARGEST_BYTE, ByteCounts, split_lanes
from bitconv.kernels.microkernel import (
    I8,
    I16,
    I32,
    I64,
    Tile,
    accumulators,
    add_to,
    call_llvm,
    constant,
    load_vector,
    store_vector,
)

NIBBLES = 16  # of a word, and as many values has a nibble
LOOKUP = {16: "llvm.x86.ssse3.pshuf.b.128", 32: "llvm.x86.avx2.pshuf.b"}
DIFFERING_BITS = [bytes((a ^ b).bit_count() for b in range(NIBBLES)) for a in range(NIBBLES)]


def arrange_weights(words: NDArray[np.uint64], tile: Tile) -> NDArray[np.uint64]:
    """Reorder the bits of packed filters for `TableCounts`.

    Parameters
    ----------
    words : uint64 array of any shape with `tile.filters` adjacent filters innermost
    tile : Tile of two vectors

    Returns
    -------
    uint64 array of the same shape
        For each nibble of the words a vector of bytes. Its low nibbles belong to the first half of
        the filters, its high ones to the second; byte 2i to filter i of the half, byte 2i + 1 to
        filter i + lanes/2, so that the even and the odd bytes are adjacent filters.
    """
    octets = np.ascontiguousarray(words).view(np.uint8)
    nibbles = np.stack([octets & 15, octets >> 4], axis=-1).reshape(-1, 2, 2, tile.lanes // 2, 16)
    rows = nibbles.transpose(0, 4, 1, 3, 2).reshape(-1, NIBBLES, 2, tile.lanes)
    packed: NDArray[np.uint8] = rows[:, :, 0] | rows[:, :, 1] << 4
    return packed.reshape(-1).view(np.uint64).reshape(words.shape)


class TableCounts(ByteCounts):
    """One table lookup and one addition of bytes for every four bits of activation.

    The bytes are emptied into 16-bit lanes, and those, long after, into the sums in memory.
    """

    capacity = LARGEST_BYTE // 64
    half_capacity = (2**16 - 1) // LARGEST_BYTE

    def __init__(self, tile: Tile) -> None:
        super().__init__(tile)
        self.bytes = ir.VectorType(I8, tile.lanes)
        self.halves = ir.VectorType(I16, tile.lanes // 2)

    def begin(self, builder: ir.IRBuilder, sums: Sequence[ir.Value]) -> None:
        super().begin(builder, sums)
        self.cells = accumulators(builder, self.tile, self.bytes)
        self.table = self._constant_table(builder)
        self.rows = [
            _bytes_on_stack(builder, self.capacity * NIBBLES) for _ in range(self.tile.pixels)
        ]
        self.emptied = cgutils.alloca_once_value(builder, I64(0))
        cells = ir.ArrayType(self.halves, 2 * self.tile.vectors * self.tile.pixels)
        self.wide = cgutils.alloca_once_value(builder, ir.Constant(cells, None))

    def add_words(
        self,
        builder: ir.IRBuilder,
        activations: Sequence[ir.Value],
        weights: ir.Value,
        words: ir.Value,
    ) -> None:
        with cgutils.for_range(builder, words) as k:
            at = builder.mul(k.index, I64(NIBBLES))
            for run, rows in zip(activations, self.rows, strict=True):
                self._store_rows(builder, builder.gep(run, [k.index]), builder.gep(rows, [at]))
        indices = builder.bitcast(weights, I8.as_pointer())
        with cgutils.for_range(builder, builder.mul(words, I64(NIBBLES))) as nibble:
            at = builder.mul(nibble.index, I64(self.tile.lanes))
            filters = self._load_indices(builder, builder.gep(indices, [at]))
            for rows, cells in zip(self.rows, self.cells, strict=True):
                row = self._load_row(builder, builder.gep(rows, [nibble.index]))
                for cell, index in zip(cells, filters, strict=False):
                    lookup = LOOKUP[self.tile.lanes]
                    add_to(builder, cell, call_llvm(builder, lookup, self.bytes, row, index))

    def empty(self, builder: ir.IRBuilder) -> None:
        _keep_in_memory(builder, self.wide)
        for (cell, _), halves in zip(self._cells(builder), self._wide(builder), strict=True):
            split = split_lanes(builder, builder.load(cell), I16)
            for half, counts in zip(halves, split, strict=True):
                add_to(builder, half, counts)
            builder.store(constant(self.bytes, 0), cell)
        add_to(builder, self.emptied, I64(1))
        full = builder.icmp_signed("==", builder.load(self.emptied), I64(self.half_capacity))
        with builder.if_then(full):
            builder.store(I64(0), self.emptied)
            self._empty_halves(builder)

    def end(self, builder: ir.IRBuilder) -> None:
        with builder.if_then(builder.icmp_signed("!=", builder.load(self.held), I64(0))):
            self.empty(builder)
        self._empty_halves(builder)

    def _empty_halves(self, builder: ir.IRBuilder) -> None:
        counts = ir.VectorType(I32, self.halves.count)
        for (_, sums), halves in zip(self._cells(builder), self._wide(builder), strict=True):
            for odd, half in enumerate(halves):
                at = builder.gep(sums, [I64(odd * counts.count)])
                wide = builder.zext(builder.load(half), counts)
                store_vector(builder, builder.add(load_vector(builder, counts, at), wide), at)
                builder.store(constant(self.halves, 0), half)

    def _cells(self, builder: ir.IRBuilder) -> Iterator[tuple[ir.Value, ir.Value]]:
        """Every accumulator with the place of its first filter's sum."""
        for sums, cells in zip(self.sums, self.cells, strict=True):
            for column, cell in zip(self.tile.columns, cells, strict=True):
                yield cell, builder.gep(sums, [I64(column)])

    def _wide(self, builder: ir.IRBuilder) -> Iterator[tuple[ir.Value, ir.Value]]:
        """The 16-bit sums of every accumulator's even and odd bytes."""
        for index in range(len(self.cells) * len(self.tile.columns)):
            yield tuple(builder.gep(self.wide, [I32(0), I32(2 * index + odd)]) for odd in (0, 1))

    def _constant_table(self, builder: ir.IRBuilder) -> ir.Value:
        """The table, each row as often as it fits into a vector."""
        copies = self.tile.lanes // NIBBLES
        values = bytearray(b"".join(row * copies for row in DIFFERING_BITS))
        table = cgutils.global_constant(
            builder, "differing_bits", ir.Constant(ir.ArrayType(I8, len(values)), values)
        )
        table.align = self.tile.lanes
        return builder.bitcast(table, I8.as_pointer())

    def _store_rows(self, builder: ir.IRBuilder, word: ir.Value, rows: ir.Value) -> None:
        """Store the offsets in the table of the rows for a word's nibbles, lowest first."""
        eight = ir.VectorType(I8, NIBBLES // 2)
        octets = load_vector(builder, eight, word)
        low = builder.shl(octets, constant(eight, 4))
        high = builder.and_(octets, constant(eight, 0xF0))
        order = [index for pair in zip(range(8), range(8, 16), strict=True) for index in pair]
        in_order = ir.Constant(ir.VectorType(I32, NIBBLES), order)
        store_vector(builder, builder.shuffle_vector(low, high, in_order), rows)

    def _load_row(self, builder: ir.IRBuilder, row: ir.Value) -> ir.Value:
        """The row of the table at a stored offset."""
        copies = self.tile.lanes // NIBBLES
        offset = builder.mul(builder.zext(builder.load(row), I64), I64(copies))
        return load_vector(builder, self.bytes, builder.gep(self.table, [offset]))

    def _load_indices(self, builder: ir.IRBuilder, packed: ir.Value) -> list[ir.Value]:
        """One nibble of all filters, as indices into a row: the first half, then the second."""
        both = load_vector(builder, self.bytes, packed)
        nibble = constant(self.bytes, 15)
        shifted = builder.lshr(builder.bitcast(both, self.halves), constant(self.halves, 4))
        return [
            builder.and_(both, nibble),
            builder.and_(builder.bitcast(shifted, self.bytes), nibble),
        ]


def _keep_in_memory(builder: ir.IRBuilder, pointer: ir.Value) -> None:
    """Keep LLVM from holding in registers what `pointer` points to.

    The registers belong to the inner loop; without this, it would move these sums about as well.
    """
    nothing = ir.FunctionType(ir.VoidType(), [pointer.type])
    builder.asm(nothing, "", "r,~{memory}", [pointer], side_effect=True)


def _bytes_on_stack(builder: ir.IRBuilder, count: int) -> ir.Value:
    return builder.bitcast(cgutils.alloca_once(builder, ir.ArrayType(I8, count)), I8.as_pointer())
