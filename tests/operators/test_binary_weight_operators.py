"""Binary weights on float maps (BWN, arXiv 1603.05279, section 3.1) against SciPy and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import GRID, Geometry, correlate, geometries, random_float32, random_signs

from bitconv.bits import BitArray
from bitconv.errors import GraphError
from bitconv.graph import TensorType
from bitconv.operators import BinaryConv2d, BinaryDense, Dense
from bitconv.scales import ScaleGrid

SHARINGS = [None, (1, 7), (5, 7), (4, 7), (1, 1), (1, 3), (3, 4), (10, 7), (64, 64)]
SCALED = Geometry(
    5, 4, (3, 2), (2, 1), padding=(1, 0, 1, 2), groups=2, group_channels=7, group_filters=5
)


def quarters(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Floats of which every sum here is exact in float32."""
    return (rng.integers(-40, 41, shape) / 4).astype(np.float32)


def random_grid(rng, filters: int, channels: int, sharing: tuple[int, int]) -> ScaleGrid:
    shape = -(-filters // sharing[0]), -(-channels // sharing[1])
    return ScaleGrid(random_float32(rng, *shape), *sharing)


def sums_by_definition(maps, weight, geometry: Geometry) -> np.ndarray:
    """Add or take away one number after the other, an output at a time, in double precision."""
    (top, left, _, _), (down, across) = geometry.padding, geometry.stride
    rows, columns = correlate(maps[:1], weight[:, :, :, :1], geometry).shape[1:3]
    filters, *taps = weight.shape
    result = np.zeros((len(maps), rows, columns, filters))
    for image, row, column, filter_ in np.ndindex(result.shape):
        first = filter_ // geometry.group_filters * geometry.group_channels
        for y, x, channel in np.ndindex(*taps):
            i = row * down + y * geometry.dilation[0] - top
            j = column * across + x * geometry.dilation[1] - left
            if 0 <= i < geometry.height and 0 <= j < geometry.width:
                term = float(maps[image, i, j, first + channel])
                negative = weight[filter_, y, x, channel] < 0
                result[image, row, column, filter_] += -term if negative else term
    return result


def scaled_by_definition(maps, weight, operator: BinaryConv2d, geometry: Geometry) -> np.ndarray:
    """A sum for each run of channels, rounded, then α, the constant and the bias, rounding each."""
    filters, *_, channels = weight.shape
    grid = operator.scale or ScaleGrid([[1.0]], filters, channels)
    total = np.float32(0)
    for index, first in enumerate(range(0, channels, grid.channels_per_scale)):
        kept = np.zeros(channels)
        kept[first : first + grid.channels_per_scale] = 1
        sums = correlate(maps, weight * kept, geometry).astype(np.float32)
        alpha = grid.values[np.arange(filters) // grid.filters_per_scale, index]
        total = total + sums * alpha
    total = total * np.float32(operator.activation_scale)
    return total if operator.bias is None else total + operator.bias


@pytest.mark.parametrize("geometry", GRID, ids=str)
def test_the_reference_adds_and_takes_away(geometry):
    rng = np.random.default_rng(0)
    weight = random_signs(rng, geometry.weight_shape)
    maps = random_float32(rng, 1, *geometry.map_shape)
    operator = BinaryConv2d(BitArray.from_signs(weight), **geometry.options)
    result = operator.reference(maps)
    assert operator.infer(TensorType(geometry.map_shape)) == TensorType(result.shape[1:])
    assert result.dtype == np.float32
    np.testing.assert_allclose(
        result, sums_by_definition(maps, weight, geometry), rtol=1e-6, atol=1e-6
    )


@given(geometries(), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_the_reference_equals_scipy_on_any_geometry(geometry, seed):
    rng = np.random.default_rng(seed)
    weight = random_signs(rng, geometry.weight_shape)
    maps = random_float32(rng, 2, *geometry.map_shape)
    operator = BinaryConv2d(BitArray.from_signs(weight), **geometry.options)
    expected = correlate(maps, weight, geometry)
    np.testing.assert_allclose(operator.reference(maps), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("sharing", SHARINGS, ids=str)
@pytest.mark.parametrize("constant", [1.0, 0.3])
@pytest.mark.parametrize("with_bias", [False, True])
def test_what_follows_the_sums_is_rounded_in_order(sharing, constant, with_bias):
    rng = np.random.default_rng(1)
    weight, maps = random_signs(rng, SCALED.weight_shape), quarters(rng, 2, *SCALED.map_shape)
    operator = BinaryConv2d(
        BitArray.from_signs(weight),
        sharing and random_grid(rng, 10, 7, sharing),
        random_float32(rng, 10) if with_bias else None,
        activation_scale=constant,
        **SCALED.options,
    )
    result = operator.reference(maps)
    assert operator.infer(TensorType(SCALED.map_shape)) == TensorType(result.shape[1:])
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, scaled_by_definition(maps, weight, operator, SCALED))


def test_a_sum_is_rounded_once():
    operator = BinaryConv2d(BitArray.from_signs(np.ones((1, 1, 1, 3))))
    maps = np.array([2.0**24, 1.0, 1.0], np.float32).reshape(1, 1, 1, 3)
    assert operator.reference(maps).item() == 2.0**24 + 2


def test_the_sum_of_every_run_that_shares_a_scale_is_rounded():
    grid = ScaleGrid([[1.0, 1.0]], 1, 2)
    operator = BinaryConv2d(BitArray.from_signs(np.ones((1, 1, 1, 4))), grid)
    maps = np.array([2.0**24, 1.0, -(2.0**24), 1.0], np.float32).reshape(1, 1, 1, 4)
    assert operator.reference(maps).item() == 1.0  # 2, were it not for the rounding of 2²⁴ + 1


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_integer_maps_are_taken_as_numbers(dtype):
    operator = BinaryConv2d(BitArray.from_signs([[[[1, 1, -1]]]]))
    result = operator.reference(np.array([200, 100, 7], dtype).reshape(1, 1, 1, 3))
    assert operator.infer(TensorType((1, 1, 3), np.dtype(dtype).name)) == TensorType((1, 1, 1))
    assert result.item() == 293.0
    assert result.dtype == np.float32


def test_sums_beyond_float32_become_infinite_without_a_warning():
    operator = BinaryConv2d(BitArray.from_signs(np.ones((1, 1, 1, 2))), ScaleGrid([[0.0]], 1, 2))
    maps = np.full((1, 1, 1, 2), 3e38, np.float32)
    assert np.isnan(operator.reference(maps)).all()  # infinity times zero


WEIGHT = BitArray.from_bits(np.zeros((4, 3, 3, 2), bool))


@pytest.mark.parametrize("pad_value", [1, -1])
@pytest.mark.parametrize("kind", ["float32", "uint8", "int32"])
def test_padding_of_numbers_with_signs_is_refused(pad_value, kind):
    operator = BinaryConv2d(WEIGHT, padding=1, pad_value=pad_value)
    with pytest.raises(GraphError, match=f"pad_value {pad_value} is for signs, 0 for .* {kind}"):
        operator.infer(TensorType((5, 5, 2), kind))


def test_a_map_of_activation_scales_beside_numbers_is_refused():
    with pytest.raises(GraphError, match="activation scales is for signs, not for 5 × 5 × 2"):
        BinaryConv2d(WEIGHT).infer(TensorType((5, 5, 2)), TensorType((3, 3, 1)))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (TensorType((5, 5, 3)), "takes 2 channels, found 5 × 5 × 3"),
        (TensorType((50,)), "takes a map"),
        (TensorType((50,), "bytes"), "takes bits or float32 or uint8 or int32, found"),
    ],
)
def test_an_input_that_does_not_fit_is_refused(value, message):
    with pytest.raises(GraphError, match=message):
        BinaryConv2d(WEIGHT).infer(value)


@pytest.mark.parametrize(("outputs", "inputs"), [(1, 1), (3, 63), (10, 64), (7, 65), (2, 1000)])
def test_a_dense_layer_of_binary_weights_is_a_dense_layer_of_signs(outputs, inputs):
    rng = np.random.default_rng(outputs)
    weight, vectors = random_signs(rng, (outputs, inputs)), random_float32(rng, 5, inputs)
    operator = BinaryDense(BitArray.from_signs(weight))
    result = operator.reference(vectors)
    assert operator.infer(TensorType((inputs,))) == TensorType((outputs,))
    np.testing.assert_array_equal(result, Dense(weight).reference(vectors))


@pytest.mark.parametrize("sharing", [(1, 70), (3, 70), (1, 1), (4, 32), (10, 70)])
def test_a_scaled_dense_layer_is_a_product_with_scaled_signs(sharing):
    rng = np.random.default_rng(2)
    weight, vectors = random_signs(rng, (10, 70)), random_float32(rng, 5, 70)
    grid, bias = random_grid(rng, 10, 70, sharing), random_float32(rng, 10)
    alpha = np.array(
        [[grid.values[o // sharing[0], i // sharing[1]] for i in range(70)] for o in range(10)]
    )
    result = BinaryDense(BitArray.from_signs(weight), grid, bias, 0.5).reference(vectors)
    expected = vectors @ (alpha * weight).T.astype(np.float64) * 0.5 + bias
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)
