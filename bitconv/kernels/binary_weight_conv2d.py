"""Convolution of a float map with binary weights, which stay bits (arXiv 1603.05279, section 3.1).

    y[p, f] = Σ over runs of input channels of α[f, run] · (Σ over the run's window of ±x)

Each inner sum is that of `conv2d` with float weights −1 and +1, bit for bit. With one run, α is
left to the program. The ring around the map is zero, so padded taps add nothing.
"""

from __future__ import annotations

import numpy as np

from bitconv.kernels.binary_conv2d import add_scaled
from bitconv.kernels.block import block_scratch, sum_scratch
from bitconv.kernels.cache import kernel
from bitconv.kernels.linking import call_address
from bitconv.kernels.records import BINARY_WEIGHT_CONV2D, BLOCK_PIXELS
from bitconv.kernels.tiles import SIGN_FILTERS, SIGN_PIXELS, sign_tile
from bitconv.kernels.windows import locate_item

TILE_BLOCK = BLOCK_PIXELS // SIGN_PIXELS * SIGN_PIXELS  # whole tiles, so that no tile overlaps


@kernel
def sum_block(floats, weights, p, position, count, length, weight, sums):
    """``sums[pixel, filter] = Σ ±x`` over the windows, for the channels of one run."""
    for pixel in range(0, count, SIGN_PIXELS):
        sign_tile(
            floats,
            position[pixel:],
            weights,
            weight,
            p.kernel_rows,
            p.row_step,
            p.taps,
            p.tap_step,
            length,
            sums,
            pixel * SIGN_FILTERS,
        )


@kernel
def binary_weight_conv2d(arena, constants, parameters, program, run_program, images, share, shares):
    """One share of the (filter tile, pixel block) pairs, the filters of a tile for all pixels."""
    p = parameters.view(BINARY_WEIGHT_CONV2D)[0]
    floats = arena.view(np.float32)
    weights = constants.view(np.uint32)
    table = constants.view(np.int64)
    scales = constants.view(np.float32)
    start = p.scratch + share * p.scratch_step
    block, image, row, column, position = block_scratch(arena, start)
    sums = sum_scratch(arena, start) if p.scales >= 0 else block
    pixels = images * p.rows * p.columns
    blocks = (pixels + TILE_BLOCK - 1) // TILE_BLOCK
    items = blocks * p.groups * p.tiles
    for item in range(items * share // shares, items * (share + 1) // shares):
        group, tile, channel, filters, count = locate_item(
            p, p.tiles, item, blocks, pixels, TILE_BLOCK, SIGN_FILTERS, image, row, column, position
        )
        weight = p.weights + (group * p.tiles + tile) * p.filter_words * SIGN_FILTERS
        group_floats = floats[group * p.group_channels :]
        for run in range(p.runs):
            inside = group_floats[table[p.run_table + 3 * run] :]
            length = table[p.run_table + 3 * run + 1]
            skip = table[p.run_table + 3 * run + 2] * SIGN_FILTERS
            sum_block(inside, weights, p, position, count, length, weight + skip, sums)
            if p.scales >= 0:
                scale = p.scales + ((group * p.runs + run) * p.tiles + tile) * SIGN_FILTERS
                add_scaled(sums, SIGN_FILTERS, scales, scale, SIGN_FILTERS, count, run == 0, block)
        rows_of_block = (block, SIGN_FILTERS, channel, filters, group, image, row, column, count)
        call_address(run_program, (arena, constants, program, *rows_of_block))
