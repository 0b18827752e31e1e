"""8-bit levels of float maps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitconv.errors import GraphError
from bitconv.feature_maps.levels import EightBitLevels

FLOATS = st.floats(-1e6, 1e6, width=32)


def test_a_value_is_the_distance_of_its_level_from_the_level_of_zero():
    levels = EightBitLevels(step=0.5, zero=10)
    values = np.float32([-100, -5.0, -0.26, -0.0, 0.25, 0.75, 122.5, 1e30])
    assert levels.quantize(values).tolist() == [0, 0, 9, 10, 10, 12, 255, 255]
    assert levels.restore(np.uint8([0, 10, 255])).tolist() == [-5.0, 0.0, 122.5]


@given(st.lists(FLOATS, min_size=1, max_size=30))
def test_calibrated_levels_are_off_by_half_a_step_within_the_range(values):
    maps = np.float32(values)
    levels = EightBitLevels.calibrate(maps)
    off = np.abs(levels.restore(levels.quantize(maps)) - maps)
    assert off.max() <= levels.step * 1.01  # zero takes a level, which moves the others
    if min(values) >= 0:
        assert levels.zero == 0
        assert off.max() <= levels.step * 0.51


@given(st.lists(FLOATS, min_size=1, max_size=30))
def test_zero_is_always_kept_exactly(values):
    levels = EightBitLevels.calibrate(np.float32(values))
    assert levels.restore(levels.quantize(np.float32([0, -0.0]))).tolist() == [0, 0]


@given(st.lists(FLOATS, min_size=1, max_size=30))
def test_restored_values_have_the_levels_they_were_restored_from(values):
    levels = EightBitLevels.calibrate(np.float32(values))
    every = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(levels.quantize(levels.restore(every)), every)


def test_a_nan_is_the_lowest_level():
    assert EightBitLevels(step=1, zero=3).quantize(np.float32([np.nan])).tolist() == [0]


def test_nothing_but_zeros_can_be_calibrated():
    levels = EightBitLevels.calibrate(np.zeros((2, 3), np.float32))
    assert levels == EightBitLevels(step=1, zero=0)


@pytest.mark.parametrize("step", [0, -1, 1e-40, np.inf, np.nan, 1e39, "1", None])
def test_a_step_that_is_no_positive_normal_float32_is_refused(step):
    with pytest.raises(GraphError, match="the step of 8-bit levels"):
        EightBitLevels(step)


@pytest.mark.parametrize("zero", [-1, 256, 0.5, True, None])
def test_a_zero_that_is_no_level_is_refused(zero):
    with pytest.raises(GraphError, match="the zero of 8-bit levels"):
        EightBitLevels(1, zero)
