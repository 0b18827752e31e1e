"""The scratch memory of one thread: a block of values and the coordinates of its pixels."""

from __future__ import annotations

import numpy as np

from bitconv.kernels.cache import kernel
from bitconv.kernels.records import BLOCK_CHANNELS, BLOCK_PIXELS, PACKED_WORDS

_VALUES = BLOCK_PIXELS * BLOCK_CHANNELS * 4
_COORDINATES = BLOCK_PIXELS * 8
_WINDOWS = 2 * BLOCK_PIXELS * PACKED_WORDS * 8
SCRATCH_BYTES = 2 * _VALUES + 4 * _COORDINATES + _WINDOWS


@kernel
def block_scratch(arena, start):
    """Values (float32), image, row, column and position (int64) of a block, in the arena.

    `start` is a byte offset, a multiple of 64, with SCRATCH_BYTES behind it.
    """
    values = arena[start : start + _VALUES].view(np.float32)
    at = start + 2 * _VALUES
    image = arena[at : at + _COORDINATES].view(np.int64)
    row = arena[at + _COORDINATES : at + 2 * _COORDINATES].view(np.int64)
    column = arena[at + 2 * _COORDINATES : at + 3 * _COORDINATES].view(np.int64)
    position = arena[at + 3 * _COORDINATES : at + 4 * _COORDINATES].view(np.int64)
    return values, image, row, column, position


@kernel
def count_scratch(arena, start):
    """Counts (int32) of a block, beside its values."""
    return arena[start + _VALUES : start + 2 * _VALUES].view(np.int32)


@kernel
def sum_scratch(arena, start):
    """Sums (float32) of a block, beside its values."""
    return arena[start + _VALUES : start + 2 * _VALUES].view(np.float32)


@kernel
def window_scratch(start):
    """Offset (in words) of the packed windows of a block, behind its coordinates."""
    return (start + 2 * _VALUES + 4 * _COORDINATES) // 8
