"""The zeros of 8-bit levels taken out."""

from __future__ import annotations

import numpy as np
from drawn_maps import KINDS, SEEDS, SHAPES, maps_of
from hypothesis import given, settings
from hypothesis import strategies as st

from bitconv.feature_maps import EightBit, ZeroMask
from bitconv.feature_maps.codec import HEADER_BYTES
from bitconv.feature_maps.levels import EightBitLevels


def test_masks_come_first_and_then_what_they_keep():
    values = np.float32([0, 3, 0, 0, 255, 0, 0, 1, 0, 0, 7]).reshape(1, 11, 1)
    payload = ZeroMask(EightBitLevels(1)).encode(values)[HEADER_BYTES:]
    assert list(payload) == [0b10010010, 0b100, 3, 255, 1, 7]


def test_where_zero_is_not_level_zero_that_level_is_taken_out():
    values = np.float32([0, -5, 2]).reshape(1, 1, 3)
    payload = ZeroMask(EightBitLevels(1, zero=5)).encode(values)[HEADER_BYTES:]
    assert list(payload) == [0b110, 0 ^ 5, 7 ^ 5]


@settings(max_examples=60, deadline=None)
@given(SHAPES, st.sampled_from(sorted(KINDS)), SEEDS)
def test_nothing_of_the_8_bit_levels_is_lost(shape, kind, seed):
    maps = maps_of(seed, shape, kind)
    one, other = ZeroMask.calibrate(maps), EightBit.calibrate(maps)
    found, expected = (codec.decode(codec.encode(maps[0])) for codec in (one, other))
    np.testing.assert_array_equal(found, expected)
    kept = int((other.levels.quantize(maps[0]) != other.levels.zero).sum())
    assert len(one.encode(maps[0])) == HEADER_BYTES + one.least(shape) + kept
