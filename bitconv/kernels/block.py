"""The scratch memory of one thread: a block of values and the coordinates of its pixels."""

from __future__ import annotations

import numpy as np

from bitconv.kernels.cache import kernel
from bitconv.kernels.records import (
    BLOCK_CHANNELS,
    BLOCK_PIXELS,
    FLOAT_BLOCK_PIXELS,
    PACKED_WORDS,
    PANEL_STEPS,
)
from bitconv.kernels.tiles import FLOAT_FILTERS

_VALUES = FLOAT_BLOCK_PIXELS * BLOCK_CHANNELS * 4
_COORDINATES = FLOAT_BLOCK_PIXELS * 8
_OWN = _VALUES + 4 * _COORDINATES  # where that begins which only one kind of kernel has
_COUNTS = BLOCK_PIXELS * BLOCK_CHANNELS * 4
_WINDOWS = 2 * BLOCK_PIXELS * PACKED_WORDS * 8
_SUMS = FLOAT_BLOCK_PIXELS * FLOAT_FILTERS * 4
_PANEL = PANEL_STEPS * FLOAT_FILTERS * 4
SCRATCH_BYTES = _OWN + max(_COUNTS + _WINDOWS, _SUMS + _PANEL)


@kernel
def block_scratch(arena, start):
    """Values (float32), image, row, column and position (int64) of a block, in the arena.

    `start` is a byte offset, a multiple of 64, with SCRATCH_BYTES behind it.
    """
    values = arena[start : start + _VALUES].view(np.float32)
    at = start + _VALUES
    image = arena[at : at + _COORDINATES].view(np.int64)
    row = arena[at + _COORDINATES : at + 2 * _COORDINATES].view(np.int64)
    column = arena[at + 2 * _COORDINATES : at + 3 * _COORDINATES].view(np.int64)
    position = arena[at + 3 * _COORDINATES : at + 4 * _COORDINATES].view(np.int64)
    return values, image, row, column, position


@kernel
def count_scratch(arena, start):
    """Counts (int32) of a block of signs."""
    at = start + _OWN
    return arena[at : at + _COUNTS].view(np.int32)


@kernel
def window_scratch(start):
    """Offset (in words) of the packed windows of a block, behind its counts."""
    return (start + _OWN + _COUNTS) // 8


@kernel
def panel_scratch(arena, start):
    """Sums of a block and weights of a few steps (float32), both for one tile of filters."""
    at = start + _OWN
    sums = arena[at : at + _SUMS].view(np.float32)
    panel = arena[at + _SUMS : at + _SUMS + _PANEL].view(np.float32)
    return sums, panel
