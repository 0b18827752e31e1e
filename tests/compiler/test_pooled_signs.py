"""Maxima with signs behind them are pools of bits, and equal the reference bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from engine import (
    assert_engine_is_exact,
    chain,
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
from bitconv.graph import Node
from bitconv.operators import (
    AvgPool2d,
    BatchNorm,
    BinaryConv2d,
    Clip,
    Conv2d,
    MaxPool2d,
    Multiply,
    PRelu,
    Relu,
    Sign,
)
from bitconv.scales import ScaleGrid


def norm(rng: np.random.Generator, channels: int) -> BatchNorm:
    """Gammas of both signs and zeros, and offsets that often meet what maps hold exactly."""
    gamma = rng.integers(-2, 3, channels) / 2
    beta, mean = rng.integers(-4, 5, (2, channels)) / 4
    return BatchNorm(np.stack([gamma, beta, mean, np.ones(channels)]), epsilon=0.0)


@st.composite
def between(draw, rng: np.random.Generator, channels: int):
    """Up to two operators that keep or turn the order of a channel."""
    choices = [
        norm(rng, channels),
        random_norm(rng, channels),
        Relu(),
        PRelu(rng.uniform(0, 1, channels)),
        PRelu(rng.normal(size=channels)),  # falls and rises
        Clip(-0.5, 1.0),
        Multiply(rng.integers(-1, 2, channels)),
    ]
    return draw(st.lists(st.sampled_from(choices), max_size=2))


@st.composite
def pools(draw):
    kernel = [draw(st.integers(1, 4)) for _ in range(2)]
    padding = [draw(st.integers(0, min(2, kernel[side % 2] - 1))) for side in range(4)]
    stride = tuple(draw(st.integers(1, 3)) for _ in range(2))
    return MaxPool2d(tuple(kernel), stride, tuple(padding))


@st.composite
def pooled(draw):
    """A map, a pool, what may stand behind it, and a sign."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    channels = draw(st.one_of(st.integers(1, 9), st.sampled_from([63, 64, 65, 130])))
    shape = (draw(st.integers(4, 9)), draw(st.integers(4, 9)), channels)
    threshold = rng.integers(-4, 5, draw(st.sampled_from([1, channels]))) / 4
    last = Sign(threshold, zero_is_positive=draw(st.booleans()))
    return rng, shape, [draw(pools()), *draw(between(rng, channels)), last]


@given(pooled(), st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_any_pool_and_sign_of_a_map_are_exact(drawn, count):
    rng, shape, operators = drawn
    graph = chain(shape, *operators)
    assert_engine_is_exact(graph, images(rng, graph, count))


@given(pooled(), st.sampled_from([0, 1]), st.booleans())
@settings(max_examples=80, deadline=None)
def test_any_pool_and_sign_behind_a_binary_convolution_are_exact(drawn, padding, in_parts):
    rng, shape, operators = drawn
    channels = shape[-1]
    across = -(-channels // 2) if in_parts else channels
    scale = ScaleGrid(rng.normal(size=(channels, -(-channels // across))), 1, across)
    weight = random_bits(rng, channels, 1 + 2 * padding, 1 + 2 * padding, channels)
    convolution = BinaryConv2d(weight, scale, padding=padding)
    behind = BinaryConv2d(random_bits(rng, 7, 1, 1, channels))
    graph = chain(shape, signs(channels), convolution, *operators, behind)
    assert_engine_is_exact(graph, images(rng, graph, 2))


def kernels_and_kinds(graph):
    plan = compile_graph(graph)
    return [
        (step.kernel, *(plan.places[name].layout.stored for name in step.writes))
        for step in plan.steps
    ]


def test_no_float_map_stands_between_a_binary_convolution_and_a_pooled_sign():
    rng = np.random.default_rng(0)
    convolution = BinaryConv2d(random_bits(rng, 64, 3, 3, 64), padding=1)
    graph = chain(
        (8, 8, 64), signs(64), convolution, MaxPool2d(2), random_norm(rng, 64), signs(64),
        convolution,
    )  # fmt: skip
    assert kernels_and_kinds(graph) == [
        ("pointwise", "bits"),
        ("binary_conv2d", "bits"),
        ("max_pool2d_bits", "bits"),
        ("binary_conv2d", "float32"),
    ]


def test_a_float_convolution_packs_the_signs_that_a_pool_takes():
    rng = np.random.default_rng(1)
    convolution = Conv2d(rng.normal(size=(16, 3, 3, 8)))
    graph = chain((8, 8, 8), convolution, Relu(), MaxPool2d(2), random_norm(rng, 16), signs(16))
    assert kernels_and_kinds(graph) == [("conv2d", "bits"), ("max_pool2d_bits", "bits")]
    batch = images(rng, graph)
    expected = reference_values(graph, batch)["node4"]
    np.testing.assert_array_equal(Model(graph).predict(batch), expected)


def test_a_map_that_others_read_is_stored_beside_its_signs():
    rng = np.random.default_rng(2)
    graph = graph_of(
        (6, 6, 5),
        Node("map", Relu(), "x"),
        Node("pool", MaxPool2d(3, 2, padding=1), "map"),
        Node("norm", norm(rng, 5), "pool"),
        Node("sign", signs(5), "norm"),
        Node("mean", AvgPool2d(2), "map"),
        outputs=("sign", "mean"),
    )
    assert_engine_is_exact(graph, images(rng, graph))
    assert ("max_pool2d_bits", "bits") in kernels_and_kinds(graph)


@pytest.mark.parametrize("other", ["output", "reader"])
def test_a_maximum_that_others_need_stays_one_of_floats(other):
    graph = graph_of(
        (6, 6, 5),
        Node("pool", MaxPool2d(2), "x"),
        Node("sign", signs(5), "pool"),
        *([Node("mean", AvgPool2d(2), "pool")] if other == "reader" else []),
        outputs=("sign", "mean" if other == "reader" else "pool"),
    )
    assert_engine_is_exact(graph, images(np.random.default_rng(3), graph))
    assert "max_pool2d_bits" not in [kernel for kernel, *_ in kernels_and_kinds(graph)]


def test_averages_are_taken_before_signs():
    graph = chain((6, 6, 5), AvgPool2d(2), signs(5))
    assert_engine_is_exact(graph, images(np.random.default_rng(4), graph))
    assert kernels_and_kinds(graph) == [("pool2d", "bits")]


def test_a_chain_that_overflows_to_no_number_is_left_alone():
    middle = [Multiply([3e38]), Multiply([3e38]), Multiply([0.0])]
    graph = chain((4, 4, 3), MaxPool2d(2), *middle, signs(3))
    with np.errstate(over="ignore", invalid="ignore"):
        assert_engine_is_exact(graph, images(np.random.default_rng(5), graph))


def test_every_node_is_done_by_exactly_one_step():
    rng = np.random.default_rng(6)
    graph = chain((6, 6, 5), Relu(), MaxPool2d(2), norm(rng, 5), Clip(-1, 1), signs(5))
    done = [name for step in compile_graph(graph).steps for name in step.nodes]
    assert sorted(done) == sorted(node.name for node in graph.nodes)


@pytest.mark.parametrize("binary", [True, False])
def test_a_pooled_sign_is_verified_from_what_stands_before_the_pool(binary):
    rng = np.random.default_rng(7)
    if binary:
        layers = [signs(8), BinaryConv2d(random_bits(rng, 16, 3, 3, 8), padding=1)]
    else:
        layers = [Conv2d(rng.normal(size=(16, 3, 3, 8)))]
    graph = chain((8, 8, 8), *layers, MaxPool2d(2), random_norm(rng, 16), signs(16), MaxPool2d(2))
    model = Model(graph)
    verified = model.verify(images(rng, graph, 3))
    assert verified.ok
    pooled_sign = f"node{len(layers) + 2}"
    (step,) = (step for step in verified.steps if step.value == pooled_sign)
    assert step.exact == binary
    assert step.elements == 3 * 16 * (16 if binary else 9)
