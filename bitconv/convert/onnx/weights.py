"""Which weights are binary, and with which scales."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.bits import BitArray
from bitconv.scales import ScaleGrid

ROUNDED = 1e-5  # of α, what (a − b) + b leaves of weights
HINT = "; export without folding constants to keep what rounded them"
LEAST_SHARING = 2  # weights a scale on average; below it any weight would be binary


@dataclass(frozen=True, eq=False)
class BinaryWeight:
    """Weights that are exactly ``α ⊙ sign(W)``.

    Attributes
    ----------
    signs : BitArray of shape (O, height, width, I)
    scale : ScaleGrid
        The coarsest grid.
    """

    signs: BitArray
    scale: ScaleGrid


@dataclass(frozen=True, eq=False)
class TwoLevelWeight:
    """Weights of a filter that are 0 or one other number, ``m/2 · (signs + 1)``.

    Attributes
    ----------
    signs : int8 array of shape (O, height, width, I)
    halves : float64 array of shape (O,)
        m/2 of each filter.
    """

    signs: NDArray[np.int8]
    halves: NDArray[np.float64]


def binary_weight(weight: NDArray[Any]) -> BinaryWeight | None:
    """The signs and scales that are exactly the weights; None if there are none.

    Parameters
    ----------
    weight : float array of shape (O, height, width, I)
    """
    magnitude = np.abs(weight[:, 0, 0, :])
    if not (np.abs(weight) == magnitude[:, None, None, :]).all():
        return None
    scale = coarsest_grid(magnitude)
    if scale.values.size * LEAST_SHARING > weight.size:
        return None
    return BinaryWeight(BitArray.from_signs(weight), scale)


def coarsest_grid(scales: NDArray[Any]) -> ScaleGrid:
    """The fewest shared scales that are exactly the given ones, of shape (O, I).

    A grid that is shared by n adjacent rows is exact where rows change only at multiples of n, so
    the coarsest n is the greatest common divisor of the places where they change.
    """
    down, across = _coarsest_step(scales), _coarsest_step(scales.T)
    return ScaleGrid(scales[::down, ::across], down, across)


def _coarsest_step(rows: NDArray[Any]) -> int:
    changes = np.flatnonzero((rows[1:] != rows[:-1]).any(axis=1)) + 1
    return gcd(*changes.tolist()) if changes.size else len(rows)


def two_level_weight(weight: NDArray[Any]) -> TwoLevelWeight | None:
    """Weights that are 0 or, a filter, one other number; None where they are not."""
    rows = weight.reshape(len(weight), -1).astype(np.float64)
    largest = rows[np.arange(len(rows)), np.abs(rows).argmax(axis=1)]
    if not ((rows == 0) | (rows == largest[:, None])).all() or not largest.any():
        return None
    signs = np.where(weight != 0, np.int8(1), np.int8(-1))
    return TwoLevelWeight(signs, largest / 2)


def why_not_binary(weight: NDArray[Any]) -> str:
    """Why weights that look almost binary are not, or an empty text."""
    magnitude = np.abs(weight).astype(np.float64)
    values = np.unique(magnitude)
    if len(values) == 2 and values[0] == 0:
        zeros = int((magnitude == 0).sum())
        return f"its weights take three values: {zeros} of {magnitude.size} are 0"
    rows = magnitude.reshape(len(magnitude), -1)
    mean = rows.mean(axis=1, keepdims=True)
    spread = float((np.abs(rows - mean) / np.where(mean > 0, mean, 1)).max())
    if spread < 1e-3:
        return f"its weights are ±α only up to {spread:.1g} of α{HINT * (spread < ROUNDED)}"
    return ""
