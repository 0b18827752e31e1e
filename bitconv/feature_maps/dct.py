"""The integer DCT of video codecs, eight points along channels (ITU-T H.265, section 8.6.4.2).

The rows of its matrix are orthogonal but for rounding and nearly of one length, so scaled by NORM
it keeps the length of a vector and is undone by its transpose. Its sums are integers; each is
scaled in float32 with a single rounding, so every machine finds the same numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitconv.kernels.dct_matrix import MATRIX, NORM, POINTS


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
