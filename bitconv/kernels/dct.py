"""The 8-point DCT along channels; `bitconv.feature_maps.dct` says what it is.

All sums are integers below 2²⁴, which float32 holds exactly, in whatever order they are added.
"""

from __future__ import annotations

import numpy as np

from bitconv.kernels.cache import kernel

DCT_POINTS = 8
NORM = np.float32(1 / (64 * 8**0.5))  # to the length of the input
_C64, _C89, _C83, _C75 = np.float32(64), np.float32(89), np.float32(83), np.float32(75)
_C50, _C36, _C18 = np.float32(50), np.float32(36), np.float32(18)


@kernel
def forward_dct(values, channels):
    """Transform every whole block of eight channels of each pixel, in place."""
    for first in range(0, values.size, channels):
        for start in range(first, first + channels - DCT_POINTS + 1, DCT_POINTS):
            _forward(values[start : start + DCT_POINTS])


@kernel
def inverse_dct(values, channels):
    """The inverse of `forward_dct`, but for rounding."""
    for first in range(0, values.size, channels):
        for start in range(first, first + channels - DCT_POINTS + 1, DCT_POINTS):
            _inverse(values[start : start + DCT_POINTS])


@kernel
def _forward(x):
    s0, s1, s2, s3 = x[0] + x[7], x[1] + x[6], x[2] + x[5], x[3] + x[4]
    d0, d1, d2, d3 = x[0] - x[7], x[1] - x[6], x[2] - x[5], x[3] - x[4]
    even, odd, outer, inner = s0 + s3, s1 + s2, s0 - s3, s1 - s2
    x[0] = _C64 * (even + odd) * NORM
    x[1] = (_C89 * d0 + _C75 * d1 + _C50 * d2 + _C18 * d3) * NORM
    x[2] = (_C83 * outer + _C36 * inner) * NORM
    x[3] = (_C75 * d0 - _C18 * d1 - _C89 * d2 - _C50 * d3) * NORM
    x[4] = _C64 * (even - odd) * NORM
    x[5] = (_C50 * d0 - _C89 * d1 + _C18 * d2 + _C75 * d3) * NORM
    x[6] = (_C36 * outer - _C83 * inner) * NORM
    x[7] = (_C18 * d0 - _C50 * d1 + _C75 * d2 - _C89 * d3) * NORM


@kernel
def _inverse(x):
    d0 = _C89 * x[1] + _C75 * x[3] + _C50 * x[5] + _C18 * x[7]
    d1 = _C75 * x[1] - _C18 * x[3] - _C89 * x[5] - _C50 * x[7]
    d2 = _C50 * x[1] - _C89 * x[3] + _C18 * x[5] + _C75 * x[7]
    d3 = _C18 * x[1] - _C50 * x[3] + _C75 * x[5] - _C89 * x[7]
    even, odd = _C64 * (x[0] + x[4]), _C64 * (x[0] - x[4])
    outer, inner = _C83 * x[2] + _C36 * x[6], _C36 * x[2] - _C83 * x[6]
    s0, s1, s2, s3 = even + outer, odd + inner, odd - inner, even - outer
    x[0], x[7] = (s0 + d0) * NORM, (s0 - d0) * NORM
    x[1], x[6] = (s1 + d1) * NORM, (s1 - d1) * NORM
    x[2], x[5] = (s2 + d2) * NORM, (s2 - d2) * NORM
    x[3], x[4] = (s3 + d3) * NORM, (s3 - d3) * NORM
