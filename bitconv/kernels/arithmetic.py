"""What the micro-kernel computes where one register lane holds one sum."""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir
from numba.core import cgutils

from bitconv.kernels.microkernel import (
    FLOAT,
    I32,
    I64,
    accumulators,
    add_to,
    broadcast,
    call_llvm,
    load_vector,
    store_vector,
    weight_row,
)
from bitconv.kernels.tile_shapes import Tile


class LaneSums:
    """Sums of products of which each has a lane of its own."""

    element: ir.Type

    def __init__(self, tile: Tile) -> None:
        self.tile = tile
        self.vector = ir.VectorType(self.element, tile.lanes)

    def begin(self, builder: ir.IRBuilder, sums: ir.Value) -> None:
        self.sums = sums
        self.cells = accumulators(builder, self.tile, self.vector)

    def add_run(
        self,
        builder: ir.IRBuilder,
        activations: Sequence[ir.Value],
        weights: ir.Value,
        first: ir.Value,
        length: ir.Value,
    ) -> None:
        run_weights = weight_row(builder, self.tile, weights, first)
        with cgutils.for_range(builder, length) as k:
            row = weight_row(builder, self.tile, run_weights, k.index)
            filters = [
                load_vector(builder, self.vector, row, column) for column in self.tile.columns
            ]
            self.add_products(builder, activations, k.index, filters)

    def end(self, builder: ir.IRBuilder) -> None:
        for pixel, cells in enumerate(self.cells):
            for column, cell in zip(self.tile.columns, cells, strict=True):
                result = self.result(builder, builder.load(cell))
                store_vector(builder, result, self.sums, pixel * self.tile.filters + column)

    def add_products(
        self,
        builder: ir.IRBuilder,
        activations: Sequence[ir.Value],
        k: ir.Value,
        filters: Sequence[ir.Value],
    ) -> None:
        """Add the products of activation k of each pixel with vectors of weights."""
        for run, cells in zip(activations, self.cells, strict=True):
            activation = builder.load(builder.gep(run, [k]))
            lanes = broadcast(builder, activation, self.tile.lanes)
            for cell, weight in zip(cells, filters, strict=True):
                self.add_product(builder, cell, lanes, weight)

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
