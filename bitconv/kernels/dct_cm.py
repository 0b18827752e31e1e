"""DCT-CM: distances of 8-bit levels from the level of zero, or the coefficients of their DCT.

`bitconv.feature_maps.dct_cm` says what they are.
"""

from __future__ import annotations

import numpy as np

from bitconv.kernels.dct import forward_dct, inverse_dct
from bitconv.kernels.jit import kernel
from bitconv.kernels.levels import LARGEST_LEVEL, distance
from bitconv.kernels.records import DCT_CM, LENGTHS_BYTES
from bitconv.kernels.views import seen_as


@kernel
def quantize_dct_cm(values, symbols, channels, constants, scratch):
    """The bytes of a strip; see `bitconv.kernels.codecs.TRANSFORMS`."""
    p = seen_as(constants[LENGTHS_BYTES:], DCT_CM)[0]
    step, low, high = np.float32(p.step), np.float32(-p.zero), np.float32(LARGEST_LEVEL - p.zero)
    if p.coarseness == 0:
        for index in range(values.size):
            symbols[index] = np.uint8(np.int32(distance(values[index], step, low, high)))
    else:
        inverse = np.float32(1 / p.coarseness)
        distances = seen_as(scratch[: 4 * values.size], np.float32)
        for index in range(values.size):
            distances[index] = distance(values[index], step, low, high)
        forward_dct(distances, channels)
        for index in range(values.size):
            symbols[index] = np.uint8(np.int32(np.rint(distances[index] * inverse)))


@kernel
def restore_dct_cm(values, symbols, channels, constants, scratch):
    """The inverse."""
    p = seen_as(constants[LENGTHS_BYTES:], DCT_CM)[0]
    step, low, high = np.float32(p.step), np.float32(-p.zero), np.float32(LARGEST_LEVEL - p.zero)
    if p.coarseness == 0:
        for index in range(values.size):
            number = np.float32(symbols[index])
            number = number if number <= high else number - np.float32(256)
            values[index] = number * step
    else:
        for index in range(values.size):
            values[index] = np.float32(np.int8(symbols[index]))
        inverse_dct(values, channels)
        coarseness = np.float32(p.coarseness)
        for index in range(values.size):
            steps = np.float32(np.rint(values[index] * coarseness))
            steps = steps if steps > low else low
            steps = steps if steps < high else high
            values[index] = steps * step
