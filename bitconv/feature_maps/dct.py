"""The integer DCT of video codecs, eight points along channels (ITU-T H.265, section 8.6.4.2).

Its rows are orthogonal but for rounding and nearly of one length, so scaled by NORM it keeps the
length of a vector and is undone by its transpose. Its sums are integers; each is scaled in float32
with a single rounding, so every machine finds the same numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

POINTS = 8
NORM = np.float32(1 / (64 * 8**0.5))
MATRIX = np.array(
    [
        [64, 64, 64, 64, 64, 64, 64, 64],
        [89, 75, 50, 18, -18, -50, -75, -89],
        [83, 36, -36, -83, -83, -36, 36, 83],
        [75, -18, -89, -50, 50, 89, 18, -75],
        [64, -64, -64, 64, 64, -64, -64, 64],
        [50, -89, 18, 75, -75, -18, 89, -50],
        [36, -83, 83, -36, -36, 83, -83, 36],
        [18, -50, 75, -89, 89, -75, 50, -18],
    ]
)


def forward(distances: NDArray[np.float32]) -> NDArray[np.float32]:
    """Transform every whole block of eight of the last axis; those behind them stay as they are.

    Parameters
    ----------
    distances : float32 array of shape (..., C)
        Integers from −255 to 255.
    """
    return _transformed(distances, MATRIX)


def inverse(coefficients: NDArray[np.float32]) -> NDArray[np.float32]:
    """The inverse of `forward`, but for rounding.

    Parameters
    ----------
    coefficients : float32 array of shape (..., C)
        Integers.
    """
    return _transformed(coefficients, MATRIX.T)


def _transformed(numbers: NDArray[np.float32], matrix: NDArray[np.int64]) -> NDArray[np.float32]:
    whole = numbers.shape[-1] // POINTS * POINTS
    blocks = numbers[..., :whole].reshape(*numbers.shape[:-1], -1, POINTS).astype(np.int64)
    sums = (blocks @ matrix.T).reshape(*numbers.shape[:-1], whole)
    return np.concatenate([sums.astype(np.float32) * NORM, numbers[..., whole:]], axis=-1)
