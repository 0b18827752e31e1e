"""Transform coding: principal components across channels, and one quantizer."""

from __future__ import annotations

import numpy as np

from bitconv.kernels.jit import kernel, subroutine
from bitconv.kernels.records import (
    LENGTHS_BYTES,
    PIXELS_BLOCK,
    RESTORED_CHANNELS,
    TRANSFORM_CODING,
)
from bitconv.kernels.views import seen_as

_FLOATS = LENGTHS_BYTES + TRANSFORM_CODING.itemsize
_LARGEST = np.float32(127)


@kernel
def quantize_components(values, symbols, channels, constants, scratch):
    """The bytes of a strip; see `bitconv.kernels.codecs.TRANSFORMS`."""
    p = seen_as(constants[LENGTHS_BYTES:_FLOATS], TRANSFORM_CODING)[0]
    basis, mean = _pieces(constants, channels, p.components)
    pixels = values.size // channels
    size = PIXELS_BLOCK * channels
    floats = seen_as(scratch[: 4 * (size + pixels * p.components)], np.float32)
    distances, components = floats[:size].reshape((PIXELS_BLOCK, channels)), floats[size:]
    sums = components.reshape((pixels, p.components))
    components[:] = 0
    for first in range(0, pixels, PIXELS_BLOCK):
        count = min(PIXELS_BLOCK, pixels - first)
        for pixel in range(count):
            start = (first + pixel) * channels
            for channel in range(channels):
                distances[pixel, channel] = values[start + channel] - mean[channel]
        _add_products(distances[:count], basis, sums[first : first + count])
    _round(components, np.float32(p.step), symbols)


@kernel
def restore_components(values, symbols, channels, constants, scratch):
    """The inverse: some channels of some pixels at a time, by a part of the basis transposed."""
    p = seen_as(constants[LENGTHS_BYTES:_FLOATS], TRANSFORM_CODING)[0]
    basis, mean = _pieces(constants, channels, p.components)
    pixels, step = values.size // channels, np.float32(p.step)
    width = min(RESTORED_CHANNELS, channels)
    floats = seen_as(scratch, np.float32)
    turned, floats = floats[: width * p.components], floats[width * p.components :]
    lengths, sums = floats[: PIXELS_BLOCK * p.components], floats[PIXELS_BLOCK * p.components :]
    for start in range(0, channels, width):
        some = min(width, channels - start)
        rows = turned[: some * p.components].reshape((p.components, some))
        for channel in range(some):
            for component in range(p.components):
                rows[component, channel] = basis[start + channel, component]
        for first in range(0, pixels, PIXELS_BLOCK):
            count = min(PIXELS_BLOCK, pixels - first)
            for index in range(count * p.components):
                number = np.int8(symbols[first * p.components + index])
                lengths[index] = np.float32(number) * step
            factors = lengths[: count * p.components].reshape((count, p.components))
            block = sums[: count * some].reshape((count, some))
            for pixel in range(count):
                for channel in range(some):
                    block[pixel, channel] = mean[start + channel]
            _add_products(factors, rows, block)
            for pixel in range(count):
                place = (first + pixel) * channels + start
                for channel in range(some):
                    value = block[pixel, channel]
                    negative = p.after_relu and not value > 0
                    values[place + channel] = np.float32(0) if negative else value


@subroutine
def _pieces(constants, channels, components):
    """The basis (C, K), and the mean."""
    floats = seen_as(constants[_FLOATS:], np.float32)
    size = channels * components
    return floats[:size].reshape((channels, components)), floats[size : size + channels]


@subroutine
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


@subroutine
def _round(components, step, symbols):
    for index in range(components.size):
        number = components[index] / step
        number = number if number > -_LARGEST else -_LARGEST  # NaN is not above
        number = number if number < _LARGEST else _LARGEST
        symbols[index] = np.uint8(np.int32(np.rint(number)))
