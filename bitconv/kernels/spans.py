"""What kernels do to short runs of adjacent numbers, x at once with y.

    add_span        x ← x + y           copy_span       x ← y
    multiply_span   x ← x · y           convert_span    x ← float(y), of int32
    divide_span     x ← x / y           dot_span        x ← y − 2·x, of int32
    prelu_span      x ← x where x > 0, else x · y

Each takes ``(x, first of x, y, first of y, length)``. The rows of a block are such runs, 8 to 64
numbers long and many. As loops in Python each would pay for slices and for what LLVM tests before
it enters a vector loop, several times the work itself; here a vector loop begins at once.

Arrays are one-dimensional and contiguous, offsets count elements, and a run of y is either x's own
or apart from it. Nothing checks bounds here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from bitconv.kernels.instructions import element_pointers, instruction, signature_of
from bitconv.kernels.microkernel import I64, load_vector, store_vector

LANES = 8


def row_width(channels: int) -> int:
    """Values of the row that holds so many channels: whole vectors, and whole bytes of signs."""
    return -(-channels // LANES) * LANES


Operation = Callable[[ir.IRBuilder, ir.Value, ir.Value], ir.Value]


def _span(operate: Operation) -> Callable[..., Any]:
    """The instruction that does ``x ← operate(x, y)``, where both are vectors or both numbers."""

    def define(_context: Any, x: Any, x_first: Any, y: Any, y_first: Any, length: Any) -> Any:
        return signature_of(x, x_first, y, y_first, length), codegen

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        x, x_first, y, y_first, length = element_pointers(context, builder, signature, arguments)
        x, y = builder.gep(x, [x_first]), builder.gep(y, [y_first])
        whole = builder.and_(length, I64(-LANES))
        with cgutils.for_range(builder, builder.ashr(length, I64(LANES.bit_length() - 1))) as step:
            at = builder.mul(step.index, I64(LANES))
            here = builder.gep(x, [at])
            pair = [
                load_vector(builder, ir.VectorType(start.type.pointee, LANES), start)
                for start in (here, builder.gep(y, [at]))
            ]
            store_vector(builder, operate(builder, *pair), here)
        with cgutils.for_range(builder, builder.sub(length, whole)) as step:
            at = builder.add(whole, step.index)
            here = builder.gep(x, [at])
            outcome = operate(builder, builder.load(here), builder.load(builder.gep(y, [at])))
            builder.store(outcome, here)
        return context.get_dummy_value()

    return instruction(define)


def _prelu(builder: ir.IRBuilder, x: ir.Value, slope: ir.Value) -> ir.Value:
    positive = builder.fcmp_ordered(">", x, ir.Constant(x.type, None))
    return builder.select(positive, x, builder.fmul(x, slope))


def _dot(builder: ir.IRBuilder, count: ir.Value, base: ir.Value) -> ir.Value:
    return builder.sub(base, builder.add(count, count))


def _convert(builder: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    return builder.sitofp(y, x.type)


add_span = _span(lambda builder, x, y: builder.fadd(x, y))
multiply_span = _span(lambda builder, x, y: builder.fmul(x, y))
divide_span = _span(lambda builder, x, y: builder.fdiv(x, y))
prelu_span = _span(_prelu)
copy_span = _span(lambda _builder, _x, y: y)
convert_span = _span(_convert)
dot_span = _span(_dot)
