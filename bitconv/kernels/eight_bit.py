"""Plain 8-bit levels."""

from __future__ import annotations

import numpy as np

from bitconv.kernels.cache import kernel
from bitconv.kernels.levels import quantize, restore
from bitconv.kernels.records import LEVELS


@kernel
def encode_eight_bit(values, channels, constants, scratch, out):
    """One byte a value."""
    p = constants.view(LEVELS)[0]
    if out.size < values.size:
        return -1
    quantize(values, np.float32(p.step), p.zero, out)
    return values.size


@kernel
def decode_eight_bit(data, channels, constants, scratch, values):
    """The inverse; any bytes will do if there are enough."""
    p = constants.view(LEVELS)[0]
    if data.size < values.size:
        return -1
    restore(data, np.float32(p.step), p.zero, values)
    return values.size
