"""Counting differing bits in bytes, for targets that cannot count the bits of 64-bit lanes.

A byte has room for the counts of a few words only, so now and then the bytes are emptied into wider
sums. That costs far less than to widen every count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from bitconv.kernels.microkernel import (
    I8,
    I16,
    I32,
    I64,
    Tile,
    accumulators,
    add_to,
    broadcast,
    call_llvm,
    constant,
    load_vector,
    store_vector,
    weight_row,
)

LARGEST_BYTE = 2**8 - 1


class ByteCounts:
    """Counts in bytes that are emptied before they can overflow."""

    capacity: int
    """Words whose counts fit into the bytes."""

    def __init__(self, tile: Tile) -> None:
        self.tile = tile

    def begin(self, builder: ir.IRBuilder, sums: Sequence[ir.Value]) -> None:
        """Clear the sums in memory; a subclass adds its accumulators."""
        self.sums = sums
        self.held = cgutils.alloca_once_value(builder, I64(0))
        zero = constant(ir.VectorType(I32, self.tile.lanes), 0)
        for row in sums:
            for column in self.tile.columns:
                store_vector(builder, zero, row, column)

    def add_run(
        self,
        builder: ir.IRBuilder,
        windows: Sequence[ir.Value],
        start: ir.Value,
        weights: ir.Value,
        first: ir.Value,
        length: ir.Value,
    ) -> None:
        """Add as many words at a time as the bytes have room for."""
        run_weights = weight_row(builder, self.tile, weights, first)
        with _while_below(builder, length) as done:
            before = builder.load(done)
            left = builder.sub(length, before)
            room = builder.sub(I64(self.capacity), builder.load(self.held))
            words = builder.select(builder.icmp_signed("<", left, room), left, room)
            self.add_words(
                builder,
                [builder.gep(window, [builder.add(start, before)]) for window in windows],
                weight_row(builder, self.tile, run_weights, before),
                words,
            )
            add_to(builder, done, words)
            add_to(builder, self.held, words)
            full = builder.icmp_signed("==", builder.load(self.held), I64(self.capacity))
            with builder.if_then(full):
                builder.store(I64(0), self.held)
                self.empty(builder)

    def end(self, builder: ir.IRBuilder) -> None:
        """Empty the bytes for the last time."""
        self.empty(builder)

    def add_words(
        self,
        builder: ir.IRBuilder,
        activations: Sequence[ir.Value],
        weights: ir.Value,
        words: ir.Value,
    ) -> None:
        """Add `words` adjacent words of each pixel to the bytes."""
        raise NotImplementedError

    def empty(self, builder: ir.IRBuilder) -> None:
        """Move the counts from the bytes to wider sums."""
        raise NotImplementedError


class BytePopcount(ByteCounts):
    """XOR, then a population count of bytes; the eight bytes of a lane belong to one filter."""

    capacity = LARGEST_BYTE // 8

    def __init__(self, tile: Tile) -> None:
        super().__init__(tile)
        self.words = ir.VectorType(I64, tile.lanes)
        self.bytes = ir.VectorType(I8, tile.lanes * 8)

    def begin(self, builder: ir.IRBuilder, sums: Sequence[ir.Value]) -> None:
        super().begin(builder, sums)
        self.cells = accumulators(builder, self.tile, self.bytes)

    def add_words(
        self,
        builder: ir.IRBuilder,
        activations: Sequence[ir.Value],
        weights: ir.Value,
        words: ir.Value,
    ) -> None:
        popcount = f"llvm.ctpop.v{self.bytes.count}i8"
        with cgutils.for_range(builder, words) as k:
            row = builder.gep(weights, [builder.mul(k.index, I64(self.tile.filters))])
            filters = [
                load_vector(builder, self.words, row, column) for column in self.tile.columns
            ]
            for run, cells in zip(activations, self.cells, strict=True):
                word = builder.load(builder.gep(run, [k.index]))
                lanes = broadcast(builder, word, self.tile.lanes)
                for cell, weight in zip(cells, filters, strict=True):
                    difference = builder.bitcast(builder.xor(lanes, weight), self.bytes)
                    add_to(builder, cell, call_llvm(builder, popcount, self.bytes, difference))

    def empty(self, builder: ir.IRBuilder) -> None:
        counts = ir.VectorType(I32, self.tile.lanes)
        for row, cells in zip(self.sums, self.cells, strict=True):
            for column, cell in zip(self.tile.columns, cells, strict=True):
                total = builder.load(cell)
                for element in (I16, I32, I64):
                    total = _add_neighbours(builder, total, element)
                at = builder.gep(row, [I64(column)])
                before = load_vector(builder, counts, at)
                store_vector(builder, builder.add(before, builder.trunc(total, counts)), at)
                builder.store(constant(self.bytes, 0), cell)


def split_lanes(builder: ir.IRBuilder, vector: ir.Value, wider: ir.IntType) -> tuple[Any, Any]:
    """The even and the odd lanes of a vector, as lanes of twice the width."""
    width = wider.width // 2
    whole = ir.VectorType(wider, vector.type.count // 2)
    pairs = builder.bitcast(vector, whole)
    even = builder.and_(pairs, constant(whole, 2**width - 1))
    return even, builder.lshr(pairs, constant(whole, width))


def _add_neighbours(builder: ir.IRBuilder, vector: ir.Value, wider: ir.IntType) -> ir.Value:
    return builder.add(*split_lanes(builder, vector, wider))


@contextmanager
def _while_below(builder: ir.IRBuilder, limit: ir.Value) -> Iterator[ir.Value]:
    """Repeat the body, which advances the yielded counter from zero, until it reaches `limit`."""
    counter = cgutils.alloca_once_value(builder, I64(0))
    head = builder.append_basic_block("while")
    body = builder.append_basic_block("while.body")
    after = builder.append_basic_block("while.end")
    builder.branch(head)
    builder.position_at_end(head)
    builder.cbranch(builder.icmp_signed("<", builder.load(counter), limit), body, after)
    builder.position_at_end(body)
    yield counter
    builder.branch(head)
    builder.position_at_end(after)
