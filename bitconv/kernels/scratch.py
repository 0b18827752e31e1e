"""What lies where in the scratch memory of one thread, in bytes; `block.py` makes arrays of it."""

from __future__ import annotations

from bitconv.kernels.records import BLOCK_CHANNELS, BLOCK_PIXELS, PACKED_WORDS

BLOCK_VALUES = BLOCK_PIXELS * BLOCK_CHANNELS
COORDINATE_BYTES = BLOCK_PIXELS * 8
_VALUE_BYTES = BLOCK_VALUES * 4

SUMS = _VALUE_BYTES  # behind the values of the block
COORDINATES = SUMS + _VALUE_BYTES  # four arrays
WINDOWS = COORDINATES + 4 * COORDINATE_BYTES
SCRATCH_BYTES = WINDOWS + 2 * BLOCK_PIXELS * PACKED_WORDS * 8
