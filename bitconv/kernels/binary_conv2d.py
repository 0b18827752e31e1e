"""Convolution of packed signs with packed signs.

For output pixel p and filter f, with a and w the bits of the window and of the filter,

    dot[p, f] = n − 2·popcount(a XOR w) = base[border class of p, f] − 2·count[p, f]

The ring around a packed map is zero, that is +1. Where a window reaches into it, the padded taps
add the filter's own signs there; `base` takes that back and, for padding with −1, adds the
opposite, so every kind of padding is exact and the loop over words has no branch.
"""

from __future__ import annotations

import numpy as np

from bitconv.kernels.block import block_scratch, count_scratch
from bitconv.kernels.cache import kernel
from bitconv.kernels.linking import call_address
from bitconv.kernels.program import WORD_BYTES, clear_rings, clear_tail, locate
from bitconv.kernels.records import BINARY_CONV2D, BLOCK_PIXELS, INSTRUCTION
from bitconv.kernels.tiles import (
    BIT_FILTERS,
    BIT_PIXELS,
    pack_not_above_int32,
    xnor_half_tile,
    xnor_tile,
)

TILE_BLOCK = BLOCK_PIXELS // BIT_PIXELS * BIT_PIXELS  # whole tiles, so that no tile overlaps


@kernel
def locate_windows(p, image, row, column, position, count):
    """Offset of every pixel's window in the source; the last one repeats to fill a tile."""
    for pixel in range(count):
        position[pixel] = (
            p.source_offset
            + image[pixel] * p.source_image
            + row[pixel] * p.stride_row
            + column[pixel] * p.stride_column
        )
    for pixel in range(count, BLOCK_PIXELS):
        position[pixel] = position[count - 1]


@kernel
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
                words, tile, weights, weight, rows, row_step, taps, tap_step, length, counts, at
            )
        else:
            xnor_half_tile(
                words, tile, weights, weight, rows, row_step, taps, tap_step, length, counts, at
            )


@kernel
def dots_of_block(bases, base, classes, p, row, column, count, counts):
    """Turn counts into dot products: ``base − 2·count``."""
    for pixel in range(count):
        border = (
            classes[p.row_classes + row[pixel]] * p.column_class_count
            + classes[p.column_classes + column[pixel]]
        )
        start = base + border * p.tiles * BIT_FILTERS
        full = bases[start : start + BIT_FILTERS]
        x = counts[pixel * BIT_FILTERS : (pixel + 1) * BIT_FILTERS]
        for f in range(BIT_FILTERS):
            x[f] = full[f] - np.int32(2) * x[f]


@kernel
def store_signs(arena, i, limits, limit, channel, filters, image, row, column, count, dots):
    """Bit of a filter = dot <= its limit; no float is made."""
    if channel == 0:
        clear_rings(arena, WORD_BYTES, i, image, row, column, count)
    last = channel + filters == i.channels
    packed = (filters + 7) // 8 * 8
    for pixel in range(count):
        octet = 8 * (
            i.map_offset
            + image[pixel] * i.map_image
            + row[pixel] * i.map_row
            + column[pixel] * i.map_pixel
        )
        at = pixel * BIT_FILTERS
        pack_not_above_int32(dots, at, limits, limit, packed, arena, octet + channel // 8)
        if last:
            clear_tail(arena, octet, i.channels, i.words)


@kernel
def binary_conv2d(arena, constants, parameters, program, run_program, images, share, shares):
    """One share of the (filter tile, pixel block) pairs, the filters of a tile for all pixels."""
    p = parameters.view(BINARY_CONV2D)[0]
    words = arena.view(np.uint64)
    weights = constants.view(np.uint64)
    integers = constants.view(np.int32)
    table = constants.view(np.int64)
    floats = constants.view(np.float32)
    start = p.scratch + share * p.scratch_step
    block, image, row, column, position = block_scratch(arena, start)
    counts = count_scratch(arena, start)
    pixels = images * p.rows * p.columns
    blocks = (pixels + TILE_BLOCK - 1) // TILE_BLOCK
    items = blocks * p.groups * p.tiles
    for item in range(items * share // shares, items * (share + 1) // shares):
        first = item % blocks * TILE_BLOCK
        group = item // blocks // p.tiles
        tile = item // blocks % p.tiles
        count = min(TILE_BLOCK, pixels - first)
        filters = min(BIT_FILTERS, p.group_filters - tile * BIT_FILTERS)
        channel = group * p.group_filters + tile * BIT_FILTERS
        locate(first, count, p.rows, p.columns, image, row, column)
        locate_windows(p, image, row, column, position, count)
        weight = p.weights + (group * p.tiles + tile) * p.filter_words * BIT_FILTERS
        for segment in range(p.segments):
            part = group * p.segments + segment
            word = table[p.segment_table + 3 * part]
            length = table[p.segment_table + 3 * part + 1]
            skip = table[p.segment_table + 3 * part + 2] * BIT_FILTERS
            inside = words[word:]
            count_block(inside, weights, p, position, count, filters, length, weight + skip, counts)
            base = p.bases + (part * p.classes * p.tiles + tile) * BIT_FILTERS
            dots_of_block(integers, base, integers, p, row, column, count, counts)
            if p.scales >= 0:
                scale = p.scales + (part * p.tiles + tile) * BIT_FILTERS
                add_scaled(counts, floats, scale, BIT_FILTERS, count, segment == 0, block)
        if p.limits >= 0:
            limit = p.limits + (group * p.tiles + tile) * BIT_FILTERS
            store_signs(
                arena,
                program.view(INSTRUCTION)[0],
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
        if p.scales < 0:
            for position_ in range(count * BIT_FILTERS):
                block[position_] = np.float32(counts[position_])
        rows_of_block = (block, BIT_FILTERS, channel, filters, group, image, row, column, count)
        call_address(run_program, (arena, constants, program, *rows_of_block))


@kernel
def add_scaled(sums, scales, scale, filters, count, first, block):
    """``block ← block + sums · scale``, starting from ``sums · scale``; a scale a filter."""
    factor = scales[scale : scale + filters]
    for pixel in range(count):
        terms = sums[pixel * filters : (pixel + 1) * filters]
        x = block[pixel * filters : (pixel + 1) * filters]
        if first:
            for f in range(filters):
                x[f] = np.float32(terms[f]) * factor[f]
        else:
            for f in range(filters):
                x[f] += np.float32(terms[f]) * factor[f]
