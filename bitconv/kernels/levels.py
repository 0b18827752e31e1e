"""Float32 values to 8-bit levels and back; `bitconv.feature_maps.levels` says what they mean."""

from __future__ import annotations

import numpy as np

from bitconv.kernels.jit import kernel, subroutine
from bitconv.kernels.records import LEVELS
from bitconv.kernels.views import seen_as

LARGEST_LEVEL = 255


@kernel
def quantize_levels(values, symbols, channels, constants, scratch):
    """The level of each value of a strip; see `bitconv.kernels.codecs.TRANSFORMS`.

    Clipping before rounding gives what clipping after it does, as the limits are integers, and
    keeps the numbers where an int32 holds them.
    """
    p = seen_as(constants, LEVELS)[0]
    step, low, high = np.float32(p.step), np.float32(-p.zero), np.float32(LARGEST_LEVEL - p.zero)
    for index in range(values.size):
        symbols[index] = np.uint8(np.int32(distance(values[index], step, low, high) - low))


@kernel
def restore_levels(values, symbols, channels, constants, scratch):
    """The value of each level of a strip."""
    p = seen_as(constants, LEVELS)[0]
    step, low = np.float32(p.step), np.float32(-p.zero)
    for index in range(values.size):
        values[index] = (np.float32(symbols[index]) + low) * step


@subroutine
def distance(value, step, low, high):
    """The distance of a value's level from the level of zero, as float32."""
    steps = value / step
    steps = steps if steps > low else low  # NaN is not above
    steps = steps if steps < high else high
    return np.float32(np.rint(steps))
