"""Integer thresholds against every dot product that there is."""

import math

import numpy as np
import pytest
from engine import random_bits, random_norm
from hypothesis import given, settings
from hypothesis import strategies as st

from bitconv.compiler.thresholds import integer_sign, is_monotone
from bitconv.graph import Node
from bitconv.operators import (
    Add,
    BatchNorm,
    BinaryConv2d,
    Clip,
    Multiply,
    PRelu,
    Relu,
    Sign,
    Softmax,
)
from bitconv.scales import ScaleGrid

FILTERS = 12


def chain_of(*operators):
    return [Node(f"node{index}", operator, "x") for index, operator in enumerate(operators)]


def every_dot(convolution):
    """(dots, filters): all integers that a dot product can be, and those it cannot for parity."""
    bound = math.prod(convolution.weight_shape[1:])
    return np.repeat(np.arange(-bound, bound + 1, dtype=np.int32)[:, None], FILTERS, axis=1)


def reference_bits(convolution, chain, sign):
    values = convolution.rescale([every_dot(convolution)])
    for node in chain:
        values = node.operator.reference(values)
    return sign.reference(values) < 0


def assert_equals_every_dot(convolution, chain, sign):
    found = integer_sign(convolution, chain, sign)
    dots = np.where(found.negated, -1, 1) * every_dot(convolution)
    np.testing.assert_array_equal(
        dots <= found.limits, reference_bits(convolution, chain, sign), strict=True
    )


@st.composite
def convolutions(draw, rng):
    channels = draw(st.integers(1, 20))
    kernel = draw(st.sampled_from([(1, 1), (3, 3), (2, 1)]))
    scale = None
    if draw(st.booleans()):
        shared = draw(st.integers(1, FILTERS))
        values = rng.normal(size=(-(-FILTERS // shared), 1))
        scale = ScaleGrid(values, shared, channels)
    return BinaryConv2d(
        random_bits(rng, FILTERS, *kernel, channels),
        scale,
        draw(st.sampled_from([None, rng.normal(size=FILTERS)])),
        activation_scale=draw(st.sampled_from([1.0, -0.31])),
    )


def monotone_operators(rng):
    return st.sampled_from(
        [
            random_norm(rng, FILTERS, 9.0),
            BatchNorm(rng.uniform(0.1, 2, (4, FILTERS))),
            Relu(),
            Clip(-0.75, 0.5),
            PRelu(rng.uniform(0, 1, FILTERS)),
            Multiply(rng.normal(size=FILTERS)),
            Multiply([0.0]),
            Multiply([1e-38]),  # into the subnormal numbers
        ]
    )


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_the_comparison_equals_the_references_for_every_dot_product(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    convolution = data.draw(convolutions(rng))
    chain = chain_of(*data.draw(st.lists(monotone_operators(rng), max_size=3)))
    thresholds = rng.normal(size=FILTERS) * rng.integers(0, 2, FILTERS)
    assert_equals_every_dot(convolution, chain, Sign(thresholds, data.draw(st.booleans())))


@pytest.mark.parametrize("zero_is_positive", [True, False])
@pytest.mark.parametrize("threshold", [-1e9, 1e9, 0.0])
def test_signs_that_never_change_have_limits_beyond_all_dot_products(threshold, zero_is_positive):
    convolution = BinaryConv2d(random_bits(np.random.default_rng(0), FILTERS, 1, 1, 7))
    assert_equals_every_dot(convolution, [], Sign([threshold], zero_is_positive))


def test_a_dot_product_on_the_threshold_is_decided_by_the_sign_of_zero():
    convolution = BinaryConv2d(random_bits(np.random.default_rng(1), FILTERS, 1, 1, 8))
    assert integer_sign(convolution, [], Sign([2.0], True)).limits.tolist() == [1] * FILTERS
    assert integer_sign(convolution, [], Sign([2.0], False)).limits.tolist() == [2] * FILTERS


def test_a_chain_that_leaves_the_finite_numbers_has_no_comparison():
    convolution = BinaryConv2d(random_bits(np.random.default_rng(2), FILTERS, 1, 1, 8))
    chain = chain_of(Multiply([3e38]), Multiply([0.0]))
    assert integer_sign(convolution, chain, Sign([0.0])) is None


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        (Relu(), True),
        (Clip(0, 6), True),
        (Multiply([-2.0]), True),
        (random_norm(np.random.default_rng(3), 4), True),
        (PRelu([0.0, 0.5]), True),
        (PRelu([0.5, -0.5]), False),
        (Softmax(), False),
        (Add(), False),
    ],
)
def test_what_is_monotone(operator, expected):
    assert is_monotone(Node("node", operator, "x")) == expected
