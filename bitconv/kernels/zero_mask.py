"""Levels as one mask bit each, and those that are not the level of zero."""

from __future__ import annotations

import numpy as np

from bitconv.kernels.byte_masks import compress, expand, mask_of
from bitconv.kernels.jit import kernel
from bitconv.kernels.records import LEVELS
from bitconv.kernels.views import seen_as
from bitconv.kernels.words import WORD_BYTES, count_bits, load_some, load_word, store_word

_ONES = np.uint64(0x0101010101010101)


@kernel
def pack_zero_mask(symbols, count, out, constants, tables, scratch):
    """All masks, then all bytes that differ from the level of zero, and in how they do.

    See `bitconv.kernels.codecs.Coder`.
    """
    zero = seen_as(constants, LEVELS)[0].zero
    at = masks = (count + 7) // 8
    for index in range(count, WORD_BYTES * masks):
        symbols[index] = zero
    for block in range(masks):
        if at + WORD_BYTES > out.size:
            return -1
        word = load_word(symbols, WORD_BYTES * block) ^ np.uint64(zero) * _ONES
        mask = mask_of(word)
        out[np.uint64(block)] = np.uint8(mask)
        store_word(out, at, compress(word, mask))
        at += count_bits(mask)
    return at


@kernel
def unpack_zero_mask(symbols, count, data, constants, tables, scratch):
    """The inverse; −1 where there are too few bytes or a mask is wider than the strip."""
    zero = seen_as(constants, LEVELS)[0].zero
    at = masks = (count + 7) // 8
    if data.size < masks or np.int64(data[masks - 1]) >> ((count - 1) % 8 + 1):
        return -1
    for block in range(masks):
        mask = np.uint64(data[np.uint64(block)])
        word = expand(load_some(data, at), mask)
        store_word(symbols, WORD_BYTES * block, word ^ np.uint64(zero) * _ONES)
        at += count_bits(mask)
    return at if at <= data.size else -1
