"""What lies where in the scratch memory of one thread, in bytes; `block.py` makes arrays of it."""

from __future__ import annotations

from bitconv.kernels.records import (
    BLOCK_CHANNELS,
    BLOCK_PIXELS,
    FLOAT_BLOCK_PIXELS,
    PACKED_WORDS,
    PANEL_STEPS,
)
from bitconv.kernels.tile_shapes import FLOAT_FILTERS

BLOCK_VALUES = FLOAT_BLOCK_PIXELS * BLOCK_CHANNELS
COORDINATE_BYTES = FLOAT_BLOCK_PIXELS * 8
COUNT_VALUES = BLOCK_PIXELS * BLOCK_CHANNELS
SUM_VALUES = FLOAT_BLOCK_PIXELS * FLOAT_FILTERS
PANEL_VALUES = PANEL_STEPS * FLOAT_FILTERS

COORDINATES = BLOCK_VALUES * 4  # behind the values of the block; four arrays
COUNTS = SUMS = COORDINATES + 4 * COORDINATE_BYTES  # of bits or of floats: no kernel has both
WINDOWS = COUNTS + COUNT_VALUES * 4
PANEL = SUMS + SUM_VALUES * 4
SCRATCH_BYTES = max(WINDOWS + 2 * BLOCK_PIXELS * PACKED_WORDS * 8, PANEL + PANEL_VALUES * 4)
