"""Generator of the vector micro-kernels: LLVM IR for a tile of output pixels × filters.

A tile computes, for each of its pixels m and filters f,

    sums[m, f] = Σ_{row, tap, k} activations[window(m) + row·row_stride + tap·tap_stride + k]
                                 ∘ weights[row, tap, k, f]

with the sums in registers. Filters are the lanes of the vectors: a step loads the weights of one k
and combines them with one activation a pixel, broadcast. An `Arithmetic` says what ∘ is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from llvmlite import ir
from numba.core import cgutils

from bitconv.kernels.tile_shapes import Tile

I8 = ir.IntType(8)
I16 = ir.IntType(16)
I32 = ir.IntType(32)
I64 = ir.IntType(64)
FLOAT = ir.FloatType()

_ELEMENT_ALIGN = 4  # no array has smaller elements, and unaligned vectors load as fast


class Arithmetic(Protocol):
    """How a tile multiplies and adds up."""

    def begin(self, builder: ir.IRBuilder, sums: Sequence[ir.Value]) -> None:
        """Set up the accumulators of the sums that will be stored at `sums`, pixel by pixel."""

    def add_run(
        self,
        builder: ir.IRBuilder,
        windows: Sequence[ir.Value],
        start: ir.Value,
        weights: ir.Value,
        first: ir.Value,
        length: ir.Value,
    ) -> None:
        """Add `length` activations of each window times as many rows of weights.

        The activations follow each other from `start` on, the rows from `first` on.
        """

    def end(self, builder: ir.IRBuilder) -> None:
        """Store the sums."""


@dataclass(frozen=True)
class Operands:
    """The arguments of a tile as IR values; arrays are pointers to their first used element."""

    activations: ir.Value
    pixel_offsets: ir.Value
    weights: ir.Value
    rows: ir.Value
    row_stride: ir.Value
    taps: ir.Value
    tap_stride: ir.Value
    length: ir.Value
    sums: ir.Value
    sum_step: ir.Value


def generate(builder: ir.IRBuilder, tile: Tile, arithmetic: Arithmetic, operands: Operands) -> None:
    """Emit a tile: loops over rows and taps, each tap a run of adjacent activations."""
    steps = [builder.mul(I64(pixel), operands.sum_step) for pixel in range(tile.pixels)]
    arithmetic.begin(builder, [builder.gep(operands.sums, [step]) for step in steps])
    offsets = [
        builder.load(builder.gep(operands.pixel_offsets, [I64(pixel)]))
        for pixel in range(tile.pixels)
    ]
    windows = [builder.gep(operands.activations, [offset]) for offset in offsets]
    with cgutils.for_range(builder, operands.rows) as row:
        row_start = builder.mul(row.index, operands.row_stride)
        row_runs = builder.mul(row.index, operands.taps)
        with cgutils.for_range(builder, operands.taps) as tap:
            start = builder.add(row_start, builder.mul(tap.index, operands.tap_stride))
            run = builder.add(row_runs, tap.index)
            arithmetic.add_run(
                builder,
                windows,
                start,
                operands.weights,
                builder.mul(run, operands.length),
                operands.length,
            )
    arithmetic.end(builder)


def weight_row(builder: ir.IRBuilder, tile: Tile, weights: ir.Value, row: ir.Value) -> ir.Value:
    """Pointer to a row of weights that has one element a filter."""
    return builder.gep(weights, [builder.mul(row, I64(tile.filters))])


def accumulators(builder: ir.IRBuilder, tile: Tile, vector: ir.VectorType) -> list[list[ir.Value]]:
    """Cleared vectors, pixels × columns, that LLVM will keep in registers."""
    zero = ir.Constant(vector, None)
    return [
        [cgutils.alloca_once_value(builder, zero) for _ in tile.columns] for _ in range(tile.pixels)
    ]


def constant(vector: ir.VectorType, value: float) -> ir.Constant:
    """A vector with the same number in every lane."""
    return ir.Constant(vector, [value] * vector.count)


def broadcast(builder: ir.IRBuilder, scalar: ir.Value, lanes: int) -> ir.Value:
    """A vector with `scalar` in every lane."""
    undefined = ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined)
    first = builder.insert_element(undefined, scalar, I32(0))
    return builder.shuffle_vector(first, undefined, constant(ir.VectorType(I32, lanes), 0))


def load_vector(
    builder: ir.IRBuilder, vector: ir.VectorType, pointer: ir.Value, offset: int = 0
) -> ir.Value:
    """The vector that starts `offset` elements of `pointer`'s type after it."""
    start = builder.gep(pointer, [I64(offset)])
    value = builder.load(builder.bitcast(start, vector.as_pointer()))
    value.align = _ELEMENT_ALIGN
    return value


def store_vector(
    builder: ir.IRBuilder, value: ir.Value, pointer: ir.Value, offset: int = 0
) -> None:
    """Store a vector `offset` elements of `pointer`'s type after it."""
    start = builder.gep(pointer, [I64(offset)])
    stored = builder.store(value, builder.bitcast(start, value.type.as_pointer()))
    stored.align = _ELEMENT_ALIGN


def add_to(builder: ir.IRBuilder, cell: ir.Value, value: ir.Value) -> None:
    """Add an integer or a vector of them to an accumulator."""
    builder.store(builder.add(builder.load(cell), value), cell)


def architecture(builder: ir.IRBuilder) -> str:
    """The family of processors that code is made for: ``x86``, ``arm64`` or another name."""
    name = builder.module.triple.partition("-")[0]
    return {"x86_64": "x86", "i686": "x86", "aarch64": "arm64"}.get(name, name)


def call_llvm(builder: ir.IRBuilder, name: str, result: ir.Type, *arguments: ir.Value) -> Any:
    """Call one of LLVM's intrinsics."""
    function = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), arguments)
