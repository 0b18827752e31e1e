"""Operators on single elements: float32 scalars one after another, PyTorch and SciPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import random_float32
from scipy.special import log_softmax, softmax

from bitconv.errors import GraphError
from bitconv.graph import TensorType
from bitconv.operators import (
    Add,
    BatchNorm,
    Clip,
    Multiply,
    Normalize,
    Operator,
    PRelu,
    Relu,
    Sign,
    Softmax,
)

f32 = np.float32
CHANNELS = [1, 3, 64, 130]
SPECIAL = np.array([0.0, -0.0, 1e-45, -1e-45, 1.0, -1.0, 3e38, -3e38, np.inf, -np.inf], f32)


def maps_of(channels: int, seed: int = 0) -> np.ndarray:
    return random_float32(np.random.default_rng(seed), 2, 3, 5, channels)


def statistics_of(channels: int, seed: int = 0) -> np.ndarray:
    """γ of both signs, β, mean, variance."""
    statistics = random_float32(np.random.default_rng(seed), 4, channels)
    statistics[3] = np.abs(statistics[3])
    return statistics


def assert_elementwise(operator: Operator, maps: np.ndarray, rule) -> None:
    """`rule(x, channel)` gives every element, in float32 scalars."""
    result = operator.reference(maps)
    expected = np.empty_like(result)
    for place in np.ndindex(maps.shape):
        expected[place] = rule(f32(maps[place]), place[-1])
    assert operator.infer(TensorType(maps.shape[1:])) == TensorType(maps.shape[1:], "float32")
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, expected)


# --- Batch norm ------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", CHANNELS)
def test_batch_norm_multiplies_and_adds_each_rounded_to_float32(channels):
    statistics, epsilon = statistics_of(channels), 1e-3
    gamma, beta, mean, variance = statistics.astype(np.float64)
    factor = gamma / np.sqrt(variance + epsilon)
    offset = (beta - mean * factor).astype(f32)
    factor = factor.astype(f32)
    assert_elementwise(
        BatchNorm(statistics, epsilon),
        maps_of(channels),
        lambda x, c: f32(f32(x * factor[c]) + offset[c]),
    )


@pytest.mark.parametrize("epsilon", [1e-5, 1e-3, 0.1])
def test_batch_norm_equals_pytorch(torch, epsilon):
    statistics, maps = statistics_of(65), maps_of(65)
    gamma, beta, mean, variance = torch.from_numpy(statistics.astype(np.float64))
    source = torch.from_numpy(maps).double().permute(0, 3, 1, 2)
    expected = torch.nn.functional.batch_norm(
        source, mean, variance, gamma, beta, training=False, eps=epsilon
    ).permute(0, 2, 3, 1)
    np.testing.assert_allclose(
        BatchNorm(statistics, epsilon).reference(maps), expected, rtol=1e-5, atol=2e-5
    )


def test_batch_norm_of_negative_gamma_falls():
    statistics = np.array([[-2.0], [0.0], [0.0], [1.0]])
    x = np.linspace(-3, 3, 50, dtype=f32).reshape(1, 1, 50, 1)
    assert (np.diff(BatchNorm(statistics).reference(x).ravel()) < 0).all()


@pytest.mark.parametrize(
    ("variance", "epsilon"), [(0.0, 0.0), (-1.0, 1e-5), (1.0, np.inf), (1.0, -2.0)]
)
def test_a_batch_norm_without_a_positive_variance_is_refused(variance, epsilon):
    with pytest.raises(GraphError, match="batch_norm: variance \\+ epsilon must be positive"):
        BatchNorm(np.array([[1.0], [0.0], [0.0], [variance]]), epsilon)


@pytest.mark.parametrize("statistics", [(3e38, 0, 0, 0), (1, 0, 3e38, 1e-6)])
def test_a_batch_norm_whose_factors_exceed_float32_is_refused(statistics):
    with pytest.raises(GraphError, match="exceeds float32"):
        BatchNorm(np.array(statistics, f32)[:, None], 1e-30)


@pytest.mark.parametrize("shape", [(4,), (3, 5), (5, 3), (4, 3, 1)])
def test_statistics_of_another_shape_are_refused(shape):
    with pytest.raises(GraphError, match="statistics take the shape \\(4, channels\\)"):
        BatchNorm(np.ones(shape))


def test_statistics_of_another_channel_count_are_refused():
    with pytest.raises(GraphError, match="but the input 2 × 2 × 4 float32 has 4 channels"):
        BatchNorm(np.ones((4, 3))).infer(TensorType((2, 2, 4)))


# --- Normalize, multiply, add -----------------------------------------------------------------


@pytest.mark.parametrize("channels", CHANNELS)
def test_normalize_subtracts_and_divides_each_rounded_to_float32(channels):
    rng = np.random.default_rng(1)
    mean, std = random_float32(rng, channels), random_float32(rng, channels)
    assert_elementwise(
        Normalize(mean, std), maps_of(channels), lambda x, c: f32(f32(x - mean[c]) / std[c])
    )


def test_normalize_takes_images_of_bytes():
    images = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3) * 20
    operator = Normalize([10.0, 20.0, 30.0], [2.0])
    assert operator.infer(TensorType((2, 2, 3), "uint8")) == TensorType((2, 2, 3), "float32")
    result = operator.reference(images)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, (images - np.array([10.0, 20.0, 30.0])) / 2)


def test_a_standard_deviation_of_zero_is_refused():
    with pytest.raises(GraphError, match="normalize: std must not be zero"):
        Normalize([0.0], [1.0, 0.0])


@pytest.mark.parametrize("channels", CHANNELS)
def test_multiply_takes_one_factor_or_one_a_channel(channels):
    factor = random_float32(np.random.default_rng(2), channels)
    assert_elementwise(Multiply(factor), maps_of(channels), lambda x, c: f32(x * factor[c]))
    assert_elementwise(Multiply(factor[:1]), maps_of(channels), lambda x, _: f32(x * factor[0]))


def test_add_sums_two_values_of_one_shape():
    left, right = maps_of(65, 1), maps_of(65, 2)
    kind = TensorType(left.shape[1:])
    result = Add().reference(left, right)
    assert Add().infer(kind, kind) == kind
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, (left.astype(np.float64) + right).astype(f32))


def test_add_converts_integers_before_it_adds():
    largest = np.full((1, 1), np.iinfo(np.int32).max, np.int32)
    result = Add().reference(largest, largest)
    assert (result.item(), result.dtype) == (2.0**32, np.float32)


def test_add_of_two_shapes_is_refused():
    with pytest.raises(GraphError, match="takes two values of one shape"):
        Add().infer(TensorType((2, 2, 3)), TensorType((2, 2, 1)))


# --- Sign --------------------------------------------------------------------------------------


@pytest.mark.parametrize("zero_is_positive", [True, False])
def test_both_zeros_have_the_sign_that_is_chosen(zero_is_positive):
    zeros = np.array([[0.0, -0.0]], f32)
    for threshold in (0.0, -0.0):
        result = Sign([threshold], zero_is_positive).reference(zeros)
        assert result.tolist() == [[1, 1] if zero_is_positive else [-1, -1]]


@pytest.mark.parametrize("zero_is_positive", [True, False])
@pytest.mark.parametrize("channels", CHANNELS)
def test_a_sign_compares_with_the_threshold_of_its_channel(channels, zero_is_positive):
    threshold = random_float32(np.random.default_rng(3), channels)
    maps = maps_of(channels)
    maps[0, 0, 0] = threshold
    maps[0, 0, 1] = np.nextafter(threshold, f32(np.inf))
    maps[0, 0, 2] = np.nextafter(threshold, f32(-np.inf))
    operator = Sign(threshold, zero_is_positive)
    result = operator.reference(maps)
    assert operator.infer(TensorType(maps.shape[1:])) == TensorType(maps.shape[1:], "bits")
    assert result.dtype == np.int8
    for place in np.ndindex(maps.shape):
        x, t = maps[place], threshold[place[-1]]
        is_positive = x >= t if zero_is_positive else x > t
        assert result[place] == (1 if is_positive else -1)


def test_a_sign_of_integers_compares_them_as_numbers():
    values = np.array([[-3, 0, 3]], np.int32)
    assert Sign([0.5]).reference(values).tolist() == [[-1, -1, 1]]
    assert Sign([128.0]).reference(np.array([[127, 128, 255]], np.uint8)).tolist() == [[-1, 1, 1]]


def test_a_sign_of_infinities_and_denormals_is_exact():
    assert Sign([0.0]).reference(SPECIAL[None]).tolist() == [[1, 1, 1, -1, 1, -1, 1, -1, 1, -1]]


# --- Activations -------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", CHANNELS)
def test_relu_keeps_what_is_positive(channels):
    assert_elementwise(Relu(), maps_of(channels), lambda x, _: x if x > 0 else f32(0))


@pytest.mark.parametrize("channels", CHANNELS)
def test_prelu_multiplies_what_is_not_positive(channels):
    slope = random_float32(np.random.default_rng(4), channels)
    assert_elementwise(
        PRelu(slope), maps_of(channels), lambda x, c: x if x > 0 else f32(x * slope[c])
    )


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-0.3, 0.1), (0.5, 0.5), (0.0, np.inf)])
def test_clip_limits_to_the_bounds_in_float32(low, high):
    assert_elementwise(Clip(low, high), maps_of(3), lambda x, _: min(max(x, f32(low)), f32(high)))


def test_activations_equal_pytorch(torch):
    maps, slope = maps_of(65), random_float32(np.random.default_rng(5), 65)
    source = torch.from_numpy(maps).permute(0, 3, 1, 2)
    functional = torch.nn.functional
    for operator, expected in (
        (Relu(), functional.relu(source)),
        (PRelu(slope), functional.prelu(source, torch.from_numpy(slope))),
        (Clip(-1.0, 1.0), functional.hardtanh(source)),
    ):
        np.testing.assert_array_equal(operator.reference(maps), expected.permute(0, 2, 3, 1))


@pytest.mark.parametrize("bounds", [(1.0, 0.0), (np.nan, 1.0), (0.0, np.nan), (0.0, 1e39)])
def test_a_clip_that_does_not_exist_is_refused(bounds):
    with pytest.raises(GraphError, match="clip: "):
        Clip(*bounds)


# --- Softmax -----------------------------------------------------------------------------------


@given(st.integers(0, 999), st.sampled_from([1, 2, 10, 1000]), st.sampled_from([1, 100, 1e30]))
@settings(max_examples=40, deadline=None)
def test_softmax_equals_scipy(seed, classes, spread):
    scores = random_float32(np.random.default_rng(seed), 3, classes) * f32(spread)
    result = Softmax().reference(scores)
    assert result.dtype == np.float32
    np.testing.assert_allclose(
        result, softmax(scores.astype(np.float64), axis=-1), rtol=1e-6, atol=1e-38
    )
    np.testing.assert_allclose(result.sum(axis=-1), 1, rtol=1e-5)


def test_softmax_of_huge_scores_stays_finite():
    scores = np.array([[3e38, 0.0, -3e38], [-3e38, -3e38, -3e38]], f32)
    np.testing.assert_array_equal(
        Softmax().reference(scores), np.array([[1, 0, 0], [1 / 3] * 3], f32)
    )


def test_softmax_of_integers_works_on_the_last_axis():
    counts = np.random.default_rng(6).integers(-9, 9, (2, 3, 4, 5)).astype(np.int32)
    assert Softmax().infer(TensorType((3, 4, 5), "int32")) == TensorType((3, 4, 5), "float32")
    np.testing.assert_allclose(
        Softmax().reference(counts), np.exp(log_softmax(counts, axis=-1)), rtol=1e-6
    )


def test_softmax_equals_pytorch(torch):
    scores = random_float32(np.random.default_rng(7), 5, 10)
    expected = torch.softmax(torch.from_numpy(scores), -1)
    np.testing.assert_allclose(Softmax().reference(scores), expected, atol=1e-6)


# --- All of them -------------------------------------------------------------------------------

ONE_CHANNEL = [
    Add(),
    BatchNorm(np.array([[3e38], [3e38], [0.0], [1.0]])),
    Clip(-1.0, 1.0),
    Multiply([3e38]),
    Normalize([-3e38], [1e-30]),
    PRelu([3e38]),
    Relu(),
    Softmax(),
]


@pytest.mark.parametrize("operator", ONE_CHANNEL, ids=lambda operator: operator.name)
def test_leaving_the_range_of_float32_gives_no_warning_and_no_float64(operator):
    inputs = [SPECIAL[:, None]] * operator.arity()[0]
    with np.errstate(all="raise", under="ignore"):
        result = operator.reference(*inputs)
    assert result.dtype == np.float32


PER_CHANNEL = [
    lambda values: Multiply(values),
    lambda values: Normalize(values, [1.0]),
    lambda values: Normalize([0.0], values),
    lambda values: PRelu(values),
    lambda values: Sign(values),
]


@pytest.mark.parametrize("make", PER_CHANNEL)
def test_numbers_for_another_channel_count_are_refused(make):
    with pytest.raises(GraphError, match=r"has shape \(3,\), but the input .* has 4 channels"):
        make(np.ones(3)).infer(TensorType((2, 2, 4)))


@pytest.mark.parametrize("make", PER_CHANNEL)
@pytest.mark.parametrize("shape", [(), (0,), (1, 3)])
def test_numbers_that_are_no_row_are_refused(make, shape):
    with pytest.raises(GraphError, match="takes one number or one a channel, found shape"):
        make(np.ones(shape))


@pytest.mark.parametrize("operator", [*ONE_CHANNEL, Sign([0.0])], ids=lambda each: each.name)
def test_bits_are_no_numbers(operator):
    bits = TensorType((2, 2, 1), "bits")
    with pytest.raises(GraphError, match=r"takes float32 or int32.*, found 2 × 2 × 1 bits"):
        operator.infer(*[bits] * operator.arity()[0])
