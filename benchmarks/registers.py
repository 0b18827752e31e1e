"""The arithmetic of a network on registers alone: what no kernel that counts so can pass."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

import numpy as np

from bitconv.cost import Cost
from bitconv.kernels.registry import function
from bitconv.kernels.roofline import FLOATS, WORDS
from bitconv.roofline import WORD_BITS


def on_registers(cost: Cost, threads: int = 1) -> Callable[[], None]:
    """One thread's share of the multiply-accumulates of `cost`, nothing loaded or stored.

    XOR, population count and addition for signs, multiplication and addition for floats.
    """
    words = np.arange(WORDS, dtype=np.uint64)
    values = np.linspace(0.1, 0.9, FLOATS, dtype=np.float32)
    work = (
        (function("popcount_chains"), words, cost.binary_macs / (WORD_BITS * WORDS)),
        (function("multiply_chains"), values, (cost.additions + cost.float_macs) / FLOATS),
    )

    def run() -> None:
        for chains, memory, steps in work:
            if steps:
                chains(ceil(steps / threads), memory.ctypes.data)

    return run
