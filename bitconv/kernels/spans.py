"""What kernels do to short runs of adjacent numbers, x at once with y.

    add_span        x ← x + y           copy_span       x ← y
    multiply_span   x ← x · y           rescale_span    x ← x · y · z + w, rounded three times
    divide_span     x ← x / y           dot_span        x ← y − 2·x, of int32
    prelu_span      x ← x where x > 0, else x · y
                                        float_dot_span  x ← float(y − 2·z), y and z of int32
    relu_span       x ← x where x > 0, else 0

Each takes ``(x, first of x, y, first of y, ..., length)``. The rows of a block are such runs, 8 to
64 numbers long and many. As loops in Python each would pay for slices and for what LLVM tests
before it enters a vector loop, several times the work itself; here a vector loop begins at once.

Arrays are one-dimensional and contiguous, offsets count elements, and another run is either x's own
or apart from it. Nothing checks bounds here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from bitconv.kernels.instructions import element_pointers, instruction, signature_of
from bitconv.kernels.microkernel import I64, call_llvm, constant, load_vector, store_vector

LANES = 8


def row_width(channels: int) -> int:
    """Values of the row that holds so many channels: whole vectors, and whole bytes of signs."""
    return -(-channels // LANES) * LANES


def _span(operate: Callable[..., ir.Value], runs: int = 2) -> Callable[..., Any]:
    """The instruction for ``x ← operate(builder, x, y, ...)``, all of them vectors or numbers."""

    def one(_context: Any, x: Any, i: Any, length: Any) -> Any:
        return signature_of(x, i, length), codegen

    def two(_context: Any, x: Any, i: Any, y: Any, j: Any, length: Any) -> Any:
        return signature_of(x, i, y, j, length), codegen

    def three(_context: Any, x: Any, i: Any, y: Any, j: Any, z: Any, k: Any, length: Any) -> Any:
        return signature_of(x, i, y, j, z, k, length), codegen

    def four(
        _context: Any, x: Any, i: Any, y: Any, j: Any, z: Any, k: Any, w: Any, m: Any, length: Any
    ) -> Any:
        return signature_of(x, i, y, j, z, k, w, m, length), codegen

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        *runs, length = element_pointers(context, builder, signature, arguments)
        starts = [
            builder.gep(array, [first]) for array, first in zip(runs[::2], runs[1::2], strict=True)
        ]
        whole = builder.and_(length, I64(-LANES))
        with cgutils.for_range(builder, builder.ashr(length, I64(LANES.bit_length() - 1))) as step:
            at = builder.mul(step.index, I64(LANES))
            here = [builder.gep(start, [at]) for start in starts]
            operands = [
                load_vector(builder, ir.VectorType(place.type.pointee, LANES), place)
                for place in here
            ]
            store_vector(builder, operate(builder, *operands), here[0])
        with cgutils.for_range(builder, builder.sub(length, whole)) as step:
            at = builder.add(whole, step.index)
            here = [builder.gep(start, [at]) for start in starts]
            builder.store(operate(builder, *(builder.load(place) for place in here)), here[0])
        return context.get_dummy_value()

    defines: dict[int, Callable[..., Any]] = {1: one, 2: two, 3: three, 4: four}
    return instruction(defines[runs])


# Where a result is x itself in some lanes, LLVM stores the other lanes alone: by a masked store,
# for which AMD's processors take twenty times as long. Nothing here chooses between x and others.


def _relu(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    name = f"llvm.maxnum.v{LANES}f32" if isinstance(x.type, ir.VectorType) else "llvm.maxnum.f32"
    return call_llvm(builder, name, x.type, x, ir.Constant(x.type, None))


def _prelu(builder: ir.IRBuilder, x: ir.Value, slope: ir.Value) -> ir.Value:
    positive = builder.fcmp_ordered(">", x, ir.Constant(x.type, None))
    one = constant(x.type, 1) if isinstance(x.type, ir.VectorType) else ir.Constant(x.type, 1)
    return builder.fmul(x, builder.select(positive, one, slope))  # x · 1 is x, exactly


def _dot(builder: ir.IRBuilder, count: ir.Value, base: ir.Value) -> ir.Value:
    return builder.sub(base, builder.add(count, count))


def _float_dot(builder: ir.IRBuilder, x: ir.Value, base: ir.Value, count: ir.Value) -> ir.Value:
    return builder.sitofp(_dot(builder, count, base), x.type)


def _rescale(
    builder: ir.IRBuilder, x: ir.Value, scale: ir.Value, factor: ir.Value, offset: ir.Value
) -> ir.Value:
    return builder.fadd(builder.fmul(builder.fmul(x, scale), factor), offset)


add_span = _span(lambda builder, x, y: builder.fadd(x, y))
multiply_span = _span(lambda builder, x, y: builder.fmul(x, y))
divide_span = _span(lambda builder, x, y: builder.fdiv(x, y))
prelu_span = _span(_prelu)
relu_span = _span(_relu, runs=1)
copy_span = _span(lambda _builder, _x, y: y)
rescale_span = _span(_rescale, runs=4)
dot_span = _span(_dot)
float_dot_span = _span(_float_dot, runs=3)
