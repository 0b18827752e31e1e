"""A pointwise program on a map that no kernel before it computes: images, or maps read again."""

from __future__ import annotations

import numpy as np

from bitconv.kernels.block import block_scratch
from bitconv.kernels.cache import kernel
from bitconv.kernels.linking import call_address
from bitconv.kernels.program import locate
from bitconv.kernels.records import BLOCK_CHANNELS, BLOCK_PIXELS, POINTWISE


@kernel
def pointwise(arena, constants, parameters, program, run_program, images, share, shares):
    """``y[p, c] = program(x[p, c])`` for one share of the pixels."""
    p = parameters.view(POINTWISE)[0]
    floats = arena.view(np.float32)
    block, image, row, column, _ = block_scratch(arena, p.scratch + share * p.scratch_step)
    pixels = images * p.rows * p.columns
    blocks = (pixels + BLOCK_PIXELS - 1) // BLOCK_PIXELS
    for index in range(blocks * share // shares, blocks * (share + 1) // shares):
        first = index * BLOCK_PIXELS
        count = min(BLOCK_PIXELS, pixels - first)
        locate(first, count, p.rows, p.columns, image, row, column)
        for channel in range(0, p.channels, BLOCK_CHANNELS):
            width = min(BLOCK_CHANNELS, p.channels - channel)
            for pixel in range(count):
                place = (
                    p.source_offset
                    + image[pixel] * p.source_image
                    + row[pixel] * p.source_row
                    + column[pixel] * p.source_pixel
                    + channel
                )
                x = block[pixel * width : (pixel + 1) * width]
                if p.source_is_uint8:
                    octets = arena[place : place + width]
                    for c in range(width):
                        x[c] = np.float32(octets[c])
                else:
                    read = floats[place : place + width]
                    for c in range(width):
                        x[c] = read[c]
            rows_of_block = (block, width, channel, width, 0, image, row, column, count)
            call_address(run_program, (arena, constants, program, *rows_of_block))
