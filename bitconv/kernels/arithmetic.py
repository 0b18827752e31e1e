"""What the micro-kernel computes where one register lane holds one sum."""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir
from numba.core import cgutils

from bitconv.kernels.microkernel import (
    FLOAT,
    I32,
    I64,
    Tile,
    accumulators,
    add_to,
    broadcast,
    call_llvm,
    load_vector,
    store_vector,
    weight_row,
)


class LaneSums:
    """Sums of products of which each has a lane of its own."""

    element: ir.Type

    def __init__(self, tile: Tile) -> None:
        self.tile = tile
        self.vector = ir.VectorType(self.element, tile.lanes)

    def begin(self, builder: ir.IRBuilder, sums: Sequence[ir.Value]) -> None:
        self.sums = sums
        self.cells = accumulators(builder, self.tile, self.vector)

    def add_run(
        self,
        builder: ir.IRBuilder,
        windows: Sequence[ir.Value],
        start: ir.Value,
        weights: ir.Value,
        first: ir.Value,
        length: ir.Value,
    ) -> None:
        # The loop counts from `start`: the windows themselves then stay in registers, and no
        # pointer has to be set for a run, which may be short.
        run_weights = weight_row(builder, self.tile, weights, builder.sub(first, start))
        end = builder.add(start, length)
        with cgutils.for_range_slice(builder, start, end, I64(1)) as (k, _):
            row = weight_row(builder, self.tile, run_weights, k)
            filters = [
                load_vector(builder, self.vector, row, column) for column in self.tile.columns
            ]
            for window, cells in zip(windows, self.cells, strict=True):
                activation = builder.load(builder.gep(window, [k]))
                lanes = broadcast(builder, activation, self.tile.lanes)
                for cell, weight in zip(cells, filters, strict=True):
                    self.add_product(builder, cell, lanes, weight)

    def end(self, builder: ir.IRBuilder) -> None:
        for sums, cells in zip(self.sums, self.cells, strict=True):
            for column, cell in zip(self.tile.columns, cells, strict=True):
                store_vector(builder, self.result(builder, builder.load(cell)), sums, column)

    def add_product(
        self, builder: ir.IRBuilder, cell: ir.Value, activation: ir.Value, weight: ir.Value
    ) -> None:
        """Add the products of two vectors to an accumulator."""
        raise NotImplementedError

    def result(self, builder: ir.IRBuilder, total: ir.Value) -> ir.Value:
        """The vector to store for an accumulator's value."""
        raise NotImplementedError


class WordPopcount(LaneSums):
    """Differing bits of words, for targets that count the bits of 64-bit lanes."""

    element = I64

    def add_product(
        self, builder: ir.IRBuilder, cell: ir.Value, activation: ir.Value, weight: ir.Value
    ) -> None:
        difference = builder.xor(activation, weight)
        popcount = f"llvm.ctpop.v{self.tile.lanes}i64"
        add_to(builder, cell, call_llvm(builder, popcount, self.vector, difference))

    def result(self, builder: ir.IRBuilder, total: ir.Value) -> ir.Value:
        return builder.trunc(total, ir.VectorType(I32, self.tile.lanes))


class FusedMultiplyAdd(LaneSums):
    """Products of floats, fused with the addition where the target can."""

    element = FLOAT

    def add_product(
        self, builder: ir.IRBuilder, cell: ir.Value, activation: ir.Value, weight: ir.Value
    ) -> None:
        fma = f"llvm.fmuladd.v{self.tile.lanes}f32"
        total = builder.load(cell)
        builder.store(call_llvm(builder, fma, self.vector, activation, weight, total), cell)

    def result(self, _builder: ir.IRBuilder, total: ir.Value) -> ir.Value:
        return total


class MoreProducts(FusedMultiplyAdd):
    """The same, on top of the sums that are stored already."""

    def begin(self, builder: ir.IRBuilder, sums: Sequence[ir.Value]) -> None:
        super().begin(builder, sums)
        for row, cells in zip(sums, self.cells, strict=True):
            for column, cell in zip(self.tile.columns, cells, strict=True):
                builder.store(load_vector(builder, self.vector, row, column), cell)
