"""The figures of a network against figures worked out by hand."""

import numpy as np
import pytest

from bitconv import Graph, Node, TensorType
from bitconv.bits import BitArray
from bitconv.cost import Cost, summarize
from bitconv.operators import (
    BinaryConv2d,
    BinaryDense,
    Conv2d,
    Dense,
    Flatten,
    Relu,
    Sign,
)
from bitconv.scales import ScaleGrid


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
        bytes=34 + 2 * 4,  # 270 bits padded to bytes, two scales
        float_bytes=4 * 270,
        binary_macs=8 * 6 * 10 * 27,
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
        "ght bits  bytes  binary MACs  float MACs\n"
        "-----------  -------------  ------------------  -------  ---"
        "--------  -----  -----------  ----------\n"
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
