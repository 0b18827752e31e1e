"""A pointwise program on a map that no kernel before it computes: images, or maps read again."""

from __future__ import annotations

import numpy as np

from bitconv.kernels.block import block_scratch
from bitconv.kernels.jit import kernel, subroutine
from bitconv.kernels.linking import call_address
from bitconv.kernels.program import locate
from bitconv.kernels.records import BLOCK_CHANNELS, BLOCK_PIXELS, POINTWISE
from bitconv.kernels.spans import copy_span
from bitconv.kernels.views import seen_as


@subroutine
def convert_bytes(octets, x, floats, table, channel, width):
    """Every byte as a float, or, with a table of 256 floats a channel, what stands for it there."""
    if table < 0:
        for index in range(len(x)):
            x[index] = np.float32(octets[index])
        return
    for first in range(0, len(x), width):
        for c in range(width):
            x[first + c] = floats[table + (channel + c) * 256 + octets[first + c]]


@kernel
def pointwise(arena, constants, parameters, program, run_program, images, thread, share, shares):
    """``y[p, c] = program(x[p, c])`` for one share of the pixels."""
    p = seen_as(parameters, POINTWISE)[0]
    floats = seen_as(arena, np.float32)
    block, image, row, column, _ = block_scratch(arena, p.scratch + thread * p.scratch_step)
    pixels = images * p.rows * p.columns
    blocks = (pixels + BLOCK_PIXELS - 1) // BLOCK_PIXELS
    for index in range(blocks * share // shares, blocks * (share + 1) // shares):
        first = index * BLOCK_PIXELS
        count = min(BLOCK_PIXELS, pixels - first)
        locate(first, count, p.rows, p.columns, image, row, column)
        for channel in range(0, p.channels, BLOCK_CHANNELS):
            width = min(BLOCK_CHANNELS, p.channels - channel)
            pixel = 0
            while pixel < count:
                without_gaps = p.source_pixel == width == p.channels
                adjacent = min(count - pixel, p.columns - column[pixel]) if without_gaps else 1
                place = (
                    p.source_offset
                    + image[pixel] * p.source_image
                    + row[pixel] * p.source_row
                    + column[pixel] * p.source_pixel
                    + channel
                )
                if p.source_is_uint8:
                    octets = arena[place : place + adjacent * width]
                    x = block[pixel * width : (pixel + adjacent) * width]
                    convert_bytes(
                        octets, x, seen_as(constants, np.float32), p.table, channel, width
                    )
                else:
                    copy_span(block, pixel * width, floats, place, adjacent * width)
                pixel += adjacent
            rows_of_block = (block, width, channel, width, 0, image, row, column, count)
            call_address(run_program, (arena, constants, program, *rows_of_block))
