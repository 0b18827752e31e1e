"""Convolution of a float map with binary weights, which stay bits (arXiv 1603.05279, section 3.1).

    y[p, f] = Σ over runs of input channels of α[f, run] · (Σ over the run's window of ±x)

Each inner sum is that of `conv2d` with float weights −1 and +1, bit for bit: the same products in
the same order. With one run, α is left to the program. The ring around the map is zero, so padded
taps add nothing.

The bits of a few taps at a time become floats in a panel of some kilobytes, which stays in the
first-level cache while all pixels of the block are multiplied with it. That costs a thirtieth of
the time of the products; made in registers for every tile anew, the floats would cost a quarter.
"""

from __future__ import annotations

import numpy as np

from bitconv.kernels.binary_conv2d import add_scaled
from bitconv.kernels.block import block_scratch, panel_scratch, sum_scratch
from bitconv.kernels.conv2d import STRIP_FILTERS, TILE_BLOCK, TILES_AT_ONCE
from bitconv.kernels.jit import kernel, subroutine
from bitconv.kernels.linking import call_address
from bitconv.kernels.records import BINARY_WEIGHT_CONV2D, PANEL_STEPS
from bitconv.kernels.tile_shapes import FLOAT_FILTERS, FLOAT_PIXELS
from bitconv.kernels.tiles import expand_signs, more_fma_tile
from bitconv.kernels.views import seen_as
from bitconv.kernels.windows import locate_item

OCTETS = FLOAT_FILTERS // 8  # of a tile's weights for one step


@subroutine
def panel_part(rows, taps, length):
    """How many kernel rows, taps and channels go into the panel together."""
    if length > PANEL_STEPS:
        return 1, 1, PANEL_STEPS
    if taps * length > PANEL_STEPS:
        return 1, PANEL_STEPS // length, length
    return min(rows, PANEL_STEPS // (taps * length)), taps, length


@subroutine
def add_run(floats, bits, weight, p, position, count, length, panel, sums, step):
    """``sums[pixel · step + filter] += Σ ±x`` over the windows, for the channels of a run."""
    part_rows, part_taps, part_length = panel_part(p.kernel_rows, p.taps, length)
    for row in range(0, p.kernel_rows, part_rows):
        rows = min(part_rows, p.kernel_rows - row)
        for tap in range(0, p.taps, part_taps):
            taps = min(part_taps, p.taps - tap)
            for k in range(0, length, part_length):
                channels = min(part_length, length - k)
                octet = weight + ((row * p.taps + tap) * length + k) * OCTETS
                expand_signs(bits, octet, panel, rows * taps * channels)
                inside = floats[row * p.row_step + tap * p.tap_step + k :]
                for pixel in range(0, count, FLOAT_PIXELS):
                    more_fma_tile(
                        inside,
                        position[pixel:],
                        panel,
                        0,
                        rows,
                        p.row_step,
                        taps,
                        p.tap_step,
                        channels,
                        sums,
                        pixel * step,
                        step,
                    )


@subroutine
def clear(floats, length):
    """Zero the first numbers of an array."""
    for index in range(length):
        floats[index] = 0


@kernel
def binary_weight_conv2d(
    arena, constants, parameters, program, run_program, images, thread, share, shares
):
    """One share of the (group of tiles, pixel block) pairs, as `conv2d` divides them."""
    p = seen_as(parameters, BINARY_WEIGHT_CONV2D)[0]
    floats = seen_as(arena, np.float32)
    table = seen_as(constants, np.int64)
    scales = seen_as(constants, np.float32)
    start = p.scratch + thread * p.scratch_step
    block, image, row, column, position = block_scratch(arena, start)
    apart, panel = sum_scratch(arena, start), panel_scratch(arena, start)
    pixels = images * p.rows * p.columns
    blocks = (pixels + TILE_BLOCK - 1) // TILE_BLOCK
    strips = (p.tiles + TILES_AT_ONCE - 1) // TILES_AT_ONCE
    items = blocks * p.groups * strips
    for item in range(items * share // shares, items * (share + 1) // shares):
        group, strip, channel, filters, count = locate_item(
            p, strips, item, blocks, pixels, TILE_BLOCK, STRIP_FILTERS, image, row, column, position
        )
        first_tile = strip * TILES_AT_ONCE
        tiles = min(TILES_AT_ONCE, p.tiles - first_tile)
        width = tiles * FLOAT_FILTERS
        if p.scales < 0:
            clear(block, TILE_BLOCK * width)
        for tile in range(tiles):
            number = group * p.tiles + first_tile + tile
            beside = block[tile * FLOAT_FILTERS :]
            for run in range(p.runs):
                entry = p.run_table + 3 * run
                inside = floats[group * p.group_channels + table[entry] :]
                length = table[entry + 1]
                weight = p.weights + (number * p.depth + table[entry + 2]) * OCTETS
                if p.scales < 0:
                    sums, step = beside, width
                else:
                    sums, step = apart, FLOAT_FILTERS
                    clear(sums, TILE_BLOCK * FLOAT_FILTERS)
                add_run(inside, constants, weight, p, position, count, length, panel, sums, step)
                if p.scales >= 0:
                    scale = (group * p.runs + run) * p.tiles + first_tile + tile
                    at = p.scales + scale * FLOAT_FILTERS
                    add_scaled(
                        sums, step, scales, at, FLOAT_FILTERS, count, run == 0, beside, width
                    )
        rows_of_block = (block, width, channel, filters, group, image, row, column, count)
        call_address(run_program, (arena, constants, program, *rows_of_block))
