"""Everything but binary convolutions, compiled: equal to the references, or near for float sums."""

from __future__ import annotations

import numpy as np
import pytest
from engine import (
    assert_engine_is_exact,
    chain,
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

from bitconv.compiler import builder, compile_graph
from bitconv.errors import UnsupportedError
from bitconv.graph import Graph, Node, TensorType
from bitconv.operators import (
    ActivationScaleMap,
    Add,
    AvgPool2d,
    BinaryConv2d,
    Clip,
    Concat,
    Conv2d,
    Dense,
    Flatten,
    GlobalAvgPool2d,
    MaxPool2d,
    Multiply,
    Normalize,
    Pad,
    PRelu,
    Relu,
    Reshape,
    Sign,
    Slice,
    Softmax,
    Transpose,
)


@pytest.mark.parametrize("low", [-1.0, -0.0])
def test_clipping_makes_0_of_minus_0(low):
    graph = chain((1, 3, 9), Clip(low, 1.0))
    batch = np.full((1, 1, 3, 9), -0.0, np.float32)
    for values in (engine_values(graph, batch), reference_values(graph, batch)):
        assert not np.signbit(values["node0"]).any()


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_float_convolutions_of_any_geometry_are_near(data):
    draw = data.draw
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    inner, filters = draw(st.integers(1, 20)), draw(st.integers(1, 40)) * groups
    kernel = tuple(draw(st.integers(1, 4)) for _ in range(2))
    dilation = tuple(draw(st.integers(1, 2)) for _ in range(2))
    size = [max(draw(st.integers(1, 9)), (kernel[a] - 1) * dilation[a] + 1) for a in (0, 1)]
    operator = Conv2d(
        rng.normal(size=(filters, *kernel, inner)),
        draw(st.sampled_from([None, rng.normal(size=filters)])),
        stride=tuple(draw(st.integers(1, 3)) for _ in range(2)),
        dilation=dilation,
        padding=tuple(draw(st.integers(0, 3)) for _ in range(4)),
        groups=groups,
    )
    kind = draw(st.sampled_from(["float32", "uint8"]))
    graph = chain((*size, inner * groups), operator, random_norm(rng, filters), kind=kind)
    batch = images(rng, graph)
    expected = reference_values(graph, batch)
    for name, found in engine_values(graph, batch, keep=("node0",)).items():
        scale = np.abs(expected[name]).max() + 255
        np.testing.assert_allclose(found, expected[name], rtol=1e-5, atol=1e-5 * scale)


def test_a_dense_layer_of_many_images_is_near():
    rng = np.random.default_rng(0)
    graph = chain((130,), Dense(rng.normal(size=(33, 130)), rng.normal(size=33)), Relu())
    batch = images(rng, graph, 37)
    found = engine_values(graph, batch)["node1"]
    np.testing.assert_allclose(found, reference_values(graph, batch)["node1"], atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3, 64, 65, 130])
def test_pointwise_chains_are_exact(channels):
    rng = np.random.default_rng(channels)
    graph = chain(
        (5, 7, channels),
        Normalize(rng.normal(size=channels) * 100, rng.uniform(1, 90, channels)),
        random_norm(rng, channels),
        Relu(),
        Multiply(rng.normal(size=channels)),
        PRelu(rng.normal(size=channels)),
        Clip(-0.3, 0.4),
        signs(channels),
        kind="uint8",
    )
    assert_engine_is_exact(graph, images(rng, graph, 3))


@pytest.mark.parametrize("positive", [True, False])
def test_a_sign_of_zero_is_as_the_node_says(positive):
    batch = np.array([-1.0, -0.0, 0.0, 1e-45, -1e-45], np.float32).reshape(1, 1, 1, 5)
    graph = chain((1, 1, 5), Sign([0.0], zero_is_positive=positive))
    zero = 1 if positive else -1
    expected = np.array([-1, zero, zero, 1, -1]).reshape(1, 1, 1, 5)
    np.testing.assert_array_equal(engine_values(graph, batch)["node0"], expected)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_pools_of_any_geometry_are_exact(data):
    draw = data.draw
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kernel = tuple(draw(st.integers(1, 4)) for _ in range(2))
    stride = tuple(draw(st.integers(1, 3)) for _ in range(2))
    padding = tuple(draw(st.integers(0, kernel[side % 2] - 1)) for side in range(4))
    channels = draw(st.integers(1, 140))
    size = [max(draw(st.integers(1, 9)), kernel[axis]) for axis in (0, 1)]
    pool = draw(
        st.sampled_from(
            [
                MaxPool2d(kernel, stride, padding),
                AvgPool2d(kernel, stride, padding),
                AvgPool2d(kernel, stride, padding, count_padding=True),
                GlobalAvgPool2d(),
            ]
        )
    )
    after = [] if isinstance(pool, GlobalAvgPool2d) else [random_norm(rng, channels)]
    graph = chain((*size, channels), pool, *after, signs(channels))
    assert_engine_is_exact(graph, images(rng, graph))


def test_a_pool_of_bits_feeds_a_padded_convolution_exactly():
    rng = np.random.default_rng(1)
    convolution = BinaryConv2d(random_bits(rng, 9, 3, 3, 70), padding=(2, 1, 0, 1), pad_value=-1)
    graph = chain((8, 9, 70), signs(70), MaxPool2d(3, 2, padding=1), convolution)
    assert_engine_is_exact(graph, images(rng, graph))


@pytest.mark.parametrize("kind", ["float32", "uint8", "bits"])
@pytest.mark.parametrize("channels", [5, 64, 128])
def test_elements_move_exactly_in_every_kind(kind, channels):
    rng = np.random.default_rng(channels)
    binary = kind == "bits"
    first = [Node("start", signs(channels), "x")] if binary else []
    start = "start" if binary else "x"
    size = 4 * 6 * channels
    graph = graph_of(
        (4, 6, channels),
        *first,
        Node("both", Concat(), (start, start, start)),
        Node("padded", Pad((1, 0, 3), (0, 2, 1), -1.0 if binary else 1.0), "both"),
        Node("part", Slice((1, 0, 2), (5, 7, channels), (2, 3, 1)), "padded"),
        Node("turned", Transpose((1, 0, 2)), "part"),
        Node("shuffled", Reshape((4, 6, channels, 1)), start),
        Node("swapped", Transpose((3, 2, 0, 1)), "shuffled"),
        Node("flat", Flatten(), "swapped"),
        Node("square", Reshape((6, 4, channels)), "flat"),
        Node("vector", Reshape((size,)), "square"),
        outputs=("turned", "square", "vector"),
        kind="uint8" if kind == "uint8" else "float32",
    )
    assert_engine_is_exact(graph, images(rng, graph, 3))


def test_moved_maps_feed_padded_convolutions_exactly():
    rng = np.random.default_rng(2)
    convolution = BinaryConv2d(random_bits(rng, 11, 3, 3, 10), padding=1)
    graph = graph_of(
        (6, 6, 5),
        Node("bits", signs(5), "x"),
        Node("both", Concat(), ("bits", "bits")),
        Node("a", convolution, "both"),
        Node("flat", Flatten(), "both"),
        Node("back", Reshape((6, 6, 10)), "flat"),
        Node("b", convolution, "back"),
        Node("sum", Add(), ("a", "b")),
    )
    assert_engine_is_exact(graph, images(rng, graph))


def test_channels_are_shuffled_exactly():
    rng = np.random.default_rng(3)
    graph = chain(
        (4, 4, 12), Relu(), Reshape((4, 4, 3, 4)), Transpose((0, 1, 3, 2)), Reshape((4, 4, 12))
    )
    assert_engine_is_exact(graph, images(rng, graph))


def test_a_value_added_to_itself_and_read_twice_is_exact():
    rng = np.random.default_rng(4)
    graph = graph_of(
        (3, 3, 4),
        Node("relu", Relu(), "x"),
        Node("twice", Add(), ("relu", "relu")),
        Node("norm", random_norm(rng, 4), "twice"),
        Node("clip", Clip(-1, 1), "twice"),
        Node("sum", Add(), ("norm", "clip")),
        outputs=("sum", "twice"),
    )
    assert_engine_is_exact(graph, images(rng, graph))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "nodes",
    [
        [
            Node("norm", Normalize([120.0], [64.0]), "x"),
            Node("sum", Add(), ("norm", "x")),
            Node("mean", GlobalAvgPool2d(), "sum"),
        ],
        [
            Node("sum", Add(), ("x", "x")),
            Node("mean", GlobalAvgPool2d(), "sum"),
        ],
        [  # the scales are stored without the ring that the pad behind them becomes
            Node("norm", Normalize([120.0], [64.0]), "x"),
            Node("scales", ActivationScaleMap((1, 1)), "norm"),
            Node("pool", MaxPool2d(3, 1, 1), "scales"),
            Node("sum", Add(), ("pool", "scales")),
            Node("relu", Relu(), "sum"),
            Node("convolution", Conv2d(np.ones((2, 1, 1, 1)), padding=1), "scales"),
        ],
    ],
    ids=["normalized", "doubled", "pooled"],
)
def test_a_value_that_a_step_reads_from_two_memories_is_exact(nodes, threads, monkeypatch):
    monkeypatch.setattr(builder, "PARALLEL_SECONDS", 0.0)
    monkeypatch.setattr(builder, "SHARE_SECONDS", 1e-12)
    graph = graph_of((16, 16, 3), *nodes, kind="uint8", outputs=(nodes[-1].name, nodes[-2].name))
    assert_engine_is_exact(graph, images(np.random.default_rng(6), graph), threads=threads)


def test_softmax_is_near_and_sums_to_one():
    rng = np.random.default_rng(5)
    graph = chain((3, 3, 11), Softmax())
    batch = images(rng, graph) * 30
    found = engine_values(graph, batch)["node0"]
    np.testing.assert_allclose(found, reference_values(graph, batch)["node0"], atol=1e-6)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-6)


def test_activation_scales_of_every_grouping_are_exact():
    rng = np.random.default_rng(6)
    for groups in (1, 2, 6):
        operator = ActivationScaleMap((3, 2), (2, 1), (1, 2), (1, 0, 2, 1), groups)
        graph = chain((7, 6, 6), Relu(), operator)
        assert_engine_is_exact(graph, images(rng, graph))


def test_nodes_that_no_output_needs_are_not_run():
    graph = graph_of(
        (3, 3, 4), Node("used", Relu(), "x"), Node("unused", Softmax(), "x"), outputs=("used",)
    )
    assert [step.nodes for step in compile_graph(graph).steps] == [("used",)]


def test_a_plan_takes_fewer_images_than_it_was_made_for():
    rng = np.random.default_rng(7)
    graph = chain((4, 4, 3), Conv2d(rng.normal(size=(8, 3, 3, 3)), padding=1), GlobalAvgPool2d())
    batch = images(rng, graph, 5)
    many = engine_values(graph, batch, capacity=8)["node1"]
    one_by_one = [engine_values(graph, image[None])["node1"][0] for image in batch]
    np.testing.assert_array_equal(many, one_by_one)


def test_an_input_that_is_no_image_is_refused():
    graph = Graph({"x": TensorType((3, 3, 4), "int32")}, (Node("relu", Relu(), "x"),))
    with pytest.raises(UnsupportedError, match=r"'x'.*int32"):
        compile_graph(graph)


def test_a_move_along_too_many_axes_is_refused_by_name():
    graph = chain((2, 3, 4), Reshape((2, 3, 2, 2, 1)), Reshape((2, 3, 2, 2)))
    compile_graph(graph)
    graph = chain((2, 3, 4, 5, 6), Transpose((4, 3, 2, 1, 0)))
    with pytest.raises(UnsupportedError, match=r"'node0'.*5 axes"):
        compile_graph(graph)
