"""8-bit levels of a float map: one affine quantizer a tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.errors import GraphError
from bitconv.parameters import plain, plain_integer

LARGEST_LEVEL = 255
_SMALLEST_STEP = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class EightBitLevels:
    """A uniform quantizer between float32 values and uint8 levels.

    ``level = clip(rint(x / step) + zero, 0, 255)`` and ``value = (level − zero) · step``. Each
    operation rounds to float32 by itself, so every machine finds the same levels and values. Zero
    is one of the values. NaN, which no map should hold, becomes level 0.

    Attributes
    ----------
    step : float
        A positive, normal float32: the distance of two values.
    zero : int
        The level of 0.0, from 0 to 255; 0 for maps after a ReLU.
    """

    step: float
    zero: int = 0

    def __post_init__(self) -> None:
        zero = plain_integer(self.zero, "the zero of 8-bit levels")
        if not 0 <= zero <= LARGEST_LEVEL:
            raise GraphError(f"the zero of 8-bit levels is a level from 0 to 255, found {zero}")
        object.__setattr__(self, "step", positive_step(self.step, "8-bit levels"))
        object.__setattr__(self, "zero", zero)

    @classmethod
    def calibrate(cls, maps: NDArray[np.float32]) -> EightBitLevels:
        """The levels from the smallest to the largest of all values, zero among them.

        To clip the largest values for a finer step pays little, about one decibel on ResNets, and
        costs much where a map has an area of them that no image of the calibration had.

        Parameters
        ----------
        maps : float32 array of any shape
            Finite and not empty.
        """
        low, high = min(float(maps.min()), 0.0), max(float(maps.max()), 0.0)
        step = (high - low) / LARGEST_LEVEL
        if step < _SMALLEST_STEP:  # nothing but zeros
            return cls(1.0)
        return cls(step, round(-low / step))

    def quantize(self, feature_map: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The levels of a map of any shape."""
        with np.errstate(over="ignore", invalid="ignore"):
            level = np.rint(feature_map / np.float32(self.step)) + np.float32(self.zero)
        above = np.where(level > 0, level, np.float32(0))  # NaN is not above
        return np.minimum(above, np.float32(LARGEST_LEVEL)).astype(np.uint8)

    def restore(self, levels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The values that the levels stand for."""
        distance = levels.astype(np.float32) - np.float32(self.zero)
        return distance * np.float32(self.step)

    def parameters(self) -> dict[str, Any]:
        """As plain numbers, under the names that `from_parameters` takes."""
        return {"step": self.step, "zero": self.zero}


def positive_step(value: Any, what: str) -> float:
    """The step of a quantizer in float32; `GraphError` unless it is normal and positive."""
    step = plain(value, (float,), f"the step of {what}")
    with np.errstate(over="ignore", under="ignore"):
        rounded = float(np.float32(step))
    if not _SMALLEST_STEP <= rounded < np.inf:
        raise GraphError(f"the step of {what} is a positive, normal float32, found {step}")
    return rounded
