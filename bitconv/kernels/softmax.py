"""``exp(x − max) / Σ exp(x − max)`` over the channels of each pixel."""

from __future__ import annotations

import math

import numpy as np

from bitconv.kernels.jit import kernel
from bitconv.kernels.records import SOFTMAX
from bitconv.kernels.views import seen_as


@kernel
def softmax(arena, constants, parameters, program, run_program, images, thread, share, shares):
    """One share of the pixels; the sum is taken in float64."""
    p = seen_as(parameters, SOFTMAX)[0]
    floats = seen_as(arena, np.float32)
    pixels = images * p.rows * p.columns
    for pixel in range(pixels * share // shares, pixels * (share + 1) // shares):
        image = pixel // (p.rows * p.columns)
        row = pixel // p.columns % p.rows
        column = pixel % p.columns
        source = p.source_offset + image * p.source_image
        source += row * p.source_row + column * p.source_pixel
        target = p.target_offset + image * p.target_image
        target += row * p.target_row + column * p.target_pixel
        largest = floats[source]
        for c in range(1, p.channels):
            largest = max(largest, floats[source + c])
        total = 0.0
        for c in range(p.channels):
            total += math.exp(np.float64(floats[source + c]) - np.float64(largest))
        for c in range(p.channels):
            power = math.exp(np.float64(floats[source + c]) - np.float64(largest))
            floats[target + c] = np.float32(power / total)
