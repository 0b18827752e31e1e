"""What one core can do at most."""

import numpy as np

from bitconv.cost import Cost
from bitconv.kernels.registry import function
from bitconv.kernels.roofline import CHAINS, FLOATS, WORDS
from bitconv.roofline import Roofline, measure_roofline


def repeated(memory, lanes):
    """The first vector of a memory as often as it takes to fill it."""
    return np.resize(memory[:lanes], memory.shape)


def test_the_chains_of_signs_add_the_bits_that_differ_from_the_first_vector():
    words = np.random.default_rng(0).integers(0, 2**63, WORDS, dtype=np.uint64)
    expected, weights = words.copy(), repeated(words, WORDS // CHAINS)
    for _ in range(3):
        expected += np.bitwise_count(expected ^ weights)
    function("popcount_chains")(3, words.ctypes.data)
    np.testing.assert_array_equal(words, expected)


def test_the_chains_of_floats_multiply_and_add_the_first_vector():
    values = np.linspace(0.1, 0.9, FLOATS, dtype=np.float32)
    expected, weights = values.astype(np.float64), repeated(values, FLOATS // CHAINS)
    for _ in range(3):
        expected = expected * weights + weights
    function("multiply_chains")(3, values.ctypes.data)
    np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_both_rates_are_measured():
    found = measure_roofline()
    assert found.signs > found.floats > 0


def test_a_layer_takes_at_least_its_products_at_those_rates():
    roofline = Roofline(signs=100.0, floats=10.0)
    assert roofline.seconds(Cost(binary_macs=200)) == 2
    assert roofline.seconds(Cost(additions=20, float_macs=30)) == 5
    assert roofline.seconds(Cost(binary_macs=200, float_macs=30)) == 5
    assert roofline.seconds(Cost()) == 0
