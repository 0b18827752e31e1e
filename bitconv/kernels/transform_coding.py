"""Transform coding: principal components across channels, one quantizer, Huffman codes."""

from __future__ import annotations

import numpy as np

from bitconv.kernels.cache import kernel
from bitconv.kernels.masked_bytes import TABLE_ENTRIES, decode_masked, encode_masked, masked_scratch
from bitconv.kernels.records import TRANSFORM_CODING
from bitconv.kernels.strips import strip_pixels

_NUMBERS = TRANSFORM_CODING.itemsize
_LARGEST = np.float32(127)


@kernel
def encode_transform_coding(values, channels, constants, scratch, out):
    """Strip after strip; see `bitconv.feature_maps.transform_coding`."""
    p = constants[:_NUMBERS].view(TRANSFORM_CODING)[0]
    tables, basis, _, mean = _pieces(constants, channels, p.components)
    pixels = values.reshape((values.size // channels, channels))
    place, length = 0, strip_pixels(channels)
    for first in range(0, len(pixels), length):
        strip = pixels[first : first + length]
        count = len(strip) * p.components
        symbols, masks, kept, rest = masked_scratch(scratch, count)
        floats = rest[: 4 * (count + strip.size)].view(np.float32)
        sums = floats[:count].reshape((len(strip), p.components))
        distances = floats[count:].reshape((len(strip), channels))
        for pixel in range(len(strip)):
            for channel in range(channels):
                distances[pixel, channel] = strip[pixel, channel] - mean[channel]
        sums[:] = 0
        _add_products(distances, basis, sums)
        _round(floats[:count], np.float32(p.step), symbols)
        used = encode_masked(symbols, count, tables, masks, kept, out[place:])
        if used < 0:
            return -1
        place += used
    return place


@kernel
def decode_transform_coding(data, channels, constants, scratch, values):
    """The inverse; −1 where `data` is nothing that was encoded."""
    p = constants[:_NUMBERS].view(TRANSFORM_CODING)[0]
    tables, _, rows, mean = _pieces(constants, channels, p.components)
    pixels = values.reshape((values.size // channels, channels))
    place, length = 0, strip_pixels(channels)
    for first in range(0, len(pixels), length):
        strip = pixels[first : first + length]
        count = len(strip) * p.components
        symbols, masks, kept, rest = masked_scratch(scratch, count)
        used = decode_masked(data[place:], tables, masks, kept, symbols, count)
        if used < 0:
            return -1
        lengths = rest[: 4 * count].view(np.float32)
        for index in range(count):
            lengths[index] = np.float32(np.int8(symbols[index])) * np.float32(p.step)
        for pixel in range(len(strip)):
            for channel in range(channels):
                strip[pixel, channel] = mean[channel]
        _add_products(lengths.reshape((len(strip), p.components)), rows, strip)
        if p.after_relu:
            _clear_negative(strip)
        place += used
    return place


@kernel
def _pieces(constants, channels, components):
    """Tables of the codes; basis (C, K) and its transpose; mean."""
    start = _NUMBERS + 4 * TABLE_ENTRIES
    tables = constants[_NUMBERS:start].view(np.uint32)
    floats = constants[start:].view(np.float32)
    size = channels * components
    basis = floats[:size].reshape((channels, components))
    rows = floats[size : 2 * size].reshape((components, channels))
    return tables, basis, rows, floats[2 * size : 2 * size + channels]


@kernel
def _clear_negative(strip):
    for pixel in range(strip.shape[0]):
        for channel in range(strip.shape[1]):
            value = strip[pixel, channel]
            strip[pixel, channel] = value if value > 0 else np.float32(0)


@kernel
def _add_products(factors, rows, sums):
    """Add the product of two matrices to a third, term after term in their order.

    `factors` is (pixels, n), `rows` is (n, m) and `sums` is (pixels, m). Four terms are added at a
    time, so that sums are loaded and stored less often.
    """
    pixels, terms = factors.shape
    width = sums.shape[1]
    for pixel in range(pixels):
        for group in range(terms // 4):
            first = 4 * group
            factor0, factor1 = factors[pixel, first], factors[pixel, first + 1]
            factor2, factor3 = factors[pixel, first + 2], factors[pixel, first + 3]
            for index in range(width):
                total = sums[pixel, index] + factor0 * rows[first, index]
                total += factor1 * rows[first + 1, index]
                total += factor2 * rows[first + 2, index]
                sums[pixel, index] = total + factor3 * rows[first + 3, index]
        for term in range(terms // 4 * 4, terms):
            factor = factors[pixel, term]
            for index in range(width):
                sums[pixel, index] += factor * rows[term, index]


@kernel
def _round(components, step, symbols):
    for index in range(components.size):
        number = components[index] / step
        number = number if number > -_LARGEST else -_LARGEST  # NaN is not above
        number = number if number < _LARGEST else _LARGEST
        symbols[index] = np.uint8(np.int32(np.rint(number)))
