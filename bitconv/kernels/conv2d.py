"""Convolution of a float map with float weights.

    y[p, f] = Σ over the window of x · w, in float32 with fused multiply-adds where there are any

The ring around the map is zero, so padded taps add nothing.
"""

from __future__ import annotations

import numpy as np

from bitconv.kernels.block import block_scratch
from bitconv.kernels.jit import kernel
from bitconv.kernels.linking import call_address
from bitconv.kernels.records import BLOCK_CHANNELS, CONV2D, FLOAT_BLOCK_PIXELS
from bitconv.kernels.tile_shapes import FLOAT_FILTERS, FLOAT_PIXELS
from bitconv.kernels.tiles import fma_tile
from bitconv.kernels.views import seen_as
from bitconv.kernels.windows import locate_item

# Whole tiles, so that no tile overlaps.
TILE_BLOCK = FLOAT_BLOCK_PIXELS // FLOAT_PIXELS * FLOAT_PIXELS
TILES_AT_ONCE = BLOCK_CHANNELS // FLOAT_FILTERS
STRIP_FILTERS = TILES_AT_ONCE * FLOAT_FILTERS


@kernel
def conv2d(arena, constants, parameters, program, run_program, images, thread, share, shares):
    """One share of the (group of tiles, pixel block) pairs, the filters of a group for all pixels.

    The sums of several tiles are put side by side, so that the program runs once for all of them
    and stores longer runs of channels.
    """
    p = seen_as(parameters, CONV2D)[0]
    floats = seen_as(arena, np.float32)
    weights = seen_as(constants, np.float32)
    start = p.scratch + thread * p.scratch_step
    block, image, row, column, position = block_scratch(arena, start)
    pixels = images * p.rows * p.columns
    blocks = (pixels + TILE_BLOCK - 1) // TILE_BLOCK
    strips = (p.tiles + TILES_AT_ONCE - 1) // TILES_AT_ONCE
    terms = p.kernel_rows * p.taps * p.length
    items = blocks * p.groups * strips
    for item in range(items * share // shares, items * (share + 1) // shares):
        group, strip, channel, filters, count = locate_item(
            p, strips, item, blocks, pixels, TILE_BLOCK, STRIP_FILTERS, image, row, column, position
        )
        tiles = min(TILES_AT_ONCE, p.tiles - strip * TILES_AT_ONCE)
        width = tiles * FLOAT_FILTERS
        inside = floats[group * p.group_channels :]
        for tile in range(tiles):
            number = group * p.tiles + strip * TILES_AT_ONCE + tile
            weight = p.weights + number * terms * FLOAT_FILTERS
            for pixel in range(0, count, FLOAT_PIXELS):
                fma_tile(
                    inside,
                    position[pixel:],
                    weights,
                    weight,
                    p.kernel_rows,
                    p.row_step,
                    p.taps,
                    p.tap_step,
                    p.length,
                    block,
                    pixel * width + tile * FLOAT_FILTERS,
                    width,
                )
        rows_of_block = (block, width, channel, filters, group, image, row, column, count)
        call_address(run_program, (arena, constants, program, *rows_of_block))
