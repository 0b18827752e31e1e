"""The strips of a map, each of which is encoded by itself.

A strip fits into the first-level cache with all that is made of it, and a reader has only one of
them decoded at a time.
"""

from __future__ import annotations

from bitconv.kernels.cache import kernel
from bitconv.kernels.records import STRIP_VALUES


@kernel
def strip_pixels(channels):
    """Pixels of a strip, all channels of each."""
    return max(1, STRIP_VALUES // channels)
