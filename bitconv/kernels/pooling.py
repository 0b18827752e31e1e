"""Maximum and average over windows, with the pointwise program behind them."""

from __future__ import annotations

import numpy as np

from bitconv.kernels.block import block_scratch
from bitconv.kernels.jit import kernel, subroutine
from bitconv.kernels.linking import call_address
from bitconv.kernels.program import WORD_BYTES, clear_ring, locate
from bitconv.kernels.records import BLOCK_CHANNELS, BLOCK_PIXELS, POOL, POOL_BITS
from bitconv.kernels.views import seen_as


@subroutine
def inside(start, length, limit):
    """The part [first, end) of a window's taps that lies on the map."""
    return max(0, -start), min(length, limit - start)


@subroutine
def _max_of_window(floats, place, p, top, bottom, left, right, x):
    """The largest value of each channel; NaN where a tap is NaN, as in NumPy.

    Three taps at a time; where there are fewer, the last one counts again. LLVM makes vectors of
    this, but not of one tap at a time.
    """
    for c in range(len(x)):
        x[c] = -np.inf
    for i in range(top, bottom):
        row = place + i * p.source_row
        for j in range(left, right, 3):
            first = row + j * p.source_pixel
            second = row + min(j + 1, right - 1) * p.source_pixel
            third = row + min(j + 2, right - 1) * p.source_pixel
            one = floats[first : first + len(x)]
            two = floats[second : second + len(x)]
            three = floats[third : third + len(x)]
            for c in range(len(x)):
                largest = _larger(x[c], one[c])
                x[c] = _larger(_larger(largest, two[c]), three[c])


@subroutine
def _larger(x, y):
    return x if (x >= y) | (x != x) else y


@subroutine
def _mean_of_window(floats, place, p, top, bottom, left, right, x):
    """The sum of each channel from zero, tap by tap, divided by the number of taps."""
    for c in range(len(x)):
        x[c] = 0
    for i in range(top, bottom):
        for j in range(left, right):
            tap = place + i * p.source_row + j * p.source_pixel
            read = floats[tap : tap + len(x)]
            for c in range(len(x)):
                x[c] += read[c]
    taps = (bottom - top) * (right - left)
    if p.count_padding:
        taps = p.kernel_rows * p.kernel_columns
    for c in range(len(x)):
        x[c] /= np.float32(taps)


@kernel
def pool2d(arena, constants, parameters, program, run_program, images, thread, share, shares):
    """``y = program(max or mean over the window of x)`` for one share of the pixels."""
    p = seen_as(parameters, POOL)[0]
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
            for pixel in range(count):
                y = row[pixel] * p.stride_rows - p.top
                x = column[pixel] * p.stride_columns - p.left
                top, bottom = inside(y, p.kernel_rows, p.height)
                left, right = inside(x, p.kernel_columns, p.width)
                place = (
                    p.source_offset
                    + image[pixel] * p.source_image
                    + y * p.source_row
                    + x * p.source_pixel
                    + channel
                )
                values = block[pixel * width : (pixel + 1) * width]
                if p.largest:
                    _max_of_window(floats, place, p, top, bottom, left, right, values)
                else:
                    _mean_of_window(floats, place, p, top, bottom, left, right, values)
            rows_of_block = (block, width, channel, width, 0, image, row, column, count)
            call_address(run_program, (arena, constants, program, *rows_of_block))


@kernel
def max_pool2d_bits(
    arena, constants, parameters, program, run_program, images, thread, share, shares
):
    """The largest sign of each window: +1, bit 0, beats −1, so it is the AND of the words."""
    p = seen_as(parameters, POOL_BITS)[0]
    words = seen_as(arena, np.uint64)
    turned = seen_as(constants, np.uint64)
    for index in range(images * p.rows * share // shares, images * p.rows * (share + 1) // shares):
        n, row = index // p.rows, index % p.rows
        target = p.target_offset + n * p.target_image
        if row == 0:
            clear_ring(
                arena,
                WORD_BYTES,
                target,
                p.target_row,
                p.target_pixel,
                p.rows,
                p.columns,
                p.target_top,
                p.target_left,
                p.target_bottom,
                p.target_right,
            )
        y = row * p.stride_rows - p.top
        top, bottom = inside(y, p.kernel_rows, p.height)
        for column in range(p.columns):
            x = column * p.stride_columns - p.left
            left, right = inside(x, p.kernel_columns, p.width)
            place = p.source_offset + n * p.source_image + y * p.source_row + x * p.source_pixel
            for word in range(p.words):
                bits = ~np.uint64(0)
                for i in range(top, bottom):
                    for j in range(left, right):
                        bits &= words[place + i * p.source_row + j * p.source_pixel + word]
                if p.turned >= 0:
                    bits ^= turned[p.turned + word]
                words[target + row * p.target_row + column * p.target_pixel + word] = bits
