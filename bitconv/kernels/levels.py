"""Float32 values to 8-bit levels and back; `bitconv.feature_maps.levels` says what they mean."""

from __future__ import annotations

import numpy as np

from bitconv.kernels.cache import kernel

LARGEST_LEVEL = 255


@kernel
def quantize(values, step, zero, levels):
    """The level of each float32 value.

    Clipping before rounding gives what clipping after it does, as the limits are integers, and
    keeps the numbers where an int32 holds them.
    """
    low, high = np.float32(-zero), np.float32(LARGEST_LEVEL - zero)
    for index in range(values.size):
        levels[index] = np.uint8(np.int32(distance(values[index], step, low, high) - low))


@kernel
def restore(levels, step, zero, values):
    """The float32 value of each level."""
    low = np.float32(-zero)
    for index in range(values.size):
        values[index] = (np.float32(levels[index]) + low) * step


@kernel
def distance(value, step, low, high):
    """The distance of a value's level from the level of zero, as float32."""
    steps = value / step
    steps = steps if steps > low else low  # NaN is not above
    steps = steps if steps < high else high
    return np.float32(np.rint(steps))
