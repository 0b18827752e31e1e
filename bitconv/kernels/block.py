"""The scratch memory of one thread: a block of values and the coordinates of its pixels."""

from __future__ import annotations

from numba import float32, int32, int64

from bitconv.kernels.jit import subroutine
from bitconv.kernels.records import FLOAT_BLOCK_PIXELS
from bitconv.kernels.scratch import (
    BLOCK_VALUES,
    COORDINATE_BYTES,
    COORDINATES,
    COUNT_VALUES,
    COUNTS,
    PANEL,
    PANEL_VALUES,
    SUM_VALUES,
    SUMS,
    WINDOWS,
)
from bitconv.kernels.views import part_of

_values = part_of(0, BLOCK_VALUES, float32)
_image, _row, _column, _position = (
    part_of(COORDINATES + index * COORDINATE_BYTES, FLOAT_BLOCK_PIXELS, int64) for index in range(4)
)

# What only some kernels have: ``(arena, start)``.
count_scratch = part_of(COUNTS, COUNT_VALUES, int32)  # of a block of signs
sum_scratch = part_of(SUMS, SUM_VALUES, float32)  # of a block, for one tile of filters
panel_scratch = part_of(PANEL, PANEL_VALUES, float32)  # weights of a few steps, for one tile


@subroutine
def block_scratch(arena, start):
    """Values (float32), image, row, column and position (int64) of a block, in the arena.

    `start` is a byte offset, a multiple of 64, with SCRATCH_BYTES behind it.
    """
    return (
        _values(arena, start),
        _image(arena, start),
        _row(arena, start),
        _column(arena, start),
        _position(arena, start),
    )


@subroutine
def window_scratch(start):
    """Offset (in words) of the packed windows of a block, behind its counts."""
    return (start + WINDOWS) // 8
