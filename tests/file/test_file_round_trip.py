"""What is written is what is read."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitconv.bits import BitArray
from bitconv.file import read, write
from bitconv.graph import Graph, Metadata, Node, Preparation, TensorType
from bitconv.operators import (
    OPERATORS,
    BatchNorm,
    BinaryConv2d,
    Clip,
    Conv2d,
    MaxPool2d,
    Pad,
    PRelu,
    Sign,
    Transpose,
)
from bitconv.operators.operator import Operator, StoredArray
from bitconv.scales import ScaleGrid


def content(array: StoredArray) -> tuple[object, ...]:
    """All that makes an array what it is, comparable."""
    if isinstance(array, BitArray):
        return array.shape, array.planes, array.stream.tobytes()
    return array.shape, array.dtype, array.tobytes()


def assert_same(left: Graph, right: Graph) -> None:
    assert dict(left.inputs) == dict(right.inputs)
    assert list(left.inputs) == list(right.inputs)
    assert left.outputs == right.outputs
    assert left.metadata == right.metadata
    assert len(left.nodes) == len(right.nodes)
    for one, other in zip(left.nodes, right.nodes, strict=True):
        assert (one.name, one.inputs) == (other.name, other.inputs)
        assert type(one.operator) is type(other.operator)
        assert repr(one.operator.parameters()) == repr(other.operator.parameters())
        arrays = one.operator.arrays(), other.operator.arrays()
        assert arrays[0].keys() == arrays[1].keys()
        for name in arrays[0]:
            assert content(arrays[0][name]) == content(arrays[1][name])


def round_trip(graph: Graph, folder: Path) -> Graph:
    write(graph, folder / "graph.h5")
    return read(folder / "graph.h5")


def test_the_network_of_these_tests_has_every_operator(every_operator: Graph):
    assert {node.operator.name for node in every_operator.nodes} == set(OPERATORS)


def test_every_operator_is_read_as_it_was_written(every_operator: Graph, tmp_path: Path):
    assert_same(round_trip(every_operator, tmp_path), every_operator)


def test_what_was_read_computes_what_was_written(every_operator: Graph, tmp_path: Path):
    picture = np.random.default_rng(5).integers(0, 256, (2, 8, 6, 3), dtype=np.uint8)
    results = []
    for graph in (every_operator, round_trip(every_operator, tmp_path)):
        values = {"picture": picture}
        for node in graph.nodes:
            values[node.name] = node.operator.reference(*(values[name] for name in node.inputs))
        results.append([values[name] for name in graph.outputs])
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_same_network_gives_the_same_bytes(every_operator: Graph, tmp_path: Path):
    write(every_operator, tmp_path / "one.h5")
    write(read(tmp_path / "one.h5"), tmp_path / "two.h5")
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


def test_arrays_beyond_what_an_object_header_holds_travel(tmp_path: Path):
    random = np.random.default_rng(0)
    weight = random.standard_normal((40, 3, 3, 200)).astype(np.float32)
    signs = BitArray.from_signs(random.standard_normal((300, 3, 3, 201)))
    assert min(weight.nbytes, signs.stream.nbytes) > 2**16
    nodes = (
        Node("float", Conv2d(weight, padding=1), "map"),
        Node("sign", Sign([0.0]), "other"),
        Node("binary", BinaryConv2d(signs, padding=1), "sign"),
    )
    inputs = {"map": TensorType((4, 4, 200)), "other": TensorType((4, 4, 201))}
    graph = Graph(inputs, nodes, ("binary", "float"))
    assert_same(round_trip(graph, tmp_path), graph)


@pytest.mark.parametrize("length", [15_999, 16_000, 16_001])
def test_arrays_of_the_size_at_which_the_layout_changes_travel(length: int, tmp_path: Path):
    slope = np.arange(length, dtype=np.float32)
    graph = Graph({"x": TensorType((1, 1, length))}, (Node("prelu", PRelu(slope), "x"),))
    assert_same(round_trip(graph, tmp_path), graph)


def test_the_longest_texts_that_an_attribute_takes_travel(tmp_path: Path):
    text = "s" * 64_000
    nodes = (Node("prelu", PRelu([1.0]), "x"),)
    metadata = Metadata(text, ("å" * 50_000,), text, text, text, text)
    graph = Graph({"x": TensorType((1, 1, 1))}, nodes, metadata=metadata)
    assert_same(round_trip(graph, tmp_path), graph)


def test_a_chain_of_hundreds_of_nodes_keeps_its_order(tmp_path: Path):
    names = [f"node {number * 7919 % 300}" for number in range(300)]
    nodes = tuple(
        Node(name, OPERATORS["relu"](), before) for before, name in pairwise(["map", *names])
    )
    graph = Graph({"map": TensorType((2, 2, 1))}, nodes)
    assert [node.name for node in round_trip(graph, tmp_path).nodes] == names


@pytest.mark.parametrize("limit", [float("inf"), 0.1, 1e-40])
def test_a_number_keeps_every_bit(limit: float, tmp_path: Path):
    graph = Graph({"x": TensorType((1, 1, 1))}, (Node("clip", Clip(-limit, limit), "x"),))
    operator = round_trip(graph, tmp_path).nodes[0].operator
    assert operator.parameters() == {"minimum": -limit, "maximum": limit}


def test_minus_zero_and_the_smallest_numbers_keep_their_bits(tmp_path: Path):
    slope = np.array([-0.0, 1e-45, -1e-45, np.finfo(np.float32).max], np.float32)
    graph = Graph({"x": TensorType((1, 1, 4))}, (Node("prelu", PRelu(slope), "x"),))
    assert_same(round_trip(graph, tmp_path), graph)


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\n"), min_size=1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
SIDES = st.integers(1, 2**15)


@st.composite
def operators(draw: st.DrawFn, value: TensorType, random: np.random.Generator) -> Operator:
    """An operator that takes `value`, a map of height and width from 4."""

    def numbers(*shape: int) -> np.ndarray:
        return random.standard_normal(shape).astype(np.float32)

    channels = value.shape[-1]
    filters, kernel = draw(st.integers(1, 9)), (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    shared = draw(st.integers(1, 10)), draw(st.integers(1, 10))
    padding = draw(st.tuples(*[st.integers(1, 3)] * 4))
    if value.kind == "bits":
        grid = numbers(-(-filters // shared[0]), -(-channels // shared[1]))
        return BinaryConv2d(
            BitArray.from_signs(numbers(filters, *kernel, channels)),
            draw(st.sampled_from([None, ScaleGrid(grid, *shared)])),
            draw(st.sampled_from([None, numbers(filters)])),
            padding=padding,
            pad_value=draw(st.sampled_from([0, 1, -1])),
            activation_scale=draw(st.floats(0.1, 10)),
        )
    return draw(
        st.sampled_from(
            [
                Conv2d(numbers(filters, *kernel, channels), padding=padding),
                BatchNorm(np.abs(numbers(4, channels)), draw(st.floats(1e-6, 1))),
                Sign(numbers(channels), draw(st.booleans())),
                PRelu(numbers(1)),
                MaxPool2d(2, 1, 1),
                Pad(padding[:3], padding[1:], draw(st.integers(0, 9))),
                Transpose([*draw(st.permutations((0, 1))), 2]),
            ]
        )
    )


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    names = draw(st.lists(NAMES, min_size=2, max_size=6, unique=True))
    value = TensorType((4, 5, draw(st.integers(1, 9))), "float32")
    inputs, nodes = {names[0]: value}, []
    for before, name in pairwise(names):
        nodes.append(Node(name, draw(operators(value, random)), before))
        value = nodes[-1].operator.infer(value)
    labels = draw(st.lists(TEXTS, min_size=value.shape[-1], max_size=value.shape[-1]))
    metadata = Metadata(
        draw(TEXTS),
        labels=draw(st.sampled_from([[], [label.replace("\n", " ") for label in labels]])),
        licence=draw(TEXTS),
        source=draw(TEXTS),
        training_data=draw(TEXTS),
        accuracy=draw(TEXTS),
        preparation=Preparation(
            draw(st.none() | st.tuples(SIDES) | st.tuples(SIDES, SIDES)),
            draw(st.none() | st.tuples(SIDES, SIDES)),
            draw(st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos"])),
        ),
    )
    return Graph(inputs, tuple(nodes), (names[-1], *names[1:-1]), metadata)


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_a_drawn_network_is_read_as_it_was_written(graph: Graph):
    with tempfile.TemporaryDirectory() as folder:
        assert_same(round_trip(graph, Path(folder)), graph)
