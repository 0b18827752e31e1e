"""XNOR-Net's K: the mean of |x| over channels, then over the window.

A[p, g] = (Σ |x[p, c]| over the channels c of group g) / channels
K[q, g] = (Σ A[p, g] over the window of q, zero outside) / taps
"""

from __future__ import annotations

import numpy as np

from bitconv.kernels.jit import kernel, subroutine
from bitconv.kernels.records import SCALE_MAP
from bitconv.kernels.views import seen_as


@kernel
def activation_scale_map(
    arena, constants, parameters, program, run_program, images, thread, share, shares
):
    """One share of the images."""
    p = seen_as(parameters, SCALE_MAP)[0]
    floats = seen_as(arena, np.float32)
    for image in range(images * share // shares, images * (share + 1) // shares):
        means = p.means + image * p.height * p.width * p.groups
        _mean_magnitudes(floats, p, image, means)
        _box_filter(floats, p, image, means)


@subroutine
def _mean_magnitudes(floats, p, image, means):
    for y in range(p.height):
        for x in range(p.width):
            pixel = p.source_offset + image * p.source_image + y * p.source_row + x * p.source_pixel
            for group in range(p.groups):
                first = pixel + group * p.group_channels
                total = abs(floats[first])
                for c in range(1, p.group_channels):
                    total += abs(floats[first + c])
                at = means + (y * p.width + x) * p.groups + group
                floats[at] = total / np.float32(p.group_channels)


@subroutine
def _box_filter(floats, p, image, means):
    taps = np.float32(p.kernel_rows * p.kernel_columns)
    for row in range(p.rows):
        for column in range(p.columns):
            y = row * p.stride_rows - p.top
            x = column * p.stride_columns - p.left
            target = (
                p.target_offset
                + image * p.target_image
                + row * p.target_row
                + column * p.target_pixel
            )
            for group in range(p.groups):
                total = np.float32(0)
                for i in range(p.kernel_rows):
                    for j in range(p.kernel_columns):
                        tap_y, tap_x = y + i * p.dilation_rows, x + j * p.dilation_columns
                        if 0 <= tap_y < p.height and 0 <= tap_x < p.width:
                            total += floats[means + (tap_y * p.width + tap_x) * p.groups + group]
                floats[target + group] = total / taps
