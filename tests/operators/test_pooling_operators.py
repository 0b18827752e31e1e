"""Pools against loops over the windows and against PyTorch."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import Geometry, padded, random_float32, random_signs

from bitconv.errors import GraphError
from bitconv.graph import TensorType
from bitconv.operators import AvgPool2d, GlobalAvgPool2d, MaxPool2d

GRID = (
    Geometry(4, 6, (2, 2), (2, 2), group_channels=1),
    Geometry(7, 5, (3, 3), (2, 2), padding=(1, 1, 1, 1), group_channels=65),
    Geometry(6, 9, (2, 4), (1, 3), padding=(1, 3, 0, 2), group_channels=130),
    Geometry(1, 1, (5, 3), (1, 1), padding=(4, 2, 4, 2), group_channels=3),
    Geometry(5, 7, (1, 1), (3, 2), group_channels=64),
)


@st.composite
def pool_geometries(draw: st.DrawFn) -> Geometry:
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    padding = tuple(draw(st.integers(0, kernel[side % 2] - 1)) for side in range(4))
    size = [
        draw(st.integers(max(1, kernel[axis] - padding[axis] - padding[axis + 2]), 8))
        for axis in (0, 1)
    ]
    stride = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    return Geometry(
        *size, kernel, stride, padding=padding, group_channels=draw(st.integers(1, 130))
    )


def windows(maps, geometry: Geometry) -> np.ndarray:
    """The window of every place, NaN where it is padding: (N, rows, columns, taps, C)."""
    source = padded(maps, geometry, np.nan)
    (height, width), (down, across) = geometry.kernel, geometry.stride
    return np.stack(
        [
            np.stack(
                [
                    source[:, y : y + height, x : x + width].reshape(len(maps), -1, maps.shape[-1])
                    for x in range(0, source.shape[2] - width + 1, across)
                ],
                axis=1,
            )
            for y in range(0, source.shape[1] - height + 1, down)
        ],
        axis=1,
    )


def arguments(geometry: Geometry) -> tuple:
    return geometry.kernel, geometry.stride, geometry.padding


def random_maps(geometry: Geometry, seed: int) -> np.ndarray:
    return random_float32(np.random.default_rng(seed), 2, *geometry.map_shape)


def assert_maximum(geometry: Geometry, seed: int) -> None:
    maps, operator = random_maps(geometry, seed), MaxPool2d(*arguments(geometry))
    result = operator.reference(maps)
    assert operator.infer(TensorType(geometry.map_shape)) == TensorType(result.shape[1:])
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, np.nanmax(windows(maps, geometry), axis=3))


def assert_maximum_of_bits(geometry: Geometry, seed: int) -> None:
    maps = random_signs(np.random.default_rng(seed), (2, *geometry.map_shape))
    operator = MaxPool2d(*arguments(geometry))
    result = operator.reference(maps)
    inferred = operator.infer(TensorType(geometry.map_shape, "bits"))
    assert (inferred.kind, inferred.shape) == ("bits", result.shape[1:])
    assert result.dtype == np.int8
    np.testing.assert_array_equal(result, np.nanmax(windows(maps, geometry), axis=3))


def assert_average(geometry: Geometry, count_padding: bool, seed: int) -> None:
    maps = random_maps(geometry, seed)
    operator = AvgPool2d(*arguments(geometry), count_padding=count_padding)
    taps = windows(maps, geometry)
    expected = np.nan_to_num(taps).mean(axis=3) if count_padding else np.nanmean(taps, axis=3)
    result = operator.reference(maps)
    assert operator.infer(TensorType(geometry.map_shape)) == TensorType(result.shape[1:])
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("geometry", GRID, ids=str)
def test_the_largest_value_of_each_window_wins(geometry):
    assert_maximum(geometry, 0)


@given(pool_geometries(), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_the_largest_value_wins_on_any_geometry(geometry, seed):
    assert_maximum(geometry, seed)


@pytest.mark.parametrize("geometry", GRID, ids=str)
def test_a_window_of_bits_is_positive_where_any_is(geometry):
    assert_maximum_of_bits(geometry, 0)


@given(pool_geometries(), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_bits_are_pooled_on_any_geometry(geometry, seed):
    assert_maximum_of_bits(geometry, seed)


@pytest.mark.parametrize("dtype", [np.int8, np.float32])
def test_padding_never_wins_a_maximum(dtype):
    maps = np.full((1, 2, 2, 1), -1, dtype)
    assert (MaxPool2d(3, 1, 1).reference(maps) == -1).all()


def test_integers_are_pooled_as_float32():
    maps = np.array([-5, 7, 3, 2**20], np.int32).reshape(1, 2, 2, 1)
    result = MaxPool2d(2).reference(maps)
    assert (result.item(), result.dtype) == (2**20, np.float32)
    assert MaxPool2d(2).infer(TensorType((2, 2, 1), "int32")).kind == "float32"


@pytest.mark.parametrize("count_padding", [False, True])
@pytest.mark.parametrize("geometry", GRID, ids=str)
def test_an_average_counts_padding_only_when_asked_to(geometry, count_padding):
    assert_average(geometry, count_padding, 0)


@given(pool_geometries(), st.booleans(), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_averages_are_right_on_any_geometry(geometry, count_padding, seed):
    assert_average(geometry, count_padding, seed)


def test_an_average_is_added_up_in_float32_tap_by_tap():
    maps = random_maps(Geometry(5, 3, (5, 3)), 1)[:1]
    total = np.float32(0)
    for value in maps.ravel():
        total = np.float32(total + value)
    expected = np.float32(total / np.float32(15))
    assert AvgPool2d((5, 3)).reference(maps).item() == expected
    assert GlobalAvgPool2d().reference(maps).item() == expected


@pytest.mark.parametrize("count_padding", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (4, 3, 2)])
def test_pools_equal_pytorch(torch, kernel, stride, padding, count_padding):
    maps = random_float32(np.random.default_rng(2), 2, 9, 7, 5)
    source = torch.from_numpy(maps).permute(0, 3, 1, 2)
    average = torch.nn.functional.avg_pool2d(
        source, kernel, stride, padding, count_include_pad=count_padding
    ).permute(0, 2, 3, 1)
    largest = torch.nn.functional.max_pool2d(source, kernel, stride, padding).permute(0, 2, 3, 1)
    np.testing.assert_allclose(
        AvgPool2d(kernel, stride, padding, count_padding).reference(maps), average, atol=1e-6
    )
    np.testing.assert_array_equal(MaxPool2d(kernel, stride, padding).reference(maps), largest)


@pytest.mark.parametrize("channels", [1, 3, 64, 130])
def test_a_global_average_is_a_vector_of_means(channels):
    maps = random_float32(np.random.default_rng(3), 3, 7, 5, channels)
    result = GlobalAvgPool2d().reference(maps)
    assert GlobalAvgPool2d().infer(TensorType(maps.shape[1:])) == TensorType((channels,))
    assert (result.shape, result.dtype) == ((3, channels), np.float32)
    np.testing.assert_allclose(result, maps.mean(axis=(1, 2), dtype=np.float64), atol=1e-6)


def test_averages_beyond_float32_become_infinite_without_a_warning():
    maps = np.full((1, 2, 2, 1), 3e38, np.float32)
    assert AvgPool2d(2).reference(maps).item() == np.inf
    assert GlobalAvgPool2d().reference(maps).item() == np.inf


def test_the_stride_of_a_pool_is_its_kernel_unless_given():
    assert MaxPool2d((2, 3)).stride == (2, 3)
    assert AvgPool2d(2).stride == (2, 2)
    assert AvgPool2d(2, 1).stride == (1, 1)


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        ((0,), "kernel takes 2 integers from 1"),
        ((3, 0), "stride takes 2 integers from 1"),
        ((3, 1, 3), "padding .* must be less than the kernel"),
        (((3, 2), 1, (0, 0, 0, 2)), "padding .* must be less than the kernel"),
        (("3",), "kernel takes"),
    ],
)
@pytest.mark.parametrize("operator", [MaxPool2d, AvgPool2d])
def test_a_pool_that_does_not_exist_is_refused(operator, pool, message):
    with pytest.raises(GraphError, match=f"{operator.name}: {message}"):
        operator(*pool)


def test_a_pool_larger_than_its_map_is_refused():
    with pytest.raises(GraphError, match="a window of 3 × 3 does not fit a map of 2 × 4"):
        MaxPool2d(3).infer(TensorType((2, 4, 1)))


@pytest.mark.parametrize("operator", [AvgPool2d(2), GlobalAvgPool2d()])
def test_bits_have_no_average(operator):
    with pytest.raises(GraphError, match="takes float32 or int32"):
        operator.infer(TensorType((4, 4, 1), "bits"))


def test_equal_geometries_with_no_padding_count_alike():
    geometry = replace(GRID[0], padding=(0, 0, 0, 0))
    maps = random_maps(geometry, 4)
    np.testing.assert_array_equal(
        AvgPool2d(*arguments(geometry), count_padding=True).reference(maps),
        AvgPool2d(*arguments(geometry)).reference(maps),
    )
