"""What one core of this machine can do at most, measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from bitconv.cost import Cost

WORD_BITS = 64
STEPS = 10_000  # a third of a millisecond or so
REPEATS = 40  # of which the quickest counts: what disturbs the others is not the core


@dataclass(frozen=True)
class Roofline:
    """Multiply-accumulates a second of one core, on data that never leave the registers.

    A kernel has to load its operands as well, so it stays below. One that counts bits in another
    way than by population counts, by table lookup, say, may exceed `signs`.

    Attributes
    ----------
    signs : float
        Of signs: 64 for every XOR, population count and addition of a word.
    floats : float
        Of float32 values, by multiplication and addition, fused where the processor can.
    """

    signs: float
    floats: float

    def seconds(self, cost: Cost) -> float:
        """How long one core takes for the multiply-accumulates of a layer, at least.

        Binary weights with a float input count as floats, for they end in the same additions.
        """
        return cost.binary_macs / self.signs + (cost.additions + cost.float_macs) / self.floats


def measure_roofline() -> Roofline:
    """Measure it, in a tenth of a second; the first time on a machine the loops are compiled."""
    from bitconv.kernels.roofline import FLOATS, WORDS

    words = np.arange(WORDS, dtype=np.uint64)
    values = np.linspace(0.1, 0.9, FLOATS, dtype=np.float32)
    return Roofline(
        signs=WORD_BITS * WORDS * STEPS / _seconds("popcount_chains", words),
        floats=FLOATS * STEPS / _seconds("multiply_chains", values),
    )


def _seconds(chains: str, memory: NDArray[Any]) -> float:
    """The shortest time of STEPS steps."""
    from bitconv.kernels.registry import function

    run = function(chains)
    run(1, memory.ctypes.data)
    return min(_once(run, memory.copy()) for _ in range(REPEATS))


def _once(run: Callable[[int, int], int], memory: NDArray[Any]) -> float:
    address = memory.ctypes.data
    started = time.perf_counter()
    run(STEPS, address)
    return time.perf_counter() - started
