"""Operations on short runs of adjacent numbers, against NumPy."""

import numpy as np
import pytest
from guarded import GuardedMemory, at_both_ends, posix_only
from numba import njit

from bitconv.kernels import spans


def compiled(span):
    """The operation as a function."""

    @njit
    def run(x, x_first, y, y_first, length):
        span(x, x_first, y, y_first, length)

    return run


add, multiply, divide, prelu, copy, dot = (
    compiled(span)
    for span in (
        spans.add_span,
        spans.multiply_span,
        spans.divide_span,
        spans.prelu_span,
        spans.copy_span,
        spans.dot_span,
    )
)

OPERATIONS = [
    pytest.param(add, lambda x, y: x + y, np.float32, np.float32, id="add"),
    pytest.param(
        compiled(spans.multiply_span), lambda x, y: x * y, np.float32, np.float32, id="multiply"
    ),
    pytest.param(
        compiled(spans.divide_span), lambda x, y: x / y, np.float32, np.float32, id="divide"
    ),
    pytest.param(prelu, lambda x, y: np.where(x > 0, x, x * y), np.float32, np.float32, id="prelu"),
    pytest.param(copy, lambda _x, y: y, np.float32, np.float32, id="copy"),
    pytest.param(dot, lambda x, y: y - 2 * x, np.int32, np.int32, id="dot"),
]


@pytest.mark.parametrize(("operate", "expected", "x_type", "y_type"), OPERATIONS)
@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 64, 70])
def test_runs_equal_numpy_and_nothing_beside_them_changes(
    operate, expected, x_type, y_type, length
):
    rng = np.random.default_rng(length)
    x = (rng.standard_normal(length + 5) * 100).astype(x_type)
    y = (rng.standard_normal(length + 4) * 100).astype(y_type)
    outcome = x.copy()
    outcome[3 : 3 + length] = expected(x[3 : 3 + length], y[2 : 2 + length])
    operate(x, 3, y, 2, length)
    np.testing.assert_array_equal(x, outcome)


def test_nan_stays_nan():
    x = np.array([np.nan, -1.0], np.float32)
    prelu(x, 0, np.array([0.5, np.nan], np.float32), 0, 2)
    assert np.isnan(x).all()


@njit
def relu(x, first, length):
    spans.relu_span(x, first, length)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 64, 70])
def test_a_rectifier_equals_numpy_and_nothing_beside_it_changes(length):
    x = np.random.default_rng(length).standard_normal(length + 5).astype(np.float32)
    outcome = x.copy()
    outcome[3 : 3 + length] = np.where(x[3 : 3 + length] > 0, x[3 : 3 + length], 0)
    relu(x, 3, length)
    np.testing.assert_array_equal(x, outcome)


def test_a_rectifier_leaves_no_nan_and_no_negative_zero():
    x = np.array([np.nan, -0.0, -np.inf, np.inf] * 5, np.float32)
    relu(x, 0, len(x))
    np.testing.assert_array_equal(x, np.array([0, 0, 0, np.inf] * 5, np.float32))
    assert not np.signbit(x).any()


@njit
def rescale(x, x_first, y, y_first, z_first, w_first, length):
    spans.rescale_span(x, x_first, y, y_first, y, z_first, y, w_first, length)


@njit
def float_dot(x, x_first, bases, first_base, counts, first_count, length):
    spans.float_dot_span(x, x_first, bases, first_base, counts, first_count, length)


@pytest.mark.parametrize("length", [1, 8, 21])
def test_rescaling_rounds_after_every_operation(length):
    rng = np.random.default_rng(length)
    x = rng.standard_normal(length + 1).astype(np.float32)
    numbers = rng.standard_normal(3 * length).astype(np.float32)
    y, z, w = numbers.reshape(3, length)
    expected = [x[0], *((x[1:] * y) * z + w)]
    rescale(x, 1, numbers, 0, length, 2 * length, length)
    np.testing.assert_array_equal(x, np.array(expected, np.float32))


@pytest.mark.parametrize("length", [1, 8, 21])
def test_counts_become_float_dot_products(length):
    rng = np.random.default_rng(length)
    bases, counts = (rng.integers(0, 5000, length + first).astype(np.int32) for first in (1, 2))
    x = np.full(length + 2, np.nan, np.float32)
    float_dot(x, 1, bases, 1, counts, 2, length)
    expected = (bases[1:] - 2 * counts[2:]).astype(np.float32)
    np.testing.assert_array_equal(x, [np.nan, *expected, np.nan])


@posix_only
@at_both_ends
@pytest.mark.parametrize(("operate", "expected", "x_type", "y_type"), OPERATIONS)
@pytest.mark.parametrize("length", [1, 8, 13])
def test_runs_touch_nothing_outside_their_arrays(operate, expected, x_type, y_type, length, at_end):
    guarded = GuardedMemory(at_end)
    x, y = guarded.copy(np.ones(length, x_type)), guarded.copy(np.ones(length, y_type))
    outcome = expected(x.copy(), y)
    operate(x, 0, y, 0, length)
    np.testing.assert_array_equal(x, outcome)
