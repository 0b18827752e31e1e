"""Compiled binary convolutions equal the reference bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from engine import assert_engine_is_exact, chain, graph_of, images, random_bits, random_norm, signs
from hypothesis import given, settings
from hypothesis import strategies as st

from bitconv.compiler import compile_graph
from bitconv.graph import Node
from bitconv.operators import (
    ActivationScaleMap,
    Add,
    BatchNorm,
    BinaryConv2d,
    BinaryDense,
    Clip,
    Flatten,
    MaxPool2d,
    Multiply,
    PRelu,
    Relu,
    Sign,
)
from bitconv.scales import ScaleGrid


def grid(rng: np.random.Generator, filters: int, channels: int, shared: int, across: int):
    rows, columns = -(-filters // shared), -(-channels // across)
    return ScaleGrid(rng.normal(size=(rows, columns)).astype(np.float32), shared, across)


@st.composite
def convolutions(draw):
    """Any geometry: the sizes of the map, and a convolution that fits it."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    channels = draw(st.one_of(st.integers(1, 9), st.integers(1, 140))) * groups
    filters = draw(st.integers(1, 40)) * groups
    kernel = tuple(draw(st.integers(1, 4)) for _ in range(2))
    dilation = tuple(draw(st.integers(1, 3)) for _ in range(2))
    padding = tuple(draw(st.integers(0, 3)) for _ in range(4))
    size = [
        max(draw(st.integers(1, 9)), (kernel[axis] - 1) * dilation[axis] + 1) for axis in (0, 1)
    ]
    inner = channels // groups
    scale = draw(
        st.sampled_from(
            [
                None,
                (1, inner),
                (filters, inner),
                (draw(st.integers(1, filters)), draw(st.integers(1, inner))),
            ]
        )
    )
    operator = BinaryConv2d(
        random_bits(rng, filters, *kernel, inner),
        scale and grid(rng, filters, inner, *scale),
        draw(st.sampled_from([None, rng.normal(size=filters)])),
        stride=tuple(draw(st.integers(1, 3)) for _ in range(2)),
        dilation=dilation,
        padding=padding,
        groups=groups,
        pad_value=draw(st.sampled_from([0, 1, -1])),
        activation_scale=draw(st.sampled_from([1.0, 0.37])),
    )
    return rng, (*size, channels), operator


@given(convolutions(), st.integers(1, 3))
@settings(max_examples=120, deadline=None)
def test_any_geometry_is_exact(drawn, count):
    rng, shape, operator = drawn
    graph = chain(shape, signs(shape[-1]), operator)
    assert_engine_is_exact(graph, images(rng, graph, count))


@given(convolutions())
@settings(max_examples=80, deadline=None)
def test_signs_behind_a_convolution_are_exact_whether_folded_or_not(drawn):
    rng, shape, operator = drawn
    filters = operator.weight_shape[0]
    graph = chain(shape, signs(shape[-1]), operator, random_norm(rng, filters), signs(filters))
    assert_engine_is_exact(graph, images(rng, graph))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("pad_value", [0, 1, -1])
@pytest.mark.parametrize("channels", [1, 63, 64, 65, 130])
def test_three_by_three_at_every_word_boundary_is_exact(stride, pad_value, channels):
    rng = np.random.default_rng(channels)
    operator = BinaryConv2d(
        random_bits(rng, 33, 3, 3, channels),
        grid(rng, 33, channels, 8, channels),
        stride=stride,
        padding=1,
        pad_value=pad_value,
    )
    graph = chain((7, 5, channels), signs(channels), operator)
    assert_engine_is_exact(graph, images(rng, graph, 3))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_share_the_work_exactly(threads):
    rng = np.random.default_rng(threads)
    first = BinaryConv2d(random_bits(rng, 128, 3, 3, 128), padding=1)
    second = BinaryConv2d(random_bits(rng, 70, 3, 3, 128), padding=1, pad_value=-1)
    graph = chain((32, 32, 128), signs(128), first, random_norm(rng, 128, 30), signs(128), second)
    plan = compile_graph(graph, images=2, threads=threads)
    assert plan.has_parallel_steps == (threads > 1)
    assert_engine_is_exact(graph, images(rng, graph, 2), threads=threads)


def test_a_depthwise_convolution_is_exact():
    rng = np.random.default_rng(0)
    operator = BinaryConv2d(random_bits(rng, 70, 3, 3, 1), padding=1, groups=70)
    graph = chain((6, 6, 70), signs(70), operator, signs(70))
    assert_engine_is_exact(graph, images(rng, graph))


def test_a_map_of_activation_scales_is_exact():
    rng = np.random.default_rng(1)
    geometry = {"stride": (2, 1), "padding": (1, 1, 1, 1), "groups": 2}
    convolution = BinaryConv2d(
        random_bits(rng, 12, 3, 3, 5), grid(rng, 12, 5, 1, 5), rng.normal(size=12), **geometry
    )
    graph = graph_of(
        (7, 6, 10),
        Node("bits", signs(10), "x"),
        Node("scale", ActivationScaleMap((3, 3), **geometry), "x"),
        Node("convolution", convolution, ("bits", "scale")),
        Node("sign", Sign([0.1]), "convolution"),
    )
    assert_engine_is_exact(graph, images(rng, graph))


def test_a_dense_layer_is_exact_on_many_images():
    rng = np.random.default_rng(2)
    layer = BinaryDense(random_bits(rng, 21, 150), grid(rng, 21, 150, 4, 70), rng.normal(size=21))
    graph = chain((5, 6, 5), signs(5), Flatten(), layer)
    assert_engine_is_exact(graph, images(rng, graph, 37))


def test_a_residual_block_is_exact():
    rng = np.random.default_rng(3)

    def block(x: str, name: str) -> list[Node]:
        convolution = BinaryConv2d(
            random_bits(rng, 40, 3, 3, 40), grid(rng, 40, 40, 8, 40), padding=1
        )
        return [
            Node(f"{name}_sign", signs(40), x),
            Node(f"{name}_conv", convolution, f"{name}_sign"),
            Node(f"{name}_norm", random_norm(rng, 40), f"{name}_conv"),
            Node(f"{name}_add", Add(), (x, f"{name}_norm")),
            Node(name, PRelu(rng.normal(size=40)), f"{name}_add"),
        ]

    graph = graph_of((8, 8, 40), *block("x", "a"), *block("a", "b"), *block("b", "c"))
    assert_engine_is_exact(graph, images(rng, graph, 3))


def test_every_monotone_chain_folds_exactly():
    rng = np.random.default_rng(4)
    for middle in (
        [Relu()],
        [PRelu(rng.uniform(0, 1, 24))],
        [PRelu(rng.normal(size=24))],  # falls and rises: no single threshold
        [Clip(-0.5, 0.5), Multiply(rng.normal(size=24))],
        [random_norm(rng, 24), Relu(), random_norm(rng, 24)],
        [Multiply([0.0])],
        [Multiply([3e38]), Multiply([3e38]), Multiply([0.0])],  # overflows to NaN
    ):
        for positive in (True, False):
            convolution = BinaryConv2d(random_bits(rng, 24, 3, 3, 17), grid(rng, 24, 17, 1, 17))
            sign = Sign(rng.normal(size=24) * 2, zero_is_positive=positive)
            graph = chain((6, 6, 17), signs(17), convolution, *middle, sign)
            with np.errstate(over="ignore", invalid="ignore"):
                assert_engine_is_exact(graph, images(rng, graph))


def test_thresholds_are_exact_where_rounding_is_tight():
    rng = np.random.default_rng(5)
    filters = 64
    convolution = BinaryConv2d(random_bits(rng, filters, 3, 3, 33), grid(rng, filters, 33, 1, 33))
    dots = rng.integers(-40, 40, filters)
    gamma, mean = rng.normal(size=filters), np.zeros(filters)
    middle = convolution.rescale([dots])  # batch norm maps just these sums to about zero
    norm = BatchNorm(np.stack([gamma, -gamma * middle, mean, np.ones(filters)]), epsilon=0.0)
    graph = chain((9, 9, 33), signs(33), convolution, norm, Sign([0.0]))
    assert_engine_is_exact(graph, images(rng, graph, 4))


def test_one_step_and_no_float_map_stands_between_binary_layers():
    rng = np.random.default_rng(6)
    layers = []
    for _ in range(4):
        layers += [
            BinaryConv2d(random_bits(rng, 64, 3, 3, 64), grid(rng, 64, 64, 8, 64), padding=1),
            random_norm(rng, 64),
            Sign([0.0]),
        ]
    graph = chain((8, 8, 64), Sign([0.0]), *layers)
    plan = compile_graph(graph)
    assert [step.kernel for step in plan.steps] == ["pointwise"] + ["binary_conv2d"] * 4
    for step in plan.steps:
        assert [plan.places[name].layout.stored for name in step.writes] == ["bits"]


def test_a_pooled_binary_layer_is_exact():
    rng = np.random.default_rng(7)
    convolution = BinaryConv2d(random_bits(rng, 20, 3, 3, 9), grid(rng, 20, 9, 1, 9), padding=1)
    pool = MaxPool2d(3, 2, padding=1)
    graph = chain((9, 9, 9), signs(9), convolution, pool, random_norm(rng, 20), signs(20), pool)
    assert_engine_is_exact(graph, images(rng, graph))


def test_one_map_of_bits_feeds_layers_that_want_it_packed_differently():
    rng = np.random.default_rng(8)
    graph = graph_of(
        (6, 6, 24),
        Node("bits", signs(24), "x"),
        Node("plain", BinaryConv2d(random_bits(rng, 24, 3, 3, 24), padding=1), "bits"),
        Node("grouped", BinaryConv2d(random_bits(rng, 24, 3, 3, 8), padding=1, groups=3), "bits"),
        Node(
            "sliced",
            BinaryConv2d(random_bits(rng, 24, 5, 5, 24), grid(rng, 24, 24, 2, 7), padding=2),
            "bits",
        ),
        Node("sum", Add(), ("plain", "grouped")),
        Node("all", Add(), ("sum", "sliced")),
    )
    assert_engine_is_exact(graph, images(rng, graph))


@pytest.mark.parametrize(("channels", "words"), [(1, 1), (16, 3), (32, 5), (63, 9), (64, 9)])
def test_windows_of_few_channels_take_few_words(channels, words):
    rng = np.random.default_rng(channels)
    convolution = BinaryConv2d(random_bits(rng, 3, 3, 3, channels), padding=1)
    graph = chain((5, 5, channels), signs(channels), convolution)
    (step,) = compile_graph(graph).steps[1:]
    assert step.parameters["filter_words"] == words
    assert_engine_is_exact(graph, images(rng, graph))


def test_a_window_of_many_small_taps_is_exact():
    rng = np.random.default_rng(9)
    convolution = BinaryConv2d(random_bits(rng, 5, 7, 7, 24), padding=3, stride=2)  # 19 words
    graph = chain((9, 9, 24), signs(24), convolution)
    assert_engine_is_exact(graph, images(rng, graph))
