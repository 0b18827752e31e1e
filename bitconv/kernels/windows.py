"""Where the windows of a block of output pixels lie, and windows of few channels without gaps."""

from __future__ import annotations

import numpy as np

from bitconv.kernels.cache import kernel
from bitconv.kernels.program import locate
from bitconv.kernels.records import BLOCK_PIXELS, PACKED_WORDS

WORD_SIGNS = 64


@kernel
def locate_item(
    p, tiles, item, blocks, pixels, block_pixels, filters, image, row, column, position
):
    """The pixels and filters of one (filter tile, pixel block) pair, the pixels numbered first.

    Returns
    -------
    group, tile, channel, used, count : int
        The convolution group, which of its `tiles` of `filters`, the first output channel, how many
        of the filters exist, and the number of pixels.
    """
    first = item % blocks * block_pixels
    group = item // blocks // tiles
    tile = item // blocks % tiles
    channel = group * p.group_filters + tile * filters
    used = min(filters, p.group_filters - tile * filters)
    count = min(block_pixels, pixels - first)
    locate(first, count, p.rows, p.columns, image, row, column)
    locate_windows(p, image, row, column, position, count, block_pixels)
    return group, tile, channel, used, count


@kernel
def locate_windows(p, image, row, column, position, count, block_pixels):
    """Offset of every pixel's window in the source; the last one repeats to fill a tile."""
    for pixel in range(count):
        position[pixel] = (
            p.source_offset
            + image[pixel] * p.source_image
            + row[pixel] * p.stride_row
            + column[pixel] * p.stride_column
        )
    for pixel in range(count, block_pixels):
        position[pixel] = position[count - 1]


@kernel
def pack_windows(words, p, word, position, column, count, windows):
    """Bring the signs of every window together; `position` becomes where they then lie.

    A tap of few channels leaves most of its word empty; without the gaps a window takes few words.
    They are first collected side by side with those of the neighbours, whose taps are neighbours,
    too, and only then brought together.
    """
    pixel = 0
    while pixel < count:
        pixels = min(count - pixel, p.columns - column[pixel])  # of this row
        place, held = windows + pixel, np.int64(0)  # signs that the words at `place` hold
        for i in range(p.tap_rows):
            for j in range(p.tap_columns):
                tap = position[pixel] + word + i * p.tap_row_step + j * p.tap_column_step
                shift_in(words, place, tap, p.stride_column, pixels, np.uint64(held), held == 0)
                held += p.tap_signs
                if held >= WORD_SIGNS:
                    place += BLOCK_PIXELS
                    held -= WORD_SIGNS
                    if held > 0:
                        cut = np.uint64(p.tap_signs - held)
                        shift_out(words, place, tap, p.stride_column, pixels, cut)
        pixel += pixels
    width = (p.tap_rows * p.tap_columns * p.tap_signs + WORD_SIGNS - 1) // WORD_SIGNS
    start = windows + BLOCK_PIXELS * PACKED_WORDS
    for pixel in range(count):
        position[pixel] = start + pixel * width
        for word in range(width):
            words[start + pixel * width + word] = words[windows + word * BLOCK_PIXELS + pixel]
    for pixel in range(count, BLOCK_PIXELS):
        position[pixel] = position[count - 1]


@kernel
def shift_in(words, place, tap, step, pixels, shift, first):
    """``packed ← packed | tap << shift`` for adjacent pixels, from zero if it is the first tap."""
    packed = words[place : place + pixels]
    if step == 1:
        taps = words[tap : tap + pixels]
        if first:
            for pixel in range(pixels):
                packed[pixel] = taps[pixel]
        else:
            for pixel in range(pixels):
                packed[pixel] |= taps[pixel] << shift
        return
    for pixel in range(pixels):
        before = np.uint64(0) if first else packed[pixel]
        packed[pixel] = before | words[tap + pixel * step] << shift


@kernel
def shift_out(words, place, tap, step, pixels, shift):
    """``packed ← tap >> shift`` for adjacent pixels: what the word before had no room for."""
    packed = words[place : place + pixels]
    for pixel in range(pixels):
        packed[pixel] = words[tap + pixel * step] >> shift
