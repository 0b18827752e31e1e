"""Concatenations and slices without copies equal the reference bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from engine import (
    assert_engine_is_exact,
    engine_values,
    graph_of,
    images,
    random_bits,
    random_norm,
    reference_values,
    signs,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from bitconv import Model
from bitconv.compiler import compile_graph
from bitconv.compiler.plan import Layout
from bitconv.graph import Node
from bitconv.operators import (
    ActivationScaleMap,
    Add,
    AvgPool2d,
    BinaryConv2d,
    Clip,
    Concat,
    Conv2d,
    Flatten,
    MaxPool2d,
    Multiply,
    Pad,
    PRelu,
    Relu,
    Slice,
    Softmax,
)
from bitconv.scales import ScaleGrid

COPIES = {"copy_bits", "copy_bytes", "copy_floats", "copy_words"}


def kernels(graph):
    return [step.kernel for step in compile_graph(graph).steps]


def halved(rng: np.random.Generator, filters: int, kernel: int, channels: int) -> BinaryConv2d:
    """Signs of any window, summed up and halved."""
    weight = random_bits(rng, filters, kernel, kernel, channels)
    return BinaryConv2d(weight, ScaleGrid([[0.5]], filters, channels), padding=kernel // 2)


@st.composite
def networks(draw):
    """Maps of one size that are computed, joined, cut and read in any way.

    All values are small multiples of a quarter, so no sum rounds.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    height, width = draw(st.integers(3, 6)), draw(st.integers(3, 6))
    most = draw(st.sampled_from([9, 64]))  # bits are joined without a copy at 64
    channels = {"x": draw(st.integers(1, 9))}
    bits: set[str] = set()
    nodes: list[Node] = []

    def add(operator, inputs, count, is_bits=False):
        name = f"{operator.name}{len(nodes)}"
        nodes.append(Node(name, operator, inputs))
        channels[name] = count
        if is_bits:
            bits.add(name)
        return name

    for _ in range(draw(st.integers(3, 10))):
        kind = draw(st.sampled_from(["sums", "pointwise", "sign", "pool", "join", "join", "cut"]))
        source = draw(st.sampled_from(sorted(channels)))
        count, is_bits = channels[source], source in bits
        if kind == "join":
            same = sorted(name for name in channels if (name in bits) == is_bits)
            names = draw(st.lists(st.sampled_from(same), min_size=1, max_size=3))
            add(Concat(), tuple(names), sum(map(channels.get, names)), is_bits)
        elif kind == "cut":
            first = draw(st.sampled_from([*range(0, count, 64), count - 1]))
            end, step = draw(st.integers(first + 1, count)), draw(st.sampled_from([1, 1, 2]))
            cut = Slice((0, 0, first), (height, width, end), (1, 1, step))
            add(cut, (source,), len(range(first, end, step)), is_bits)
        elif kind == "pool":
            add(MaxPool2d(3, 1, padding=1), (source,), count, is_bits)
        elif is_bits or kind == "sums":
            filters, size = draw(st.sampled_from([1, 5, most])), draw(st.sampled_from([1, 3]))
            if is_bits:
                add(halved(rng, filters, size, count), (source,), filters)
            else:
                weight = rng.integers(-2, 3, (filters, size, size, count))
                sums = add(Conv2d(weight, padding=size // 2), (source,), filters)
                add(Clip(-4, 4), (sums,), filters)
        elif kind == "sign":
            add(signs(count), (source,), count, True)
        else:
            slopes = rng.integers(-1, 3, count)
            add(draw(st.sampled_from([Relu(), PRelu(slopes), Clip(-2, 1)])), (source,), count)
    read = {name for node in nodes for name in node.inputs}
    last = tuple(node.name for node in nodes if node.name not in read)
    return rng, graph_of((height, width, channels["x"]), *nodes, outputs=last)


@given(networks(), st.integers(1, 2))
@settings(max_examples=200, deadline=None)
def test_any_network_of_joined_and_cut_maps_is_exact(drawn, count):
    rng, graph = drawn
    assert_engine_is_exact(graph, images(rng, graph, count))


@pytest.mark.parametrize("ringed", [False, True])
def test_maps_of_floats_are_joined_without_a_copy(ringed):
    rng = np.random.default_rng(0)
    after = Conv2d(rng.integers(-1, 2, (4, 3, 3, 12)), padding=1) if ringed else Relu()
    graph = graph_of(
        (6, 5, 4),
        Node("left", Multiply([2.0]), "x"),
        Node("pool", MaxPool2d(3, 1, padding=1), "x"),
        Node("sum", Add(), ("left", "pool")),
        Node("both", Concat(), ("pool", "left", "sum")),
        Node("after", after, "both"),
    )
    assert not COPIES & set(kernels(graph))
    assert_engine_is_exact(graph, images(rng, graph, 3))


def test_a_map_that_windows_read_is_stored_beside_its_part():
    rng = np.random.default_rng(1)
    graph = graph_of(
        (6, 5, 4),
        Node("map", Relu(), "x"),
        Node("other", Multiply([-1.0]), "x"),
        Node("both", Concat(), ("other", "map")),
        Node("conv", Conv2d(rng.integers(-1, 2, (8, 3, 3, 4)), padding=1), "map"),
        Node("sum", Add(), ("conv", "both")),
    )
    plan = compile_graph(graph)
    assert not COPIES & {step.kernel for step in plan.steps}
    assert plan.places["map"].layout.part is None
    assert plan.places["other"].layout.part is not None
    assert_engine_is_exact(graph, images(rng, graph))


def test_a_map_that_grows_by_joins_is_stored_once():
    rng = np.random.default_rng(2)
    nodes, last, channels = [], "start", 4
    nodes.append(Node("start", Relu(), "x"))
    for index in range(3):
        sign, conv, join = f"sign{index}", f"conv{index}", f"join{index}"
        nodes += [
            Node(sign, signs(channels), last),
            Node(conv, halved(rng, 3, 3, channels), sign),
            Node(join, Concat(), (last, conv)),
        ]
        last, channels = join, channels + 3
    graph = graph_of((5, 4, 4), *nodes)
    plan = compile_graph(graph)
    assert not COPIES & {step.kernel for step in plan.steps}
    assert len({plan.places[name].start for name in ("start", "join0", "join1", "join2")}) == 1
    assert_engine_is_exact(graph, images(rng, graph))


@pytest.mark.parametrize(
    ("channels", "copies"), [((64, 128, 5), 0), ((60, 64), 1), ((64, 5, 64), 1)]
)
def test_signs_are_joined_without_a_copy_where_they_start_on_words(channels, copies):
    rng = np.random.default_rng(3)
    nodes = []
    for index, count in enumerate(channels):
        conv = Conv2d(rng.integers(-1, 2, (count, 1, 1, 4)))
        nodes += [
            Node(f"conv{index}", conv, "x"),
            Node(f"sign{index}", signs(count), f"conv{index}"),
        ]
    weight = random_bits(rng, 6, 3, 3, sum(channels))
    graph = graph_of(
        (6, 5, 4),
        *nodes,
        Node("both", Concat(), tuple(f"sign{index}" for index in range(len(channels)))),
        Node("last", BinaryConv2d(weight, padding=1, pad_value=-1), "both"),
    )
    assert sum(kernel in COPIES for kernel in kernels(graph)) == copies
    assert_engine_is_exact(graph, images(rng, graph, 3))


def test_signs_of_integer_thresholds_and_pooled_ones_are_joined_without_a_copy():
    rng = np.random.default_rng(4)
    convolution = BinaryConv2d(random_bits(rng, 64, 3, 3, 4), padding=1)
    graph = graph_of(
        (6, 6, 4),
        Node("bits", signs(4), "x"),
        Node("conv", convolution, "bits"),
        Node("sign", signs(64), "conv"),
        Node("other", convolution, "bits"),
        Node("pool", MaxPool2d(3, 1, padding=1), "other"),
        Node("norm", random_norm(rng, 64), "pool"),
        Node("pooled", signs(64), "norm"),
        Node("both", Concat(), ("pooled", "sign")),
        Node("last", BinaryConv2d(random_bits(rng, 6, 3, 3, 128), padding=1), "both"),
    )
    assert not COPIES & set(kernels(graph))
    assert_engine_is_exact(graph, images(rng, graph))


def test_what_no_program_stores_is_copied():
    rng = np.random.default_rng(5)
    graph = graph_of(
        (6, 6, 4),
        Node("likely", Softmax(), "x"),
        Node("scale", ActivationScaleMap((3, 3), padding=1), "x"),
        Node("both", Concat(), ("scale", "x", "likely", "x")),
        Node("conv", Conv2d(rng.normal(size=(5, 3, 3, 13)), padding=1), "both"),
    )
    batch = images(rng, graph)
    found, expected = engine_values(graph, batch)["conv"], reference_values(graph, batch)["conv"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert "copy_floats" in kernels(graph)


@pytest.mark.parametrize("source", [Softmax(), ActivationScaleMap((3, 3), padding=1)])
def test_the_ring_of_a_map_is_zero_whatever_computed_it(source):
    rng = np.random.default_rng(6)
    channels = 4 if isinstance(source, Softmax) else 1
    graph = graph_of(
        (5, 4, 4),
        Node("map", source, "x"),
        Node("conv", Conv2d(rng.normal(size=(3, 3, 3, channels)), padding=1), "map"),
    )
    batch = images(rng, graph)
    expected = reference_values(graph, batch)["conv"]
    np.testing.assert_allclose(engine_values(graph, batch)["conv"], expected, atol=1e-5)


def shortcut_block(rng, cut):
    """A block of a ResNet-20 whose shortcut has no weights: two kinds that are in use."""
    convolution = BinaryConv2d(random_bits(rng, 16, 3, 3, 8), stride=2, padding=1)
    if cut:
        shortcut = [
            Node("cut", Slice((0, 0, 0), (8, 8, 8), (2, 2, 1)), "map"),
            Node("short", Pad((0, 0, 4), (0, 0, 4)), "cut"),
        ]
    else:
        shortcut = [
            Node("mean", AvgPool2d(2), "map"),
            Node("short", Concat(), ("mean", "mean")),
        ]
    return graph_of(
        (8, 8, 8),
        Node("map", Relu(), "x"),
        Node("sign", signs(8), "map"),
        Node("conv", convolution, "sign"),
        Node("norm", random_norm(rng, 16), "conv"),
        *shortcut,
        Node("sum", Add(), ("short", "norm")),
        Node("clip", Clip(-1, 1), "sum"),
        Node("next", signs(16), "clip"),
        outputs=("clip", "next"),
    )


@pytest.mark.parametrize("cut", [False, True])
def test_the_shortcut_without_weights_is_added_in_the_convolution(cut):
    rng = np.random.default_rng(7)
    graph = shortcut_block(rng, cut)
    moves = ["copy_floats"] if cut else ["pool2d"]
    assert kernels(graph) == ["pointwise", *moves, "binary_conv2d"]
    assert_engine_is_exact(graph, images(rng, graph, 3))


@pytest.mark.parametrize("kind", ["float32", "uint8"])
def test_pixels_and_runs_of_channels_are_cut_without_a_copy(kind):
    graph = graph_of(
        (7, 6, 9),
        Node("cut", Slice((1, 0, 2), (7, 5, 8), (2, 3, 1)), "x"),
        Node("again", Slice((0, 0, 1), (3, 2, 5), (1, 1, 1)), "cut"),
        Node("twice", Multiply([2.0]), "again"),
        Node("flat", Flatten(), "cut"),
        outputs=("twice", "flat", "again"),
        kind=kind,
    )
    rng = np.random.default_rng(8)
    assert kernels(graph) == ["pointwise", "copy_bytes" if kind == "uint8" else "copy_floats"]
    assert_engine_is_exact(graph, images(rng, graph, 3))


@pytest.mark.parametrize(
    ("first", "end", "copied"), [(64, 128, False), (64, 130, False), (0, 65, True), (3, 64, True)]
)
def test_signs_are_cut_without_a_copy_at_words(first, end, copied):
    rng = np.random.default_rng(9)
    graph = graph_of(
        (4, 4, 130),
        Node("sign", signs(130), "x"),
        Node("cut", Slice((0, 1, first), (4, 4, end), (1, 1, 1)), "sign"),
        Node("conv", BinaryConv2d(random_bits(rng, 5, 1, 1, end - first)), "cut"),
    )
    assert bool(COPIES & set(kernels(graph))) == copied
    assert_engine_is_exact(graph, images(rng, graph))


def test_joined_vectors_are_exact_and_flatten_to_what_they_are():
    rng = np.random.default_rng(10)
    graph = graph_of(
        (6,),
        Node("twice", Multiply([2.0]), "x"),
        Node("norm", random_norm(rng, 6), "x"),
        Node("both", Concat(), ("twice", "norm")),
        Node("flat", Flatten(), "norm"),
        Node("all", Concat(), ("flat", "both")),
    )
    assert_engine_is_exact(graph, images(rng, graph, 3))


def test_joins_are_verified_though_no_step_does_them():
    rng = np.random.default_rng(11)
    graph = graph_of(
        (6, 5, 4),
        Node("left", Relu(), "x"),
        Node("right", Multiply([2.0]), "x"),
        Node("both", Concat(), ("left", "right")),
        Node("flat", Flatten(), "both"),
    )
    verified = Model(graph).verify(images(rng, graph))
    assert verified.ok
    assert {step.value: step.kernel for step in verified.steps}["flat"] == "view"


def test_a_join_whose_parts_lie_elsewhere_is_found_out(monkeypatch):
    graph = graph_of(
        (6, 5, 4),
        Node("left", Relu(), "x"),
        Node("right", Multiply([2.0]), "x"),
        Node("both", Concat(), ("right", "left")),
    )
    run = Layout.run
    monkeypatch.setattr(Layout, "run", lambda layout, first, count: run(layout, first // 2, count))
    verified = Model(graph).verify(images(np.random.default_rng(12), graph))
    assert {step.value: step.unexplained > 0 for step in verified.steps}["both"]
