"""Multiply-accumulates on registers alone: what one core could do at most."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from bitconv.kernels.cache import kernel
from bitconv.kernels.instructions import instruction
from bitconv.kernels.microkernel import FLOAT, I64, call_llvm, load_vector, store_vector
from bitconv.kernels.target import BIT_LANES, FLOAT_LANES, numba_target

# Vectors that are added to in turn: enough to hide the time until a sum is ready (a fused multiply
# and add takes four cycles, of two to four a cycle), and few enough to stay in registers beside the
# masks and tables that a population count may need.
CHAINS = numba_target().vector_registers // 2 + 1
WORDS = CHAINS * BIT_LANES
FLOATS = CHAINS * FLOAT_LANES

Product = Callable[[ir.IRBuilder, ir.Value, ir.Value], ir.Value]


def _add_popcount(builder: ir.IRBuilder, total: ir.Value, weights: ir.Value) -> ir.Value:
    popcount = f"llvm.ctpop.v{BIT_LANES}i64"
    difference = builder.xor(total, weights)
    return builder.add(total, call_llvm(builder, popcount, total.type, difference))


def _add_product(builder: ir.IRBuilder, total: ir.Value, weights: ir.Value) -> ir.Value:
    fma = f"llvm.fmuladd.v{FLOAT_LANES}f32"
    return call_llvm(builder, fma, total.type, total, weights, weights)


def _chains(vector: ir.VectorType, add: Product) -> Callable[..., Any]:
    """Code generator of a loop over the chains; their totals start and end in memory."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        steps, array = arguments
        memory = context.make_array(signature.args[1])(context, builder, array).data
        starts = range(0, CHAINS * vector.count, vector.count)
        weights = load_vector(builder, vector, memory)
        totals = [
            cgutils.alloca_once_value(builder, load_vector(builder, vector, memory, start))
            for start in starts
        ]
        with cgutils.for_range(builder, steps):
            for total in totals:
                builder.store(add(builder, builder.load(total), weights), total)
        for start, total in zip(starts, totals, strict=True):
            store_vector(builder, builder.load(total), memory, start)
        return context.get_dummy_value()

    return codegen


@instruction
def _popcount_chains(_context: Any, steps: Any, words: Any) -> Any:
    return types.void(types.int64, words), _chains(ir.VectorType(I64, BIT_LANES), _add_popcount)


@instruction
def _multiply_chains(_context: Any, steps: Any, floats: Any) -> Any:
    return types.void(types.int64, floats), _chains(ir.VectorType(FLOAT, FLOAT_LANES), _add_product)


@kernel
def popcount_chains(steps, words):
    """XOR, population count and addition of WORDS uint64 values, `steps` times."""
    _popcount_chains(steps, words)


@kernel
def multiply_chains(steps, floats):
    """Multiplication and addition of FLOATS float32 values, `steps` times."""
    _multiply_chains(steps, floats)
