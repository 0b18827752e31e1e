"""The order in which nodes are lowered."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bitconv.compiler.ordering import moved_terms_first
from bitconv.graph import Node
from bitconv.operators import Add, Concat, Conv2d, Relu, Slice

CONVOLUTION = Conv2d(np.ones((4, 1, 1, 4)))
SAME = Slice((0, 0, 0), (3, 3, 4), (1, 1, 1))


def names(nodes):
    return [node.name for node in nodes]


@st.composite
def graphs(draw):
    """Nodes of maps of one size, each reading earlier ones."""
    nodes, known = [], ["x"]
    for index in range(draw(st.integers(1, 12))):
        operator = draw(st.sampled_from([CONVOLUTION, Relu(), SAME, Add(), Add()]))
        count = 2 if isinstance(operator, Add) else 1
        inputs = tuple(draw(st.sampled_from(known[-5:])) for _ in range(count))
        nodes.append(Node(str(index), operator, inputs))
        known.append(str(index))
    return nodes


@given(graphs())
def test_every_node_comes_once_and_after_its_inputs(nodes):
    ordered = moved_terms_first(nodes)
    assert sorted(names(ordered)) == sorted(names(nodes))
    seen = {"x"}
    for node in ordered:
        assert seen.issuperset(node.inputs)
        seen.add(node.name)


def test_what_moves_goes_before_the_convolution_that_can_add_it():
    nodes = [
        Node("first", CONVOLUTION, "x"),
        Node("conv", CONVOLUTION, "first"),
        Node("relu", Relu(), "conv"),
        Node("other", Relu(), "first"),
        Node("cut", SAME, "other"),
        Node("sum", Add(), ("relu", "cut")),
    ]
    assert names(moved_terms_first(nodes)) == ["first", "other", "cut", "conv", "relu", "sum"]


def test_what_can_add_itself_stays_where_it_is():
    nodes = [
        Node("conv", CONVOLUTION, "x"),
        Node("other", CONVOLUTION, "x"),
        Node("relu", Relu(), "x"),
        Node("sum", Add(), ("conv", "other")),
        Node("all", Add(), ("sum", "relu")),
    ]
    assert moved_terms_first(nodes) == nodes


def test_what_moves_the_result_of_the_convolution_itself_stays_behind_it():
    nodes = [
        Node("conv", CONVOLUTION, "x"),
        Node("cut", SAME, "conv"),
        Node("sum", Add(), ("conv", "cut")),
    ]
    assert moved_terms_first(nodes) == nodes


def test_wishes_that_cannot_all_be_granted_change_nothing():
    nodes = [
        Node("left", CONVOLUTION, "x"),
        Node("right", CONVOLUTION, "x"),
        Node("cut_left", SAME, "left"),
        Node("cut_right", SAME, "right"),
        Node("sum", Add(), ("left", "cut_right")),
        Node("other", Add(), ("right", "cut_left")),
        Node("both", Concat(), ("sum", "other")),
    ]
    assert moved_terms_first(nodes) == nodes
