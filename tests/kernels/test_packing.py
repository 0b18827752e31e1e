"""Comparisons stored as bits, against NumPy."""

import numpy as np
import pytest
from guarded import GuardedMemory, at_both_ends, posix_only
from numba import njit

from bitconv.kernels import packing


def compiled(pack):
    """The comparison as a function."""

    @njit
    def run(x, first, limits, limit, count, target, place):
        pack(x, first, limits, limit, count, target, place)

    return run


below, not_above = compiled(packing.pack_below), compiled(packing.pack_not_above)
word_below, word_not_above = (
    compiled(pack) for pack in (packing.pack_word_below, packing.pack_word_not_above)
)

COMPARISONS = [
    pytest.param(below, np.less, np.float32, id="below"),
    pytest.param(not_above, np.less_equal, np.float32, id="not above"),
    pytest.param(not_above, np.less_equal, np.int32, id="not above, int32"),
]


@pytest.mark.parametrize(("pack", "compare", "dtype"), COMPARISONS)
@pytest.mark.parametrize("count", [0, 8, 16, 128])
def test_comparisons_become_bits(pack, compare, dtype, count):
    rng = np.random.default_rng(count)
    values = rng.integers(-2, 3, count + 3).astype(dtype)  # so few values that many are equal
    thresholds = rng.integers(-2, 3, count + 5).astype(dtype)
    bits = np.full(count // 8 + 3, 0xA5, np.uint8)
    pack(values, 3, thresholds, 5, count, bits, 2)
    expected = np.packbits(compare(values[3:], thresholds[5:]), bitorder="little")
    np.testing.assert_array_equal(bits, [0xA5, 0xA5, *expected, 0xA5])


@pytest.mark.parametrize("pack", [below, not_above])
def test_a_comparison_with_nan_is_false(pack):
    values = np.array([np.nan, 1, np.nan, 1, -np.inf, np.inf, -1, -1], np.float32)
    thresholds = np.array([1, np.nan, np.nan, -1, np.nan, 2, 2, np.inf], np.float32)
    bits = np.zeros(1, np.uint8)
    pack(values, 0, thresholds, 0, 8, bits, 0)
    assert bits[0] == 0b11000000


def test_zeros_of_both_signs_compare_equal():
    values = np.array([0.0, -0.0] * 4, np.float32)
    thresholds = np.array([-0.0, 0.0] * 4, np.float32)
    bits = np.zeros(2, np.uint8)
    below(values, 0, thresholds, 0, 8, bits, 0)
    not_above(values, 0, thresholds, 0, 8, bits, 1)
    np.testing.assert_array_equal(bits, [0, 255])


def test_limits_of_int32_compare_as_signed():
    extremes = np.iinfo(np.int32)
    values = np.array([extremes.min, extremes.max] * 4, np.int32)
    thresholds = np.array([extremes.max, extremes.min] * 4, np.int32)
    bits = np.zeros(1, np.uint8)
    not_above(values, 0, thresholds, 0, 8, bits, 0)
    assert bits[0] == 0b01010101


@pytest.mark.parametrize(
    ("pack", "compare", "dtype"),
    [
        pytest.param(word_below, np.less, np.float32, id="below"),
        pytest.param(word_not_above, np.less_equal, np.float32, id="not above"),
        pytest.param(word_not_above, np.less_equal, np.int32, id="not above, int32"),
    ],
)
@pytest.mark.parametrize("count", [8, 24, 64])
def test_a_word_is_zero_beyond_its_comparisons(pack, compare, dtype, count):
    rng = np.random.default_rng(count)
    values, limits = (rng.integers(-2, 3, count + 3).astype(dtype) for _ in range(2))
    words = np.full(3, 0xA5A5A5A5A5A5A5A5, np.uint64)
    pack(values, 3, limits, 3, count, words, 1)
    bits = np.packbits(compare(values[3:], limits[3:]), bitorder="little")
    expected = int.from_bytes(bits.tobytes(), "little")
    np.testing.assert_array_equal(words, [0xA5A5A5A5A5A5A5A5, expected, 0xA5A5A5A5A5A5A5A5])


@posix_only
@at_both_ends
@pytest.mark.parametrize(("pack", "compare", "dtype"), COMPARISONS)
def test_comparisons_touch_nothing_outside_their_arrays(pack, compare, dtype, at_end):
    guarded = GuardedMemory(at_end)
    values = guarded.copy(np.arange(24).astype(dtype))
    thresholds = guarded.copy(np.full(24, 12, dtype))
    bits = guarded.copy(np.zeros(3, np.uint8))
    pack(values, 0, thresholds, 0, 24, bits, 0)
    expected = np.packbits(compare(values, thresholds), bitorder="little")
    np.testing.assert_array_equal(bits, expected)
