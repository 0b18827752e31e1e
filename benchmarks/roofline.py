"""What one core could do at most: multiply-accumulates on data that never leave the registers.

    python benchmarks/roofline.py

A kernel has to load its operands as well, so quote it as a fraction of these rates, measured in the
same run. Binary convolutions are usually made of XOR, population count and addition; a kernel that
counts bits in another way, by table lookup, say, can exceed the rate of those.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils

from bitconv.kernels.microkernel import FLOAT, I64, call_llvm, load_vector, store_vector
from bitconv.kernels.target import BIT_LANES, FLOAT_LANES, instruction_set
from bitconv.kernels.tiles import instruction

CHAINS = (8, 10, 12, 16)  # accumulators: enough to hide latencies, few enough for the registers
ITERATIONS = 100_000
REPEATS = 40

Step = Callable[[ir.IRBuilder, ir.Value, ir.Value], ir.Value]


def popcount_rate() -> float:
    """10⁹ binary multiply-accumulates a second by XOR, population count and addition."""

    def step(builder: ir.IRBuilder, total: ir.Value, weights: ir.Value) -> ir.Value:
        difference = builder.xor(total, weights)
        popcount = f"llvm.ctpop.v{BIT_LANES}i64"
        return builder.add(total, call_llvm(builder, popcount, total.type, difference))

    words = np.arange(BIT_LANES * max(CHAINS), dtype=np.uint64)
    return 64 * _best_rate(ir.VectorType(I64, BIT_LANES), step, words)


def multiply_rate() -> float:
    """10⁹ float32 multiply-accumulates a second."""

    def step(builder: ir.IRBuilder, total: ir.Value, weights: ir.Value) -> ir.Value:
        fma = f"llvm.fmuladd.v{FLOAT_LANES}f32"
        return call_llvm(builder, fma, total.type, total, weights, weights)

    values = np.linspace(0.1, 0.9, FLOAT_LANES * max(CHAINS), dtype=np.float32)
    return _best_rate(ir.VectorType(FLOAT, FLOAT_LANES), step, values)


def _best_rate(vector: ir.VectorType, step: Step, memory: np.ndarray[Any, Any]) -> float:
    """10⁹ lanes a second that go through `step`, at the best number of chains."""
    return max(_rate(vector, step, memory, chains) for chains in CHAINS)


def _rate(vector: ir.VectorType, step: Step, memory: np.ndarray[Any, Any], chains: int) -> float:
    run = _compile(vector, step, chains)
    run(1, memory.copy())
    best = min(_seconds(run, memory.copy()) for _ in range(REPEATS))
    lanes: int = vector.count
    return ITERATIONS * chains * lanes / best / 1e9


def _seconds(run: Callable[..., None], memory: np.ndarray[Any, Any]) -> float:
    start = time.perf_counter()
    run(ITERATIONS, memory)
    return time.perf_counter() - start


def _compile(vector: ir.VectorType, step: Step, chains: int) -> Callable[..., None]:
    """A loop over independent chains of steps; the totals start and end in memory."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        iterations, array = arguments
        memory = context.make_array(signature.args[1])(context, builder, array).data
        starts = range(0, chains * vector.count, vector.count)
        weights = load_vector(builder, vector, memory)
        totals = [
            cgutils.alloca_once_value(builder, load_vector(builder, vector, memory, start))
            for start in starts
        ]
        with cgutils.for_range(builder, iterations):
            for total in totals:
                builder.store(step(builder, builder.load(total), weights), total)
        for start, total in zip(starts, totals, strict=True):
            store_vector(builder, builder.load(total), memory, start)
        return context.get_dummy_value()

    @instruction
    def chains_of_steps(_context: Any, _iterations: Any, memory: Any) -> Any:
        return types.void(types.int64, memory), codegen

    def run(iterations: int, memory: np.ndarray[Any, Any]) -> None:
        chains_of_steps(iterations, memory)

    compiled: Callable[..., None] = njit(run)
    return compiled


if __name__ == "__main__":
    print(f"one core with {instruction_set()}, from registers:")
    print(f"  XOR, population count, add   {popcount_rate():8.0f} GMAC/s")
    print(f"  float32 multiply and add     {multiply_rate():8.0f} GMAC/s")
