"""The float network of the same layers."""

import numpy as np
import pytest
from engine import chain, graph_of, random_bits, signs
from small_networks import binary_resnet

from bitconv import Node
from bitconv.errors import UnsupportedError
from bitconv.operators import (
    ActivationScaleMap,
    BinaryConv2d,
    BinaryDense,
    Conv2d,
    Dense,
    Flatten,
    MaxPool2d,
    Relu,
    Sign,
)
from bitconv.peers.float_network import float_network, scaled_signs
from bitconv.scales import ScaleGrid


def random_grid(rng, filters, channels, down, across):
    shape = (-(-filters // down), -(-channels // across))
    return ScaleGrid(rng.uniform(0.5, 2, shape), down, across)


def test_no_sign_and_no_binary_weight_is_left():
    graph = float_network(binary_resnet())
    assert not [n for n in graph.nodes if isinstance(n.operator, Sign | BinaryConv2d | BinaryDense)]
    assert graph.types["scores"].shape == (5,)
    assert [node.name for node in graph.nodes if isinstance(node.operator, Conv2d)] == [
        "stem",
        "conv0",
        "conv1",
    ]


def test_what_read_a_sign_reads_what_the_sign_read():
    graph = float_network(binary_resnet())
    inputs = {node.name: node.inputs for node in graph.nodes}
    assert inputs["conv0"] == ("map0",)


@pytest.mark.parametrize(("down", "across"), [(1, 5), (3, 5), (7, 5), (2, 2), (1, 1), (9, 9)])
def test_weights_are_signs_times_the_scale_of_their_group(down, across):
    rng = np.random.default_rng(0)
    grid = random_grid(rng, 7, 5, down, across)
    layer = BinaryConv2d(random_bits(rng, 7, 3, 2, 5), grid)
    weight = scaled_signs(layer)
    for filter_, channel in np.ndindex(7, 5):
        alpha = grid.values[filter_ // down, channel // across]
        expected = alpha * layer.weight.signs()[filter_, :, :, channel]
        np.testing.assert_array_equal(weight[filter_, :, :, channel], expected)


def test_a_network_of_numbers_computes_the_same_with_float_weights():
    rng = np.random.default_rng(1)
    layers = (
        BinaryConv2d(
            random_bits(rng, 6, 3, 3, 2),
            random_grid(rng, 6, 2, 2, 1),
            rng.normal(size=6),
            stride=2,
            padding=(1, 0, 2, 1),
            groups=2,
        ),
        Relu(),
        Flatten(),
        BinaryDense(random_bits(rng, 3, 96), None, rng.normal(size=3)),
    )
    graph = chain((7, 8, 4), *layers)
    twin = float_network(graph)
    assert [type(node.operator) for node in twin.nodes] == [Conv2d, Relu, Flatten, Dense]
    values = rng.normal(size=(2, 7, 8, 4)).astype(np.float32)
    expected, found = values, values
    for node, other in zip(graph.nodes, twin.nodes, strict=True):
        expected, found = node.operator.reference(expected), other.operator.reference(found)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_the_map_of_activation_scales_falls_away():
    layer = BinaryConv2d(random_bits(np.random.default_rng(2), 4, 3, 3, 2))
    nodes = (
        Node("k", ActivationScaleMap(3), "x"),
        Node("signs", signs(), "x"),
        Node("conv", layer, ("signs", "k")),
    )
    graph = float_network(graph_of((5, 5, 2), *nodes))
    assert [(node.name, node.inputs) for node in graph.nodes] == [("conv", ("x",))]


def test_a_network_that_ends_in_signs_ends_in_what_they_were_signs_of():
    graph = float_network(chain((4, 4, 2), Relu(), signs()))
    assert graph.outputs == ("node0",)


def test_what_takes_nothing_but_signs_is_refused():
    with pytest.raises(UnsupportedError, match="no float network of these layers: node 'node1'"):
        float_network(chain((4, 4, 2), Sign([127.5]), MaxPool2d(2), kind="uint8"))
