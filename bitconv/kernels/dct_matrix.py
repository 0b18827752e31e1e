"""The matrix of the 8-point integer DCT of ITU-T H.265, section 8.6.4.2; a row a coefficient."""

from __future__ import annotations

import numpy as np

POINTS = 8
NORM = np.float32(1 / (64 * 8**0.5))  # to the length of the input
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
