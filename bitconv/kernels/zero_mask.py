"""8-bit levels as one mask bit a value, and those that are not zero."""

from __future__ import annotations

import numpy as np

from bitconv.kernels.byte_masks import compress, expand, mask_of
from bitconv.kernels.cache import kernel
from bitconv.kernels.levels import quantize, restore
from bitconv.kernels.records import LEVELS
from bitconv.kernels.strips import strip_pixels
from bitconv.kernels.words import WORD_BYTES, count_bits, load_some, load_word, store_word

_ONES = np.uint64(0x0101010101010101)


@kernel
def encode_zero_mask(values, channels, constants, scratch, out):
    """Strip after strip: all masks, then all bytes that differ from the level of zero."""
    p = constants.view(LEVELS)[0]
    place, length = 0, strip_pixels(channels) * channels
    for first in range(0, values.size, length):
        strip = values[first : first + length]
        end = (strip.size + 7) // 8 * 8
        scratch[end - WORD_BYTES : end] = p.zero
        quantize(strip, np.float32(p.step), p.zero, scratch)
        used = _encode_levels(scratch, strip.size, p.zero, out[place:])
        if used < 0:
            return -1
        place += used
    return place


@kernel
def decode_zero_mask(data, channels, constants, scratch, values):
    """The inverse; −1 where there are too few bytes or a mask is wider than a strip."""
    p = constants.view(LEVELS)[0]
    place, length = 0, strip_pixels(channels) * channels
    for first in range(0, values.size, length):
        strip = values[first : first + length]
        used = _decode_levels(data[place:], scratch, strip.size, p.zero)
        if used < 0:
            return -1
        restore(scratch, np.float32(p.step), p.zero, strip)
        place += used
    return place


@kernel
def _encode_levels(levels, count, zero, out):
    at = masks = (count + 7) // 8
    for block in range(masks):
        if at + WORD_BYTES > out.size:
            return -1
        word = load_word(levels, WORD_BYTES * block) ^ np.uint64(zero) * _ONES
        mask = mask_of(word)
        out[np.uint64(block)] = np.uint8(mask)
        store_word(out, at, compress(word, mask))
        at += count_bits(mask)
    return at


@kernel
def _decode_levels(data, levels, count, zero):
    at = masks = (count + 7) // 8
    if data.size < masks or np.int64(data[masks - 1]) >> ((count - 1) % 8 + 1):
        return -1
    for block in range(masks):
        mask = np.uint64(data[np.uint64(block)])
        word = expand(load_some(data, at), mask)
        store_word(levels, WORD_BYTES * block, word ^ np.uint64(zero) * _ONES)
        at += count_bits(mask)
    return at if at <= data.size else -1
