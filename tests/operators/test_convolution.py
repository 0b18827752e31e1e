"""Conv2d against SciPy and PyTorch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import GRID, Geometry, correlate, geometries, random_float32

from bitconv.errors import GraphError
from bitconv.graph import TensorType
from bitconv.operators import Conv2d


def random_case(geometry: Geometry, seed: int) -> tuple[Conv2d, np.ndarray]:
    rng = np.random.default_rng(seed)
    weight = random_float32(rng, *geometry.weight_shape)
    bias = random_float32(rng, len(weight)) if seed % 2 else None
    maps = random_float32(rng, 2, *geometry.map_shape)
    return Conv2d(weight=weight, bias=bias, **geometry.options), maps


def assert_equals_scipy(geometry: Geometry, seed: int) -> None:
    operator, maps = random_case(geometry, seed)
    expected = correlate(maps, operator.weight.astype(np.float64), geometry)
    if operator.bias is not None:
        expected += operator.bias
    result = operator.reference(maps)
    inferred = operator.infer(TensorType(geometry.map_shape))
    assert (result.shape[1:], result.dtype) == (inferred.shape, np.float32)
    np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("geometry", GRID, ids=str)
def test_the_reference_equals_scipy(geometry, seed):
    assert_equals_scipy(geometry, seed)


@given(geometries(most_channels=20), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_the_reference_equals_scipy_on_any_geometry(geometry, seed):
    assert_equals_scipy(geometry, seed)


@pytest.mark.parametrize("geometry", GRID, ids=str)
def test_the_reference_equals_pytorch(torch, geometry):
    operator, maps = random_case(geometry, 1)
    top, left, bottom, right = geometry.padding
    source = torch.from_numpy(maps).double().permute(0, 3, 1, 2)
    expected = torch.nn.functional.conv2d(
        torch.nn.functional.pad(source, (left, right, top, bottom)),
        torch.from_numpy(operator.weight.astype(np.float64)).permute(0, 3, 1, 2),
        torch.from_numpy(operator.bias.astype(np.float64)),
        geometry.stride,
        0,
        geometry.dilation,
        geometry.groups,
    ).permute(0, 2, 3, 1)
    np.testing.assert_allclose(operator.reference(maps), expected.numpy(), rtol=1e-6, atol=1e-6)


def test_sum_and_bias_are_rounded_once():
    operator = Conv2d(weight=np.ones((1, 1, 1, 3)), bias=[-(2.0**24)])
    maps = np.array([2.0**24, 1.0, 1.0], np.float32).reshape(1, 1, 1, 3)
    assert operator.reference(maps).item() == 2.0


def test_integer_maps_are_taken_as_numbers():
    operator = Conv2d(weight=np.ones((1, 1, 1, 2)))
    for dtype in (np.uint8, np.int32):
        result = operator.reference(np.full((1, 1, 1, 2), 200, dtype))
        assert result.item() == 400.0
        assert result.dtype == np.float32


def test_sums_beyond_float32_become_infinite_without_a_warning():
    operator = Conv2d(weight=np.full((1, 1, 1, 2), 3e38))
    assert operator.reference(np.full((1, 1, 1, 2), 3e38, np.float32)).item() == np.inf


def test_one_number_stands_for_all_sides():
    weight = np.ones((2, 3, 3, 1))
    short = Conv2d(weight=weight, stride=2, dilation=3, padding=1)
    assert (short.stride, short.dilation, short.padding) == ((2, 2), (3, 3), (1, 1, 1, 1))
    assert Conv2d(weight=weight, padding=(1, 2)).padding == (1, 2, 1, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight": np.ones((2, 3, 3))}, "conv2d: weight takes the shape .* found \\(2, 3, 3\\)"),
        ({"weight": np.ones((2, 0, 3, 1))}, "found \\(2, 0, 3, 1\\)"),
        ({"groups": 0}, "do not divide into 0 groups"),
        ({"groups": 3}, "4 filters do not divide into 3 groups"),
        ({"stride": 0}, "stride takes 2 integers from 1"),
        ({"dilation": (1, 0)}, "dilation takes 2 integers from 1"),
        ({"padding": -1}, "padding takes 4 integers from 0"),
        ({"padding": (1, 1, 1)}, "padding takes one integer, two or four"),
        ({"stride": (1, 1, 1)}, "stride takes one integer or two"),
        ({"stride": 10**6}, "stride takes 2 integers from 1 to 32768"),
        ({"bias": [1.0, 2.0]}, "bias has shape \\(2,\\), expected \\(4,\\)"),
        ({"bias": [1.0, 2.0, 3.0, np.nan]}, "bias must be finite"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(GraphError, match=message):
        Conv2d(**{"weight": np.ones((4, 3, 3, 2)), **changes})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (TensorType((5, 5, 3)), "takes 2 channels, found 5 × 5 × 3"),
        (TensorType((5, 5, 2), "bits"), "takes float32 or uint8 or int32, found"),
        (TensorType((50,)), "takes a map"),
        (TensorType((2, 5, 2)), "a window of 3 × 3 does not fit a map of 2 × 5"),
    ],
)
def test_an_input_that_does_not_fit_is_refused(value, message):
    with pytest.raises(GraphError, match=message):
        Conv2d(weight=np.ones((4, 3, 3, 2))).infer(value)


def test_padding_that_no_memory_holds_is_refused_before_it_is_made():
    operator = Conv2d(weight=np.ones((1, 1, 1, 64)), padding=2**15, stride=2**15)
    with pytest.raises(GraphError, match=r"with padding .* larger than 2147483648 elements"):
        operator.infer(TensorType((1, 1, 64)))
