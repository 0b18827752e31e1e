"""Convolution of packed signs with packed signs.

For output pixel p and filter f, with a and w the bits of the window and of the filter,

    dot[p, f] = n − 2·popcount(a XOR w) = base[border class of p, f] − 2·count[p, f]

The ring around a packed map is zero, that is +1. Where a window reaches into it, the padded taps
add the filter's own signs there; `base` takes that back and, for padding with −1, adds the
opposite, so every kind of padding is exact and the loop over words has no branch.
"""

from __future__ import annotations

import numpy as np

from bitconv.kernels.block import block_scratch, count_scratch, window_scratch
from bitconv.kernels.jit import kernel, subroutine
from bitconv.kernels.linking import call_address
from bitconv.kernels.packing import pack_not_above, pack_word_not_above
from bitconv.kernels.program import WORD_BYTES, clear_rings, clear_tail
from bitconv.kernels.records import BINARY_CONV2D, BLOCK_PIXELS, INSTRUCTION
from bitconv.kernels.spans import dot_span, float_dot_span
from bitconv.kernels.tile_shapes import BIT_FILTERS, BIT_PIXELS
from bitconv.kernels.tiles import xnor_half_tile, xnor_tile
from bitconv.kernels.views import seen_as
from bitconv.kernels.windows import WORD_SIGNS, locate_item, pack_windows

TILE_BLOCK = BLOCK_PIXELS // BIT_PIXELS * BIT_PIXELS  # whole tiles, so that no tile overlaps


@subroutine
def count_block(words, weights, p, position, count, filters, length, weight, counts):
    """``counts[pixel, filter] = popcount(window XOR filter)`` for the words of one segment.

    Of the filters that only fill up the tile, half a tile or none is left out.
    """
    for pixel in range(0, count, BIT_PIXELS):
        tile = position[pixel:]
        at = pixel * BIT_FILTERS
        rows, row_step, taps, tap_step = p.kernel_rows, p.row_step, p.taps, p.tap_step
        if filters > BIT_FILTERS // 2:
            xnor_tile(
                words, tile, weights, weight, rows, row_step, taps, tap_step, length,
                counts, at, BIT_FILTERS,
            )  # fmt: skip
        else:
            xnor_half_tile(
                words, tile, weights, weight, rows, row_step, taps, tap_step, length,
                counts, at, BIT_FILTERS,
            )  # fmt: skip


@subroutine
def dots_of_block(integers, base, p, row, column, count, width, counts, block):
    """Turn counts into dot products, ``base − 2·count``: in place, or as floats in the block."""
    in_place = p.limits >= 0 or p.scales >= 0
    for pixel in range(count):
        border = (
            integers[p.row_classes + row[pixel]] * p.column_class_count
            + integers[p.column_classes + column[pixel]]
        )
        start = base + border * p.tiles * BIT_FILTERS
        at = pixel * BIT_FILTERS
        if in_place:
            dot_span(counts, at, integers, start, width)
        else:
            float_dot_span(block, pixel * width, integers, start, counts, at, width)


@subroutine
def store_signs(arena, i, limits, limit, channel, filters, image, row, column, count, dots):
    """Bit of a filter = dot <= its limit; no float is made."""
    if channel == 0:
        clear_rings(arena, WORD_BYTES, i, image, row, column, count)
    words = seen_as(arena, np.uint64)
    last = channel + filters == i.channels
    packed = (filters + 7) // 8 * 8
    for pixel in range(count):
        place = (
            i.map_offset
            + image[pixel] * i.map_image
            + row[pixel] * i.map_row
            + column[pixel] * i.map_pixel
        )
        at = pixel * BIT_FILTERS
        if last and channel % WORD_SIGNS == 0:
            pack_word_not_above(dots, at, limits, limit, packed, words, place + i.words - 1)
            continue
        pack_not_above(dots, at, limits, limit, packed, arena, 8 * place + channel // 8)
        if last:
            clear_tail(arena, 8 * place, i.channels, i.words)


@kernel
def binary_conv2d(
    arena, constants, parameters, program, run_program, images, thread, share, shares
):
    """One share of the (filter tile, pixel block) pairs, the filters of a tile for all pixels."""
    p = seen_as(parameters, BINARY_CONV2D)[0]
    words = seen_as(arena, np.uint64)
    weights = seen_as(constants, np.uint64)
    integers = seen_as(constants, np.int32)
    table = seen_as(constants, np.int64)
    floats = seen_as(constants, np.float32)
    start = p.scratch + thread * p.scratch_step
    block, image, row, column, position = block_scratch(arena, start)
    counts = count_scratch(arena, start)
    pixels = images * p.rows * p.columns
    blocks = (pixels + TILE_BLOCK - 1) // TILE_BLOCK
    items = blocks * p.groups * p.tiles
    for item in range(items * share // shares, items * (share + 1) // shares):
        group, tile, channel, filters, count = locate_item(
            p, p.tiles, item, blocks, pixels, TILE_BLOCK, BIT_FILTERS, image, row, column, position
        )
        width = (filters + 7) // 8 * 8  # of a row; signs are packed by the byte
        weight = p.weights + (group * p.tiles + tile) * p.filter_words * BIT_FILTERS
        for segment in range(p.segments):
            part = group * p.segments + segment
            word = table[p.segment_table + 3 * part]
            length = table[p.segment_table + 3 * part + 1]
            skip = table[p.segment_table + 3 * part + 2] * BIT_FILTERS
            if p.tap_signs > 0:
                pack_windows(words, p, word, position, column, count, window_scratch(start))
                word = 0
            inside = words[word:]
            count_block(inside, weights, p, position, count, filters, length, weight + skip, counts)
            base = p.bases + (part * p.classes * p.tiles + tile) * BIT_FILTERS
            dots_of_block(integers, base, p, row, column, count, width, counts, block)
            if p.scales >= 0:
                scale = p.scales + (part * p.tiles + tile) * BIT_FILTERS
                add_scaled(
                    counts, BIT_FILTERS, floats, scale, width, count, segment == 0, block, width
                )
        if p.limits >= 0:
            limit = p.limits + (group * p.tiles + tile) * BIT_FILTERS
            store_signs(
                arena,
                seen_as(program, INSTRUCTION)[0],
                integers,
                limit,
                channel,
                filters,
                image,
                row,
                column,
                count,
                counts,
            )
            continue
        rows_of_block = (block, width, channel, filters, group, image, row, column, count)
        call_address(run_program, (arena, constants, program, *rows_of_block))


@subroutine
def add_scaled(sums, sum_width, scales, scale, width, count, first, block, block_width):
    """``block ← block + sums · scale``, starting from ``sums · scale``; a scale a filter.

    Rows of `sums` are `sum_width` long, rows of `block` `block_width`; `width` of each are used.
    """
    factor = scales[scale : scale + width]
    for pixel in range(count):
        terms = sums[pixel * sum_width : pixel * sum_width + width]
        x = block[pixel * block_width : pixel * block_width + width]
        if first:
            for f in range(width):
                x[f] = np.float32(terms[f]) * factor[f]
        else:
            for f in range(width):
                x[f] += np.float32(terms[f]) * factor[f]
