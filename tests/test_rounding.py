"""How far two float32 computations of a layer may lie apart."""

import numpy as np
import pytest
from engine import random_bits

from bitconv.operators import BatchNorm, BinaryConv2d, BinaryDense, Conv2d, Dense, Relu
from bitconv.rounding import ROUNDING, allowed_difference
from bitconv.scales import ScaleGrid

RNG = np.random.default_rng(0)
MAP = RNG.normal(size=(2, 5, 4, 6)).astype(np.float32)


def test_terms_that_cancel_count_by_their_magnitudes():
    dense = Dense(np.array([[1000.0, -1000.0], [0.5, 0.25]]), np.array([1.0, -1.0]))
    vector = np.ones((1, 2), np.float32)
    found = allowed_difference(dense, [vector], dense.reference(vector))
    np.testing.assert_allclose(found, ROUNDING * np.array([[2001.0, 1.75]]))


def test_the_largest_result_counts_everywhere():
    relu = Relu()
    values = np.array([[-3.0, 0.0, 2.0]], np.float32)
    found = allowed_difference(relu, [values], relu.reference(values))
    np.testing.assert_allclose(found, np.full((1, 3), 2 * ROUNDING))


def test_a_batch_norm_of_a_channel_that_hardly_varies_subtracts_large_numbers():
    norm = BatchNorm([[1.0], [0.0], [1000.0], [1.0]], epsilon=0.0)
    values = np.full((1, 1), 1000.5, np.float32)
    found = allowed_difference(norm, [values], norm.reference(values))
    np.testing.assert_allclose(found, [[2000.5 * ROUNDING]])


GRID = ScaleGrid(RNG.normal(size=(3, 2)), 3, 3)


@pytest.mark.parametrize(
    ("operator", "values"),
    [
        (Conv2d(RNG.normal(size=(7, 3, 2, 6)), RNG.normal(size=7), padding=1), MAP),
        (BinaryConv2d(random_bits(RNG, 7, 3, 3, 6), GRID, RNG.normal(size=7), padding=1), MAP),
        (BinaryConv2d(random_bits(RNG, 7, 3, 3, 6), padding=1, pad_value=-1), np.sign(MAP)),
        (BinaryDense(random_bits(RNG, 7, 6), GRID), MAP[:, 0, 0]),
    ],
    ids=["float", "binary weights", "signs", "dense"],
)
def test_no_signs_of_the_input_give_a_sum_beyond_the_magnitudes(operator, values):
    values = values.astype(np.int8) if np.abs(values).max() == 1 else values
    allowed = allowed_difference(operator, [values], operator.reference(values))
    for _ in range(20):
        flipped = values * RNG.choice([-1, 1], values.shape).astype(values.dtype)
        assert (ROUNDING * np.abs(operator.reference(flipped)) <= allowed * (1 + 1e-6)).all()
