"""Convolution of a float map with float weights.

    y[p, f] = Σ over the window of x · w, in float32 with fused multiply-adds where there are any

The ring around the map is zero, so padded taps add nothing.
"""

from __future__ import annotations

import numpy as np

from bitconv.kernels.block import block_scratch
from bitconv.kernels.cache import kernel
from bitconv.kernels.linking import call_address
from bitconv.kernels.records import BLOCK_PIXELS, CONV2D
from bitconv.kernels.tiles import FLOAT_FILTERS, FLOAT_PIXELS, fma_tile
from bitconv.kernels.windows import locate_item

TILE_BLOCK = BLOCK_PIXELS // FLOAT_PIXELS * FLOAT_PIXELS  # whole tiles, so that no tile overlaps


@kernel
def conv2d(arena, constants, parameters, program, run_program, images, share, shares):
    """One share of the (filter tile, pixel block) pairs, the filters of a tile for all pixels."""
    p = parameters.view(CONV2D)[0]
    floats = arena.view(np.float32)
    weights = constants.view(np.float32)
    block, image, row, column, position = block_scratch(arena, p.scratch + share * p.scratch_step)
    pixels = images * p.rows * p.columns
    blocks = (pixels + TILE_BLOCK - 1) // TILE_BLOCK
    items = blocks * p.groups * p.tiles
    for item in range(items * share // shares, items * (share + 1) // shares):
        group, tile, channel, filters, count = locate_item(
            p, item, blocks, pixels, TILE_BLOCK, FLOAT_FILTERS, image, row, column, position
        )
        terms = p.kernel_rows * p.taps * p.length
        weight = p.weights + (group * p.tiles + tile) * terms * FLOAT_FILTERS
        for pixel in range(0, count, FLOAT_PIXELS):
            fma_tile(
                floats[group * p.group_channels :],
                position[pixel:],
                weights,
                weight,
                p.kernel_rows,
                p.row_step,
                p.taps,
                p.tap_step,
                p.length,
                block,
                pixel * FLOAT_FILTERS,
            )
        rows_of_block = (block, FLOAT_FILTERS, channel, filters, group, image, row, column, count)
        call_address(run_program, (arena, constants, program, *rows_of_block))
