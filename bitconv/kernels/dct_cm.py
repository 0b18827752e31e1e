"""DCT-CM: 8-bit levels or the coefficients of their DCT, as masked bytes."""

from __future__ import annotations

import numpy as np

from bitconv.kernels.cache import kernel
from bitconv.kernels.dct import forward_dct, inverse_dct
from bitconv.kernels.levels import LARGEST_LEVEL, distance
from bitconv.kernels.masked_bytes import decode_masked, encode_masked, masked_scratch
from bitconv.kernels.records import DCT_CM
from bitconv.kernels.strips import strip_pixels

_TABLES = DCT_CM.itemsize


@kernel
def encode_dct_cm(values, channels, constants, scratch, out):
    """Strip after strip; see `bitconv.feature_maps.dct_cm`."""
    p = constants[:_TABLES].view(DCT_CM)[0]
    tables = constants[_TABLES:].view(np.uint32)
    step, low, high = np.float32(p.step), np.float32(-p.zero), np.float32(LARGEST_LEVEL - p.zero)
    place, length = 0, strip_pixels(channels) * channels
    for first in range(0, values.size, length):
        strip = values[first : first + length]
        symbols, masks, kept, rest = masked_scratch(scratch, strip.size)
        if p.coarseness == 0:
            for index in range(strip.size):
                symbols[index] = np.uint8(np.int32(distance(strip[index], step, low, high)))
        else:
            inverse = np.float32(1 / p.coarseness)
            distances = rest[: 4 * strip.size].view(np.float32)
            for index in range(strip.size):
                distances[index] = distance(strip[index], step, low, high)
            forward_dct(distances, channels)
            for index in range(strip.size):
                symbols[index] = np.uint8(np.int32(np.rint(distances[index] * inverse)))
        used = encode_masked(symbols, strip.size, tables, masks, kept, out[place:])
        if used < 0:
            return -1
        place += used
    return place


@kernel
def decode_dct_cm(data, channels, constants, scratch, values):
    """The inverse; −1 where `data` is nothing that was encoded."""
    p = constants[:_TABLES].view(DCT_CM)[0]
    tables = constants[_TABLES:].view(np.uint32)
    step, low, high = np.float32(p.step), np.float32(-p.zero), np.float32(LARGEST_LEVEL - p.zero)
    place, length = 0, strip_pixels(channels) * channels
    for first in range(0, values.size, length):
        strip = values[first : first + length]
        symbols, masks, kept, _ = masked_scratch(scratch, strip.size)
        used = decode_masked(data[place:], tables, masks, kept, symbols, strip.size)
        if used < 0:
            return -1
        if p.coarseness == 0:
            for index in range(strip.size):
                number = np.float32(symbols[index])
                number = number if number <= high else number - np.float32(256)
                strip[index] = number * step
        else:
            for index in range(strip.size):
                strip[index] = np.float32(np.int8(symbols[index]))
            inverse_dct(strip, channels)
            _restore(strip, np.float32(p.coarseness), low, high, step)
        place += used
    return place


@kernel
def _restore(values, coarseness, low, high, step):
    """From what the inverse DCT made of numbers to values, in place."""
    for index in range(values.size):
        steps = np.float32(np.rint(values[index] * coarseness))
        steps = steps if steps > low else low
        steps = steps if steps < high else high
        values[index] = steps * step
