"""The figures of a network against figures worked out by hand."""

import numpy as np
import pytest

from bitconv import Graph, Node, TensorType
from bitconv.bits import BitArray
from bitconv.compiler.weights import filter_words
from bitconv.cost import Cost, summarize
from bitconv.operators import (
    ActivationScaleMap,
    BinaryConv2d,
    BinaryDense,
    Conv2d,
    Dense,
    Flatten,
    Relu,
    Sign,
)
from bitconv.scales import ScaleGrid, ScaleSharing


def costs_of(*operators, shape=(8, 6, 3), kind="float32"):
    """The costs of a chain of operators, in order."""
    names = ["image", *(f"node{index}" for index in range(len(operators)))]
    nodes = [Node(names[i + 1], operator, names[i]) for i, operator in enumerate(operators)]
    summary = summarize(Graph({"image": TensorType(shape, kind)}, tuple(nodes)))
    return [layer.cost for layer in summary.layers]


def random_bits(*shape):
    return BitArray.from_signs(np.random.default_rng(4).normal(size=shape))


def test_a_float_convolution():
    weight = np.ones((16, 5, 3, 3))
    (cost,) = costs_of(Conv2d(weight=weight, bias=np.zeros(16), stride=2, padding=(2, 1)))
    outputs = 4 * 3 * 16
    assert cost == Cost(
        weights=720,
        weight_bits=32 * 720,
        bytes=4 * 720 + 4 * 16,
        float_bytes=4 * 720 + 4 * 16,
        float_macs=outputs * 5 * 3 * 3,
    )


def test_a_binary_convolution_with_shared_scales():
    operator = BinaryConv2d(
        weight=random_bits(10, 3, 3, 3), scale=ScaleGrid(np.ones((2, 1)), 8, 3), padding=1
    )
    _, cost = costs_of(Sign(threshold=np.zeros(1)), operator)
    assert cost == Cost(
        weights=270,
        weight_bits=270,
        scales=2,
        bytes=34 + 2 * 4,  # 270 bits padded to bytes, two scales
        float_bytes=4 * 270,
        binary_macs=8 * 6 * 10 * 27,
        words=8 * 6 * 10 * 9,  # three channels of a tap leave the rest of its word empty
        scale_operations=8 * 6 * 10,
    )


def test_groups_divide_the_work():
    operator = Conv2d(weight=np.ones((6, 1, 1, 1)), groups=3)
    (cost,) = costs_of(operator)
    assert cost.float_macs == 8 * 6 * 6


def test_dense_layers():
    binary, dense = BinaryDense(weight=random_bits(32, 100)), Dense(weight=np.ones((10, 32)))
    _, cost, last = costs_of(Sign(threshold=np.zeros(1)), binary, dense, shape=(100,))
    assert (cost.weight_bits, cost.bytes, cost.binary_macs, cost.float_macs) == (3200, 400, 3200, 0)
    assert (last.weight_bits, last.bytes, last.binary_macs, last.float_macs) == (
        10240,
        1280,
        0,
        320,
    )


def test_layers_without_weights_cost_what_they_store():
    costs = costs_of(Relu(), Sign(threshold=np.zeros(3)), Flatten())
    assert costs == [Cost(), Cost(bytes=12, float_bytes=12), Cost()]


def binary_layer(channels, filters=4, kernel=3, groups=1, **options):
    weight = random_bits(filters, kernel, kernel, channels // groups)
    return BinaryConv2d(weight=weight, groups=groups, **options)


@pytest.mark.parametrize(
    ("channels", "kernel", "filters_per_scale"), [(64, 3, 1), (256, 3, 16), (512, 1, 4), (64, 5, 2)]
)
def test_the_speed_up_of_full_words_follows_the_formula(channels, kernel, filters_per_scale):
    scale = ScaleGrid(np.ones((4 // min(4, filters_per_scale), 1)), filters_per_scale, channels)
    layer = binary_layer(channels, kernel=kernel, scale=scale)
    _, cost = costs_of(Sign(threshold=np.zeros(1)), layer, shape=(7, 9, channels))
    products = channels * kernel**2
    assert cost.speed_up(1) == pytest.approx(64 * products / (products + 64))
    assert cost.speed_up(2) == pytest.approx(128 * products / (products + 64))


def test_no_speed_up_exceeds_the_bounds():
    _, cost = costs_of(Sign(threshold=np.zeros(1)), binary_layer(64), shape=(5, 5, 64))
    assert (cost.scale_operations, cost.speed_up(1), cost.speed_up(2)) == (0, 64, 128)


@pytest.mark.parametrize(("channels", "groups"), [(1, 1), (64, 1), (65, 1), (130, 2), (192, 4)])
@pytest.mark.parametrize("run", [1, 8, 64, 100, None])
def test_words_are_those_that_the_engine_packs(channels, groups, run):
    in_group = channels // groups
    scale = ScaleGrid.from_weight(np.ones((4, 3, 3, in_group)), 1, run or in_group)
    layer = binary_layer(channels, groups=groups, scale=scale)
    _, cost = costs_of(Sign(threshold=np.zeros(1)), layer, shape=(5, 6, channels))
    packed = sum(filter_words((3, 3), scale.segments(in_group)))
    outputs = 3 * 4 * 4
    assert cost.words == outputs * packed
    assert cost.scale_operations == outputs * len(scale.segments(in_group))


def test_an_activation_scale_is_one_more_operation_an_output():
    nodes = (
        Node("k", ActivationScaleMap(3), "x"),
        Node("signs", Sign(threshold=np.zeros(1)), "x"),
        Node("constant", binary_layer(64, activation_scale=0.5), "signs"),
        Node("both", binary_layer(64, activation_scale=0.5), ("signs", "k")),
    )
    *_, constant, both = summarize(Graph({"x": TensorType((5, 5, 64))}, nodes)).layers
    assert constant.cost.scale_operations == 3 * 3 * 4
    assert both.cost.scale_operations == 2 * 3 * 3 * 4


def test_a_float_input_makes_binary_weights_add():
    scale = ScaleGrid.from_weight(np.ones((4, 3, 3, 64)))
    (cost,) = costs_of(binary_layer(64, scale=scale), shape=(5, 5, 64))
    additions = 3 * 3 * 4 * 9 * 64
    assert (cost.binary_macs, cost.float_macs, cost.words) == (0, 0, 0)
    assert (cost.additions, cost.weight_bits) == (additions, 4 * 9 * 64)
    assert cost.operations(1) == cost.operations(2) == additions + 3 * 3 * 4
    assert cost.speed_up(2) == 2 * cost.speed_up(1) == pytest.approx(2 * 576 / 577)


def test_binary_weights_of_a_dense_layer_add_to_floats_too():
    (cost,) = costs_of(BinaryDense(weight=random_bits(32, 100)), shape=(100,))
    assert (cost.binary_macs, cost.additions, cost.speed_up(2)) == (0, 3200, 2)


def test_float_layers_dilute_the_speed_up_of_a_network():
    float_layer = Conv2d(weight=np.ones((64, 1, 1, 64)))
    costs = costs_of(
        float_layer, Sign(threshold=np.zeros(1)), binary_layer(64, 64, 1), shape=(2, 2, 64)
    )
    total = sum(costs, Cost())
    outputs = 2 * 2 * 64
    assert total.operations(1) == outputs * (64 + 1)
    assert total.operations(2) == outputs * (128 + 1)
    assert total.speed_up(1) == pytest.approx(128 / 65)
    assert total.speed_up(2) == pytest.approx(256 / 129)


def test_what_stores_and_computes_nothing_is_no_faster():
    (cost,) = costs_of(Relu())
    assert (cost.memory_ratio, cost.speed_up(1), cost.speed_up(2)) == (1, 1, 1)


@pytest.mark.parametrize(
    ("sharing", "ratio"), [("1xI", 30.3), ("1x1", 7.0), ("1x8", 22.2), ("1x64", 30.3)]
)
def test_the_memory_ratio_of_a_bare_layer_is_that_of_bits_and_scales(sharing, ratio):
    down, across = ScaleSharing.parse(sharing).steps(64, 64)
    weight = np.ones((64, 3, 3, 64))
    layer = BinaryConv2d(BitArray.from_signs(weight), ScaleGrid.from_weight(weight, down, across))
    _, cost = costs_of(Sign(threshold=np.zeros(1)), layer, shape=(5, 5, 64))
    expected = 32 * cost.weights / (cost.weights + 32 * cost.scales)
    assert cost.memory_ratio == pytest.approx(expected)
    assert cost.memory_ratio == pytest.approx(ratio, abs=0.05)


@pytest.fixture
def graph():
    nodes = (
        Node("sign", Sign(threshold=np.zeros(64)), "x"),
        Node("convolution", BinaryConv2d(weight=random_bits(64, 3, 3, 64), padding=1), "sign"),
    )
    return Graph({"x": TensorType((14, 14, 64))}, nodes)


def test_the_total_adds_up(graph):
    summary = summarize(graph)
    assert summary.total.bytes == 64 * 4 + 64 * 64 * 9 // 8
    assert summary.total.binary_macs == 14 * 14 * 64 * 64 * 9


def test_the_table_is_aligned_and_complete(graph):
    assert str(summarize(graph)) == (
        "layer        operator       output              weights  wei"
        "ght bits  bytes  binary MACs\n"
        "-----------  -------------  ------------------  -------  ---"
        "--------  -----  -----------\n"
        "sign         sign           14 × 14 × 64 bits                           256\n"
        "convolution  binary_conv2d  14 × 14 × 64 int32   36,864     "
        "  36,864  4,608      7.225 M\n"
        "total                                            36,864     "
        "  36,864  4,864      7.225 M\n"
        "\n"
        "With float32 weights: 147,712 bytes, 30.4 times as many."
    )


def test_a_name_cannot_steer_the_terminal():
    graph = Graph({"x": TensorType((3,))}, (Node("\x1b[2J", Relu(), "x"),))
    assert "\x1b" not in str(summarize(graph))


def test_additions_have_a_column_where_there_are_any():
    graph = Graph({"x": TensorType((3, 3, 64))}, (Node("bwn", binary_layer(64), "x"),))
    header, _, row, *_ = str(summarize(graph)).splitlines()
    assert header.endswith("bytes  additions")
    assert row.endswith("288    2.304 k")
