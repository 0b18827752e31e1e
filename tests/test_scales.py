"""The shared scale against loops over its groups, and the text that names a sharing."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitconv.errors import GraphError, InputError
from bitconv.scales import ScaleGrid, ScaleSharing


@st.composite
def shared_weights(draw: st.DrawFn):
    """A weight (O, kernel height, kernel width, I) and how its scales are shared."""
    filters, height, width = (draw(st.integers(1, most)) for most in (12, 3, 3))
    channels = draw(st.integers(1, 20))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    weight = rng.standard_normal((filters, height, width, channels))
    return weight, draw(st.integers(1, filters + 2)), draw(st.integers(1, channels + 2))


def group_of(weight, grid: ScaleGrid, row: int, column: int) -> np.ndarray:
    down, across = grid.filters_per_scale, grid.channels_per_scale
    return weight[row * down : (row + 1) * down, ..., column * across : (column + 1) * across]


@given(shared_weights())
@settings(max_examples=60, deadline=None)
def test_a_scale_is_the_mean_magnitude_of_its_group(case):
    weight, down, across = case
    grid = ScaleGrid.from_weight(weight, down, across)
    grid.check(weight.shape[0], weight.shape[-1])
    assert grid.values.dtype == np.float32
    for place in np.ndindex(grid.values.shape):
        values = [abs(float(value)) for value in group_of(weight, grid, *place).ravel()]
        np.testing.assert_allclose(grid.values[place], sum(values) / len(values), rtol=1e-6)


@given(shared_weights(), st.floats(0.5, 1.5).filter(lambda factor: abs(factor - 1) > 1e-3))
@settings(max_examples=60, deadline=None)
def test_no_other_scale_approximates_a_weight_better(case, factor):
    weight, down, across = case
    grid = ScaleGrid.from_weight(weight, down, across)
    for place in np.ndindex(grid.values.shape):
        group, alpha = group_of(weight, grid, *place), np.float64(grid.values[place])
        signs = np.where(group < 0, -1, 1)
        best = ((group - alpha * signs) ** 2).sum()
        assert ((group - factor * alpha * signs) ** 2).sum() > best


def test_a_scale_a_filter_is_the_default():
    weight = np.arange(-12, 12).reshape(4, 1, 2, 3)
    grid = ScaleGrid.from_weight(weight)
    assert (grid.filters_per_scale, grid.channels_per_scale) == (1, 3)
    np.testing.assert_array_equal(grid.values[:, 0], np.abs(weight).mean(axis=(1, 2, 3)))


def test_sharing_equal_groups_averages_their_scales():
    weight = np.random.default_rng(0).standard_normal((8, 3, 3, 5))
    single, shared = (ScaleGrid.from_weight(weight, filters) for filters in (1, 4))
    np.testing.assert_allclose(
        shared.values[:, 0], single.values.reshape(2, 4).mean(axis=1), rtol=1e-6
    )


def test_a_matrix_has_scales_too():
    grid = ScaleGrid.from_weight([[1.0, -3.0, 5.0], [2.0, 2.0, -2.0]], 1, 2)
    assert grid.values.tolist() == [[2.0, 5.0], [2.0, 2.0]]


@given(shared_weights())
@settings(max_examples=40, deadline=None)
def test_filters_and_segments_find_the_scale_of_every_weight(case):
    weight, down, across = case
    filters, channels = weight.shape[0], weight.shape[-1]
    grid = ScaleGrid.from_weight(weight, down, across)
    by_filter, segments = grid.by_filter(filters), grid.segments(channels)
    assert by_filter.shape == (filters, len(segments))
    found = np.full((filters, channels), np.nan)
    for index, (first, end) in enumerate(segments):
        assert np.isnan(found[:, first:end]).all()
        found[:, first:end] = by_filter[:, index : index + 1]
    for place in np.ndindex(found.shape):
        assert found[place] == grid.values[place[0] // down, place[1] // across]


def test_segments_are_runs_of_which_the_last_may_be_shorter():
    grid = ScaleGrid(np.ones((1, 3)), 1, 3)
    assert grid.segments(7) == [(0, 3), (3, 6), (6, 7)]
    assert ScaleGrid(np.ones((1, 1)), 1, 9).segments(7) == [(0, 7)]


def test_a_group_may_claim_more_filters_than_there_are_and_takes_no_more_memory():
    grid = ScaleGrid([[2.0]], 10**7, 10**7)
    grid.check(3, 5)
    tracemalloc.start()
    try:
        assert grid.by_filter(3).tolist() == [[2.0]] * 3
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()


def test_one_scale_a_filter_is_made_of_a_row():
    grid = ScaleGrid.per_filter([1.0, -2.0, 3.0], 5)
    assert grid.values.tolist() == [[1.0], [-2.0], [3.0]]
    assert (grid.filters_per_scale, grid.channels_per_scale) == (1, 5)
    grid.check(3, 5)


@pytest.mark.parametrize(
    ("sharing", "filters", "channels"), [((1, 5), 3, 5), ((2, 5), 5, 5), ((2, 2), 4, 6)]
)
def test_a_grid_of_another_shape_is_refused(sharing, filters, channels):
    with pytest.raises(GraphError, match=r"need the grid \(.*\), found \(2, 1\)"):
        ScaleGrid(np.ones((2, 1)), *sharing).check(filters, channels)


def test_the_values_are_a_read_only_copy():
    values = np.ones((1, 1), np.float32)
    grid = ScaleGrid(values, 1, 1)
    values[0, 0] = 2
    assert grid.values.item() == 1
    assert not grid.values.flags.writeable


@pytest.mark.parametrize(
    ("values", "sharing", "message"),
    [
        (np.ones(3), (1, 1), "2-D grid, found shape \\(3,\\)"),
        (np.ones((0, 1)), (1, 1), "2-D grid, found shape \\(0, 1\\)"),
        ([[np.nan]], (1, 1), "scale must be finite"),
        ([[np.inf]], (1, 1), "scale must be finite"),
        ([[1e39]], (1, 1), "scale must be finite"),
        ([["1"]], (1, 1), "scale takes an array of numbers"),
        ([[1.0]], (0, 1), "filters_per_scale must be at least 1, found 0"),
        ([[1.0]], (1, -1), "channels_per_scale must be at least 1, found -1"),
        ([[1.0]], (1.0, 1), "filters_per_scale takes an integer"),
        ([[1.0]], (1, 2**70), "channels_per_scale takes an integer"),
        ([[1.0]], (True, 1), "filters_per_scale takes an integer"),
    ],
)
def test_a_grid_that_does_not_exist_is_refused(values, sharing, message):
    with pytest.raises(GraphError, match=message):
        ScaleGrid(values, *sharing)


@pytest.mark.parametrize(
    ("weight", "sharing", "message"),
    [
        (np.ones(3), (1, 1), "weight takes the shape"),
        (np.ones((3, 0)), (1, 1), "weight takes the shape"),
        (np.ones((3, 2)), (0, 1), "filters_per_scale must be at least 1"),
        (np.ones((3, 2)), (1, 0), "channels_per_scale must be at least 1"),
        ([[np.nan]], (1, 1), "scale must be finite"),
        ([[1e300]], (1, 1), "scale must be finite"),
    ],
)
def test_a_weight_that_has_no_scale_is_refused(weight, sharing, message):
    with pytest.raises(GraphError, match=message):
        ScaleGrid.from_weight(weight, *sharing)


@pytest.mark.parametrize(
    ("text", "filters", "channels"),
    [("1xI", 1, None), ("16xI", 16, None), ("1x8", 1, 8), ("OxI", None, None), ("Ox1", None, 1)],
)
def test_a_sharing_is_its_text(text, filters, channels):
    sharing = ScaleSharing.parse(text)
    assert sharing == ScaleSharing(filters, channels)
    assert str(sharing) == text


def test_one_scale_a_filter_is_the_default_sharing():
    assert str(ScaleSharing()) == "1xI"


@pytest.mark.parametrize(
    "text",
    ["", "16", "x", "16x", "xI", "0xI", "1x0", "-1xI", "IxO", "16xi", "1xI ", "1.5xI", "1٣xI"],
)
def test_a_text_that_is_no_sharing_is_refused(text):
    with pytest.raises(InputError, match="such as 16xI, 1x8 or OxI; found"):
        ScaleSharing.parse(text)


@pytest.mark.parametrize("number", [0, -1, 1.5, "16", True])
def test_a_number_that_is_no_sharing_is_refused(number):
    for name in ("filters", "channels"):
        with pytest.raises(GraphError, match=name):
            ScaleSharing(**{name: number})


@given(shared_weights(), st.booleans(), st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_sharing_gives_a_layer_the_grid_that_fits_it(case, all_filters, all_channels):
    weight, down, across = case
    filters, channels = weight.shape[0], weight.shape[-1]
    sharing = ScaleSharing(None if all_filters else down, None if all_channels else across)
    grid = ScaleGrid.from_weight(weight, *sharing.steps(filters, channels))
    grid.check(filters, channels)
    assert grid.values.shape == sharing.grid_shape(filters, channels)
    if all_filters:
        assert grid.filters_per_scale == filters
    if all_channels:
        assert grid.channels_per_scale == channels
