"""Transform coding: the rotation, its quantizer, and what they lose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from drawn_maps import KINDS, SEEDS, SHAPES, maps_of
from hypothesis import given, settings
from hypothesis import strategies as st

from bitconv.errors import GraphError, InputError
from bitconv.feature_maps import TransformCoding
from bitconv.feature_maps.levels import EightBitLevels
from bitconv.feature_maps.transform_coding import PrincipalComponents

A_KIND = st.sampled_from(sorted(KINDS))


@settings(max_examples=60, deadline=None)
@given(SHAPES, A_KIND, SEEDS)
def test_with_all_components_the_error_of_a_pixel_is_that_of_their_steps(shape, kind, seed):
    maps = maps_of(seed, shape, kind)
    codec = TransformCoding.calibrate(maps, components=shape[2])
    off = (codec.decode(codec.encode(maps[0])) - maps[0]).astype(np.float64)
    # A dropped component was less than half a step long everywhere
    furthest = codec.axes.step / 2 * np.sqrt(shape[2])
    rounding = 1e-5 * np.abs(maps).max() * shape[2]
    assert np.sqrt(np.square(off).sum(axis=-1)).max() <= furthest * 1.0001 + rounding


def test_the_axes_are_orthogonal_and_the_first_one_carries_most():
    maps = maps_of(0, (10, 10, 12), "related")
    axes = TransformCoding.calibrate(maps, coarseness=0.1).axes
    np.testing.assert_allclose(axes.basis.T @ axes.basis, np.eye(axes.components), atol=1e-5)
    energy = np.square(axes.project(maps.reshape(-1, 12))).sum(axis=0)
    assert (np.diff(energy) < 0).all()
    assert energy[0] > 10 * energy[1]


def test_components_that_are_rounded_to_nothing_are_dropped():
    maps = maps_of(1, (10, 10, 12), "related")
    assert TransformCoding.calibrate(maps, coarseness=30).axes.components == 1
    assert TransformCoding.calibrate(maps, coarseness=0.1).axes.components == 12


def test_fewer_components_take_fewer_bytes_and_lose_more():
    maps = maps_of(2, (12, 12, 16), "after_relu")
    sizes, errors = [], []
    for components in (16, 12, 8, 1):
        codec = TransformCoding.calibrate(maps, components=components)
        assert codec.axes.components == components
        data = codec.encode(maps[0])
        sizes.append(len(data))
        errors.append(np.square(codec.decode(data) - maps[0]).sum())
    assert sizes == sorted(sizes, reverse=True)
    assert errors == sorted(errors)


def test_only_maps_without_negative_values_come_back_without_them():
    for kind, after_relu in (("after_relu", True), ("signed", False)):
        maps = maps_of(3, (8, 8, 16), kind)
        codec = TransformCoding.calibrate(maps, coarseness=10)
        assert codec.axes.after_relu == after_relu
        assert (codec.decode(codec.encode(maps[0])).min() >= 0) == after_relu


def test_no_component_of_the_calibration_is_cut_off():
    maps = maps_of(4, (8, 8, 60), "related") + 5
    maps[0, 0, 0] += 40
    axes = TransformCoding.calibrate(maps, coarseness=0.1).axes
    assert axes.step > 0.1 * EightBitLevels.calibrate(maps).step
    lengths = axes.project(maps.reshape(-1, 60)) / axes.step
    assert np.abs(lengths).max() <= 127.001


def test_the_numbers_do_not_depend_on_how_many_pixels_there_are():
    maps = maps_of(5, (40, 40, 11), "signed")
    codec = TransformCoding.calibrate(maps)
    whole = codec.decode(codec.encode(maps[0]))
    for row in (0, 20, 39):
        part = codec.decode(codec.encode(maps[0, row : row + 1]))
        np.testing.assert_array_equal(part[0], whole[row])


def test_a_map_of_other_channels_is_refused():
    codec = TransformCoding.calibrate(maps_of(6, (3, 3, 5), "signed"))
    with pytest.raises(InputError, match="for 5 channels, found 6"):
        codec.encode(np.ones((3, 3, 6)))


@pytest.mark.parametrize(
    "changes",
    [
        {"mean": np.zeros(4)},
        {"mean": np.zeros((1, 3))},
        {"basis": np.zeros((3, 0))},
        {"basis": np.zeros((3, 4))},
        {"basis": np.full((3, 3), np.nan)},
        {"step": 0},
        {"after_relu": 1},
    ],
    ids=str,
)
def test_axes_that_do_not_exist_are_refused(changes):
    with pytest.raises(GraphError, match="transform coding"):
        replace(PrincipalComponents(np.zeros(3), np.eye(3), 1.0), **changes)


@pytest.mark.parametrize(
    "setting",
    [{"coarseness": 0}, {"coarseness": np.inf}, {"components": 0}, {"components": 4}],
    ids=str,
)
def test_settings_that_do_not_exist_are_refused(setting):
    with pytest.raises(InputError, match=r"is from 1 to 3|is above 0"):
        TransformCoding.calibrate(np.ones((1, 2, 2, 3)), **setting)
