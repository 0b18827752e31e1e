"""DCT-CM: what it keeps exactly, what it is off by, and when it transforms."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_maps import KINDS, SEEDS, SHAPES, maps_of
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.fft import dct as scipy_dct

from bitconv.errors import GraphError, InputError
from bitconv.feature_maps import DctCm, ZeroMask, dct
from bitconv.feature_maps.dct_cm import FINEST, TransformedLevels
from bitconv.feature_maps.levels import EightBitLevels
from bitconv.kernels.dct_matrix import POINTS

A_KIND = st.sampled_from(sorted(KINDS))


def in_levels(levels: EightBitLevels, maps):
    return np.rint(maps / np.float32(levels.step)).astype(int) + levels.zero


@settings(max_examples=40, deadline=None)
@given(SHAPES, A_KIND, SEEDS)
def test_the_finest_coding_loses_nothing_of_the_8_bit_levels(shape, kind, seed):
    maps = maps_of(seed, shape, kind)
    codec = DctCm.calibrate(maps, coarseness=1)
    assert codec.mode == "raw"
    fine = EightBitLevels.calibrate(maps)
    expected = fine.restore(fine.quantize(maps[0]))
    np.testing.assert_array_equal(codec.decode(codec.encode(maps[0])), expected)


@settings(max_examples=60, deadline=None)
@given(SHAPES, A_KIND, SEEDS, st.floats(1, 255))
def test_without_the_transform_a_value_is_off_by_half_a_step(shape, kind, seed, coarseness):
    maps = maps_of(seed, shape, kind)
    fine = EightBitLevels.calibrate(maps)
    levels = EightBitLevels(fine.step * coarseness, fine.zero)
    codec = DctCm(levels, DctCm.calibrate(maps, coarseness=coarseness).code)
    assert codec.mode == "raw"
    off = np.abs(codec.decode(codec.encode(maps[0])) - maps[0])
    assert off.max() <= max(coarseness / 2, 1) * fine.step * 1.0001


@settings(max_examples=60, deadline=None)
@given(SHAPES, A_KIND, SEEDS, st.floats(FINEST, 255))
def test_with_the_transform_the_error_of_a_level_is_bounded(shape, kind, seed, coarseness):
    maps = maps_of(seed, shape, kind)
    fine = EightBitLevels.calibrate(maps)
    levels = TransformedLevels(fine, coarseness)
    off = in_levels(fine, levels.restore(levels.quantize(maps))) - fine.quantize(maps)
    assert np.abs(off).max() <= 1.4 * coarseness + 1


@pytest.mark.parametrize("zero", [0, 100, 255])
def test_no_coefficient_needs_more_than_a_signed_byte(zero):
    fine = EightBitLevels(1, zero)
    corners = np.array(np.meshgrid(*[[0, 255]] * POINTS)).reshape(POINTS, -1).T - zero
    levels = TransformedLevels(fine, FINEST)
    numbers = levels.quantize(corners.astype(np.float32))
    assert np.abs(numbers).max() <= 127
    assert np.abs(levels.restore(numbers) - corners).max() <= 1.4 * FINEST + 1


def test_the_integer_dct_is_that_of_real_numbers_but_for_its_rounded_matrix():
    rng = np.random.default_rng(0)
    distances = rng.integers(-255, 256, (50, 16)).astype(np.float32)
    expected = scipy_dct(distances.reshape(50, 2, 8), norm="ortho", axis=-1).reshape(50, 16)
    np.testing.assert_allclose(dct.forward(distances), expected, atol=8)
    again = dct.inverse(np.rint(dct.forward(distances)))
    np.testing.assert_allclose(again, distances, atol=2.5)


def test_channels_behind_the_last_whole_block_are_not_transformed():
    distances = np.arange(11, dtype=np.float32)[None]
    np.testing.assert_array_equal(dct.forward(distances)[:, 8:], distances[:, 8:])


def test_related_channels_are_transformed_and_sparse_ones_are_not():
    related = maps_of(0, (12, 12, 32), "related")
    assert DctCm.calibrate(related, coarseness=12).mode == "dct"
    assert DctCm.calibrate(maps_of(0, (12, 12, 32), "sparse"), coarseness=12).mode == "raw"


def test_the_transform_is_chosen_only_where_it_loses_no_more():
    for kind in KINDS:
        maps = maps_of(1, (12, 12, 32), kind)
        codec = DctCm.calibrate(maps, coarseness=10)
        fine = EightBitLevels.calibrate(maps)
        raw = EightBitLevels(10 * fine.step, fine.zero)
        found = np.stack([codec.decode(codec.encode(each)) for each in maps])
        allowed = np.square(raw.restore(raw.quantize(maps)) - maps).sum()
        assert np.square(found - maps).sum() <= allowed * 1.0001


@pytest.mark.parametrize("kind", KINDS)
def test_it_takes_fewer_bytes_than_a_zero_mask(kind):
    maps = maps_of(2, (16, 16, 32), kind)
    sizes = [
        len(codec.encode(maps[0])) for codec in (DctCm.calibrate(maps), ZeroMask.calibrate(maps))
    ]
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize("coarseness", [5.9, 256, np.inf, np.nan, "8", None])
def test_transformed_levels_that_do_not_exist_are_refused(coarseness):
    with pytest.raises(GraphError, match="the coarseness of DCT-CM"):
        TransformedLevels(EightBitLevels(1), coarseness)


@pytest.mark.parametrize("coarseness", [0.9, 256, np.nan, "4", None])
def test_a_coarseness_that_does_not_exist_is_refused(coarseness):
    with pytest.raises(InputError, match="coarseness"):
        DctCm.calibrate(np.ones((1, 2, 2, 3)), coarseness=coarseness)
