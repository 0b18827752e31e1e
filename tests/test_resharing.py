"""Scales shared anew, against loops over every weight."""

import numpy as np
import pytest
from engine import graph_of, random_bits, signs
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import binary_resnet, pictures

import bitconv
from bitconv import Metadata, Node
from bitconv.bits import BitArray
from bitconv.errors import InputError
from bitconv.operators import BinaryConv2d, BinaryDense, Dense
from bitconv.resharing import reshare
from bitconv.scales import ScaleGrid, ScaleSharing


def network(weight_shape, grid, *, metadata=None, **options):
    """A binary convolution behind signs."""
    rng = np.random.default_rng(1)
    groups = options.get("groups", 1)
    layer = BinaryConv2d(random_bits(rng, *weight_shape), grid, padding=1, **options)
    nodes = Node("sign", signs(), "x"), Node("binary", layer, "sign")
    return graph_of((5, 6, weight_shape[-1] * groups), *nodes, metadata=metadata or Metadata())


def grid_of(graph, name="binary"):
    return next(node.operator for node in graph.nodes if node.name == name).scale


def approximation(operator):
    """α·sign(W), weight by weight, in float64."""
    weight, grid = operator.weight.signs().astype(np.float64), operator.scale
    for filter_, *_, channel in np.ndindex(weight.shape[0], 1, weight.shape[-1]):
        row, column = filter_ // grid.filters_per_scale, channel // grid.channels_per_scale
        weight[filter_, ..., channel] *= grid.values[row, column]
    return weight


@st.composite
def resharings(draw: st.DrawFn):
    """A network of one binary layer with scales of all signs, and another sharing."""
    filters, channels = draw(st.integers(1, 9)), draw(st.integers(1, 12))
    kernel = draw(st.sampled_from([(1, 1), (3, 2)]))
    old = ScaleSharing(draw(st.integers(1, 10)), draw(st.integers(1, 13)))
    new = ScaleSharing(draw(st.integers(1, 10)), draw(st.none() | st.integers(1, 13)))
    values = draw(st.lists(st.floats(-2, 2, width=32), min_size=filters * channels, max_size=200))
    shape = old.grid_shape(filters, channels)
    grid = ScaleGrid(np.resize(values, shape).astype(np.float32), *old.steps(filters, channels))
    return network((filters, *kernel, channels), grid), new


@given(resharings())
@settings(max_examples=80, deadline=None)
def test_a_scale_is_the_mean_over_the_weights_of_its_group(case):
    graph, sharing = case
    before = graph.nodes[1].operator
    grid = grid_of(reshare(graph, sharing).graph)
    filters, height, width, channels = before.weight.shape
    groups = {}
    for filter_, channel in np.ndindex(filters, channels):
        old = before.scale.values[
            filter_ // before.scale.filters_per_scale, channel // before.scale.channels_per_scale
        ]
        place = filter_ // grid.filters_per_scale, channel // grid.channels_per_scale
        groups.setdefault(place, []).extend([float(old)] * (height * width))
    assert grid.values.shape == sharing.grid_shape(filters, channels)
    assert set(groups) == set(np.ndindex(grid.values.shape))
    for place, values in groups.items():
        mean = sum(values) / len(values)
        np.testing.assert_allclose(grid.values[place], mean, rtol=1e-6, atol=1e-7)


@given(resharings())
@settings(max_examples=60, deadline=None)
def test_the_error_energy_is_that_of_the_weights(case):
    graph, sharing = case
    result = reshare(graph, sharing)
    before = approximation(graph.nodes[1].operator)
    after = approximation(result.graph.nodes[1].operator)
    (layer,) = result.layers
    assert layer.energy == pytest.approx((before**2).sum())
    assert layer.error_energy == pytest.approx(((before - after) ** 2).sum())
    assert 0 <= layer.relative_error <= 1 + 1e-6


def test_no_other_scales_are_closer():
    grid = ScaleGrid([[0.1], [-0.3], [0.0], [0.7]], 1, 4)
    graph = network((4, 3, 3, 4), grid)
    result = reshare(graph, ScaleSharing(2))
    before = approximation(graph.nodes[1].operator)
    best = result.layers[0].error_energy
    for step in (-0.01, 0.01):
        values = grid_of(result.graph).values + np.float32(step) * np.eye(2, 1)
        other = BinaryConv2d(graph.nodes[1].operator.weight, ScaleGrid(values, 2, 4), padding=1)
        assert ((before - approximation(other)) ** 2).sum() > best


def test_sharing_a_file_gives_the_scales_that_its_float_weights_would_have_given():
    weight = np.random.default_rng(3).normal(size=(16, 3, 3, 8))
    layer = BinaryConv2d(BitArray.from_signs(weight), ScaleGrid.from_weight(weight, 2, 4))
    graph = graph_of((5, 5, 8), Node("sign", signs(), "x"), Node("binary", layer, "sign"))
    shared = grid_of(reshare(graph, ScaleSharing(6)).graph)
    np.testing.assert_allclose(shared.values, ScaleGrid.from_weight(weight, 6).values, rtol=1e-6)


@pytest.mark.parametrize("sharing", ["1x1", "4x3", "1xI"])
def test_a_finer_grid_repeats_scales_and_changes_no_weight(sharing):
    values = np.random.default_rng(0).uniform(0.1, 1, (2, 1))
    graph = network((8, 3, 3, 6), ScaleGrid(values, 4, 6))
    result = reshare(graph, ScaleSharing.parse(sharing))
    before, after = (item.nodes[1].operator for item in (graph, result.graph))
    np.testing.assert_array_equal(approximation(before), approximation(after))
    (layer,) = result.layers
    assert layer.error_energy == 0
    assert layer.bytes_saved == 4 * (2 - after.scale.values.size) < 0


def test_a_scale_for_each_filter_of_a_group_changes_no_score():
    graph = binary_resnet(blocks=1)
    images = pictures(graph, 3)
    finer = bitconv.Model(reshare(graph, ScaleSharing(1)).graph, threads=1)
    np.testing.assert_array_equal(
        finer.predict(images), bitconv.Model(graph, threads=1).predict(images)
    )


def test_weights_of_zero_have_no_error():
    (layer,) = reshare(network((2, 1, 1, 3), ScaleGrid([[0.0]], 2, 3)), ScaleSharing()).layers
    assert layer.relative_error == 0


def test_a_sharing_larger_than_the_layer_is_one_scale():
    grid = grid_of(
        reshare(
            network((6, 3, 3, 4), ScaleGrid.per_filter(np.ones(6), 4)), ScaleSharing(100, 100)
        ).graph
    )
    assert (grid.values.shape, grid.filters_per_scale, grid.channels_per_scale) == ((1, 1), 6, 4)


def test_only_scales_change():
    rng = np.random.default_rng(0)
    scale = ScaleGrid.per_filter(rng.uniform(0.1, 1, 6), 9)
    layer = BinaryDense(random_bits(rng, 6, 9), scale, np.arange(6), activation_scale=0.25)
    graph = graph_of(
        (9,),
        Node("sign", signs(9), "x"),
        Node("unscaled", BinaryDense(random_bits(rng, 9, 9)), "sign"),
        Node("again", signs(), "unscaled"),
        Node("scaled", layer, "again"),
        Node("scores", Dense(np.ones((2, 6))), "scaled"),
        outputs=("scores", "scaled"),
    )
    result = reshare(graph, ScaleSharing(3))
    assert [layer.name for layer in result.layers] == ["scaled"]
    assert result.graph.outputs == graph.outputs
    for before, after in zip(graph.nodes, result.graph.nodes, strict=True):
        if before.name == "scaled":
            assert after.inputs == before.inputs
            assert after.operator.weight is layer.weight
            assert after.operator.activation_scale == 0.25
            np.testing.assert_array_equal(after.operator.bias, layer.bias)
        else:
            assert after is before


def test_layers_of_groups_share_by_the_channels_of_a_group():
    grid = ScaleGrid(np.arange(1, 9).reshape(4, 2), 1, 3)
    graph = network((4, 3, 3, 6), grid, groups=2)
    shared = grid_of(reshare(graph, ScaleSharing(2)).graph)
    assert shared.values.tolist() == [[2.5], [6.5]]


def test_the_total_weighs_layers_by_their_energy():
    result = reshare(binary_resnet(blocks=2), ScaleSharing(None))
    total = result.total
    assert (total.scales_before, total.scales_after, total.bytes_saved) == (6, 2, 16)
    errors = sum(layer.error_energy for layer in result.layers)
    assert total.relative_error == errors / sum(layer.energy for layer in result.layers)


def test_the_metadata_tells_what_was_done_and_forgets_the_accuracy():
    about = Metadata(labels=("a", "b"), licence="CC0", source="a recipe", accuracy="81.77 %")
    grid = ScaleGrid([[1.0], [3.0]], 1, 4)
    graph = network((2, 1, 1, 4), grid, metadata=about)
    found = reshare(graph, ScaleSharing(2)).graph.metadata
    assert found == Metadata(labels=("a", "b"), licence="CC0", source="a recipe, scales shared 2xI")
    graph = network((2, 1, 1, 4), grid)
    assert reshare(graph, ScaleSharing()).graph.metadata.source == "scales shared 1xI"


def test_the_table_reports_every_layer():
    graph = network((4, 1, 1, 4), ScaleGrid([[1.0], [3.0], [2.0], [2.0]], 1, 4))
    # Errors of 1 in half of the weights, whose squares are 1, 9, 4 and 4.
    assert str(reshare(graph, ScaleSharing(2))).splitlines() == [
        "layer   scales  bytes saved  error energy",
        "------  ------  -----------  ------------",
        "binary   4 → 2            8      11.111 %",
        "total    4 → 2            8      11.111 %",
        "",
        "Error energy: the squares of what changed in α·sign(W), over the squares of α·sign(W).",
    ]


def test_a_name_cannot_steer_the_terminal():
    rng = np.random.default_rng(0)
    layer = BinaryDense(random_bits(rng, 2, 4), ScaleGrid.per_filter(np.ones(2), 4))
    graph = graph_of((4,), Node("sign", signs(), "x"), Node("\x1b[2J", layer, "sign"))
    assert "\x1b" not in str(reshare(graph, ScaleSharing()))


def test_a_network_without_scales_is_refused():
    graph = graph_of((4,), Node("scores", Dense(np.ones((2, 4))), "x"))
    with pytest.raises(InputError, match="no layer of the network has scales to share"):
        reshare(graph, ScaleSharing(16))


def test_the_shipped_model_runs_with_one_scale_a_layer():
    model = bitconv.load(threads=1)
    result = reshare(model.graph, ScaleSharing(None))
    assert {layer.scales_after for layer in result.layers} == {1}
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    shared = bitconv.Model(result.graph, threads=1)
    assert shared.verify(images).same_labels == 2
    assert not np.array_equal(shared.predict(images), model.predict(images))
