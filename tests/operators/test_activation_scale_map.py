"""XNOR-Net's K against loops and PyTorch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import GRID, Geometry, correlate, geometries, random_float32

from bitconv.errors import GraphError
from bitconv.graph import TensorType
from bitconv.operators import ActivationScaleMap


def operator_of(geometry: Geometry) -> ActivationScaleMap:
    return ActivationScaleMap(geometry.kernel, **geometry.options)


def assert_equals_definition(geometry: Geometry, seed: int) -> None:
    """K is A convolved with a box; A is the mean of |x| over the channels of each group."""
    maps = random_float32(np.random.default_rng(seed), 2, *geometry.map_shape)
    groups, channels = geometry.groups, geometry.group_channels
    means = np.stack(
        [
            np.abs(maps[..., g * channels : (g + 1) * channels].astype(np.float64)).mean(axis=-1)
            for g in range(groups)
        ],
        axis=-1,
    )
    one_channel = Geometry(
        geometry.height,
        geometry.width,
        geometry.kernel,
        geometry.stride,
        geometry.dilation,
        geometry.padding,
        groups,
    )
    height, width = geometry.kernel
    box = np.full((groups, height, width, 1), 1 / (height * width))
    operator = operator_of(geometry)
    result = operator.reference(maps)
    assert operator.infer(TensorType(geometry.map_shape)) == TensorType(result.shape[1:])
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, correlate(means, box, one_channel), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("geometry", GRID, ids=str)
def test_k_is_the_mean_magnitude_averaged_over_the_window(geometry):
    assert_equals_definition(geometry, seed=0)


@given(geometries(), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_k_is_by_definition_on_any_geometry(geometry, seed):
    assert_equals_definition(geometry, seed)


@pytest.mark.parametrize("geometry", [each for each in GRID if each.groups == 1], ids=str)
def test_k_equals_pytorch(torch, geometry):
    maps = random_float32(np.random.default_rng(1), 2, *geometry.map_shape)
    top, left, bottom, right = geometry.padding
    means = torch.from_numpy(maps).abs().mean(dim=3)[:, None]
    expected = torch.nn.functional.conv2d(
        torch.nn.functional.pad(means, (left, right, top, bottom)),
        torch.full((1, 1, *geometry.kernel), 1 / np.prod(geometry.kernel)),
        None,
        geometry.stride,
        0,
        geometry.dilation,
    ).permute(0, 2, 3, 1)
    np.testing.assert_allclose(
        operator_of(geometry).reference(maps), expected.numpy(), rtol=1e-5, atol=1e-7
    )


def test_k_is_added_up_in_float32_in_the_order_of_channels_and_taps():
    maps = random_float32(np.random.default_rng(2), 1, 3, 3, 37)
    result = ActivationScaleMap(3).reference(maps)
    total = np.float32(0)
    for row, column in np.ndindex(3, 3):
        across = np.float32(0)
        for value in maps[0, row, column]:
            across = np.float32(across + abs(value))
        total = np.float32(total + np.float32(across / np.float32(37)))
    assert result.item() == np.float32(total / np.float32(9))


def test_magnitudes_of_integers_do_not_wrap():
    lowest = np.full((1, 1, 1, 1), np.iinfo(np.int32).min, np.int32)
    assert ActivationScaleMap(1).reference(lowest).item() == 2.0**31


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel": (3, 3), "groups": 0}, "groups must be at least 1"),
        ({"kernel": (3, 0)}, "kernel takes 2 integers from 1"),
        ({"kernel": "3"}, "kernel takes up to 16 integers"),
    ],
)
def test_a_window_that_does_not_exist_is_refused(arguments, message):
    with pytest.raises(GraphError, match=f"activation_scale_map: {message}"):
        ActivationScaleMap(**arguments)


def test_channels_that_do_not_divide_into_groups_are_refused():
    with pytest.raises(GraphError, match="does not divide into 2 groups"):
        ActivationScaleMap(1, groups=2).infer(TensorType((4, 4, 3)))
