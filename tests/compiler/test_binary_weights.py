"""Compiled binary weights on float maps: equal to the references, and to float weights −1 and +1.

Sums of small multiples of a quarter are exact in float32, so on such maps the engine equals the
references bit for bit. On any other map it equals its own float convolution bit for bit.
"""

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

from bitconv import Model
from bitconv.compiler import compile_graph
from bitconv.file import read, write
from bitconv.graph import Graph, Node
from bitconv.operators import (
    Add,
    BinaryConv2d,
    BinaryDense,
    Clip,
    Conv2d,
    Dense,
    Flatten,
    GlobalAvgPool2d,
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
def convolutions(draw, with_bias: bool = True):
    """Any geometry: the sizes of the map, and a convolution that fits it."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    inner = draw(st.one_of(st.integers(1, 9), st.integers(1, 140)))
    filters = draw(st.integers(1, 40)) * groups
    kernel = tuple(draw(st.integers(1, 4)) for _ in range(2))
    dilation = tuple(draw(st.integers(1, 3)) for _ in range(2))
    size = [
        max(draw(st.integers(1, 9)), (kernel[axis] - 1) * dilation[axis] + 1) for axis in (0, 1)
    ]
    some_of_both = (draw(st.integers(1, filters)), draw(st.integers(-(-inner // 7), inner)))
    scale = draw(st.sampled_from([None, (1, inner), (filters, inner), some_of_both]))
    operator = BinaryConv2d(
        random_bits(rng, filters, *kernel, inner),
        scale and grid(rng, filters, inner, *scale),
        rng.normal(size=filters) if with_bias and draw(st.booleans()) else None,
        stride=tuple(draw(st.integers(1, 3)) for _ in range(2)),
        dilation=dilation,
        padding=tuple(draw(st.integers(0, 3)) for _ in range(4)),
        groups=groups,
        activation_scale=draw(st.sampled_from([1.0, 0.37])),
    )
    return rng, (*size, inner * groups), operator


def with_float_weights(shape: tuple[int, ...], operator: BinaryConv2d) -> Graph:
    """The same out of float convolutions with weights −1 and +1, one for each run of channels.

    The weights of the other runs are zeros there, whose products change no sum.
    """
    filters, _, _, channels = operator.weight_shape
    scale = operator.scale or ScaleGrid([[1.0]], filters, channels)
    geometry = {name: getattr(operator, name) for name in ("stride", "dilation", "padding")}
    nodes: list[Node] = []
    for index, (first, end) in enumerate(scale.segments(channels)):
        weight = np.zeros(operator.weight_shape, np.float32)
        weight[..., first:end] = operator.weight.signs()[..., first:end]
        convolution = Conv2d(weight, groups=operator.groups, **geometry)
        nodes.append(Node(f"sums{index}", convolution, "x"))
        alpha = scale.by_filter(filters)[:, index]
        nodes.append(Node(f"scaled{index}", Multiply(alpha), f"sums{index}"))
        if index:
            before = nodes[-3].name
            nodes.append(Node(f"total{index}", Add(), (before, f"scaled{index}")))
    nodes.append(Node("y", Multiply([operator.activation_scale]), nodes[-1].name))
    return graph_of(shape, *nodes)


def assert_equals_float_weights(rng, shape: tuple[int, ...], operator: BinaryConv2d) -> None:
    """Bit for bit, on a map of which every sum is rounded."""
    batch = rng.normal(size=(2, *shape)).astype(np.float32)
    found = engine_values(chain(shape, operator), batch)["node0"]
    expected = engine_values(with_float_weights(shape, operator), batch)["y"]
    np.testing.assert_array_equal(found, expected, strict=True)


@given(convolutions(), st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_any_geometry_is_exact_where_the_sums_are(drawn, count):
    rng, shape, operator = drawn
    graph = chain(shape, operator)
    assert_engine_is_exact(graph, images(rng, graph, count))


@given(convolutions(with_bias=False))
@settings(max_examples=60, deadline=None)
def test_any_geometry_equals_float_weights_bit_for_bit(drawn):
    assert_equals_float_weights(*drawn)


@given(convolutions())
@settings(max_examples=50, deadline=None)
def test_any_geometry_is_near_the_reference(drawn):
    rng, shape, operator = drawn
    graph = chain(shape, operator)
    batch = rng.normal(size=(2, *shape)).astype(np.float32)
    expected = reference_values(graph, batch)["node0"]
    found = engine_values(graph, batch)["node0"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@given(convolutions())
@settings(max_examples=50, deadline=None)
def test_what_follows_a_convolution_is_exact(drawn):
    rng, shape, operator = drawn
    filters = operator.weight_shape[0]
    graph = chain(shape, operator, random_norm(rng, filters), Relu(), signs(filters))
    assert_engine_is_exact(graph, images(rng, graph))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("filters", [1, 7, 8, 16, 33, 130])
@pytest.mark.parametrize("channels", [1, 3, 32, 33, 64, 65, 130])
def test_three_by_three_equals_float_weights_wherever_the_panel_ends(channels, filters, stride):
    rng = np.random.default_rng(channels)
    weight = random_bits(rng, filters, 3, 3, channels)
    scale = grid(rng, filters, channels, 8, channels)
    operator = BinaryConv2d(weight, scale, stride=stride, padding=(1, 0, 2, 1))
    assert_equals_float_weights(rng, (6, 5, channels), operator)


@pytest.mark.parametrize("across", [1, 7, 32, 40])
@pytest.mark.parametrize("groups", [1, 2])
def test_scales_by_input_channel_equal_float_weights(across, groups):
    rng = np.random.default_rng(across)
    weight = random_bits(rng, 20, 3, 2, 70)
    operator = BinaryConv2d(weight, grid(rng, 20, 70, 3, across), padding=1, groups=groups)
    assert_equals_float_weights(rng, (5, 4, 70 * groups), operator)


@pytest.mark.parametrize(
    "geometry",
    [{"dilation": (1, 2)}, {"dilation": (3, 1)}, {"groups": 3}, {"groups": 3, "dilation": 2}],
    ids=str,
)
@pytest.mark.parametrize("channels", [23, 70, 200])
def test_taps_apart_from_each_other_equal_float_weights(channels, geometry):
    rng = np.random.default_rng(0)
    operator = BinaryConv2d(random_bits(rng, 21, 3, 3, channels), padding=2, **geometry)
    assert_equals_float_weights(rng, (7, 7, channels * operator.groups), operator)


def test_a_depthwise_convolution_equals_float_weights():
    rng = np.random.default_rng(1)
    operator = BinaryConv2d(random_bits(rng, 70, 3, 3, 1), padding=1, groups=70)
    assert_equals_float_weights(rng, (6, 6, 70), operator)


def test_signs_behind_groups_that_do_not_fill_bytes_are_exact():
    rng = np.random.default_rng(2)
    operator = BinaryConv2d(random_bits(rng, 15, 3, 3, 4), grid(rng, 15, 4, 1, 4), groups=3)
    graph = chain((6, 6, 12), operator, random_norm(rng, 15), signs(15))
    assert_engine_is_exact(graph, images(rng, graph))


@pytest.mark.parametrize(
    "following",
    [
        [Relu()],
        [PRelu(np.linspace(-1, 1, 24))],
        [Clip(-0.5, 0.5), Multiply([3.0])],
        [Sign([0.1], zero_is_positive=False)],
        [MaxPool2d(2), Relu()],
    ],
    ids=lambda operators: operators[0].name,
)
def test_every_follower_is_exact(following):
    rng = np.random.default_rng(3)
    operator = BinaryConv2d(random_bits(rng, 24, 3, 3, 17), grid(rng, 24, 17, 1, 17), padding=1)
    graph = chain((6, 6, 17), operator, *following)
    assert_engine_is_exact(graph, images(rng, graph))


def binary_weight_resnet(rng: np.random.Generator, channels: int = 24) -> Graph:
    """Two residual blocks of binary weights, one of binary activations too, and a classifier."""

    def scaled() -> BinaryConv2d:
        weight = random_bits(rng, channels, 3, 3, channels)
        return BinaryConv2d(weight, grid(rng, channels, channels, 8, channels), padding=1)

    classifier = BinaryDense(
        random_bits(rng, 5, channels), grid(rng, 5, channels, 5, channels), rng.normal(size=5)
    )
    return graph_of(
        (8, 8, 3),
        Node("stem", BinaryConv2d(random_bits(rng, channels, 3, 3, 3), padding=1), "x"),
        Node("norm0", random_norm(rng, channels), "stem"),
        Node("map0", Relu(), "norm0"),
        Node("conv1", scaled(), "map0"),
        Node("norm1", random_norm(rng, channels), "conv1"),
        Node("add1", Add(), ("map0", "norm1")),
        Node("map1", Relu(), "add1"),
        Node("sign2", signs(channels), "map1"),
        Node("conv2", scaled(), "sign2"),
        Node("add2", Add(), ("map1", "conv2")),
        Node("mean", GlobalAvgPool2d(), "add2"),
        Node("scores", classifier, "mean"),
        kind="uint8",
    )


def test_a_block_of_binary_weights_is_one_step():
    plan = compile_graph(binary_weight_resnet(np.random.default_rng(4)))
    assert [(step.kernel, step.nodes) for step in plan.steps] == [
        ("pointwise", ("x",)),
        ("binary_weight_conv2d", ("stem", "norm0", "map0")),
        ("binary_weight_conv2d", ("conv1", "norm1", "add1", "map1", "sign2")),
        ("binary_conv2d", ("conv2", "add2")),
        ("pool2d", ("mean",)),
        ("binary_weight_conv2d", ("scores",)),
    ]


def test_a_network_of_binary_weights_is_verified_step_by_step():
    rng = np.random.default_rng(5)
    model = Model(binary_weight_resnet(rng))
    batch = rng.integers(0, 256, (3, 8, 8, 3)).astype(np.uint8)
    found = model.verify(batch)
    assert found.ok, str(found)
    exact = {step.value: step.exact for step in found.steps}
    assert not exact["map0"]
    assert not exact["scores"]
    assert exact["add2"]
    assert found.same_labels == 3
    assert "binary_weight_conv2d" in str(found)
    assert "binary_dense" in str(model.summary())


def test_a_file_of_binary_weights_gives_the_same_network(tmp_path):
    rng = np.random.default_rng(6)
    graph = binary_weight_resnet(rng)
    write(graph, tmp_path / "network.h5")
    batch = rng.integers(0, 256, (2, 8, 8, 3)).astype(np.uint8)
    loaded = Model(read(tmp_path / "network.h5"))
    np.testing.assert_array_equal(loaded.predict(batch), Model(graph).predict(batch))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_share_the_work(monkeypatch, threads):
    monkeypatch.setattr("bitconv.compiler.builder.PARALLEL_SECONDS", 0.0)
    monkeypatch.setattr("bitconv.compiler.builder.SHARE_SECONDS", 1e-12)
    rng = np.random.default_rng(threads)
    operator = BinaryConv2d(random_bits(rng, 70, 3, 3, 20), grid(rng, 70, 20, 8, 9), padding=1)
    graph = chain((9, 9, 20), operator, signs(70))
    assert compile_graph(graph, threads=threads).has_parallel_steps == (threads > 1)
    assert_engine_is_exact(graph, images(rng, graph, 3), threads=threads)


@pytest.mark.parametrize("across", [70, 150])
def test_a_dense_layer_of_many_images_is_exact(across):
    rng = np.random.default_rng(across)
    layer = BinaryDense(random_bits(rng, 21, 150), grid(rng, 21, 150, 4, across), np.ones(21), 0.5)
    graph = chain((5, 6, 5), Flatten(), layer)
    assert_engine_is_exact(graph, images(rng, graph, 37))


def test_a_dense_layer_equals_float_weights_bit_for_bit():
    rng = np.random.default_rng(7)
    weight = random_bits(rng, 33, 130)
    batch = rng.normal(size=(7, 130)).astype(np.float32)
    found, expected = (
        engine_values(chain((130,), layer), batch)["node0"]
        for layer in (BinaryDense(weight), Dense(weight.signs().astype(np.float32)))
    )
    np.testing.assert_array_equal(found, expected, strict=True)


def test_one_map_feeds_float_weights_and_binary_weights_with_other_padding():
    rng = np.random.default_rng(8)
    wide = BinaryConv2d(random_bits(rng, 9, 5, 5, 6), grid(rng, 9, 6, 1, 4), padding=2)
    graph = graph_of(
        (6, 6, 6),
        Node("map", Relu(), "x"),
        Node("plain", Conv2d(rng.integers(-2, 3, (9, 3, 3, 6)) / 4, padding=1), "map"),
        Node("wide", wide, "map"),
        Node("bits", signs(6), "map"),
        Node("of_bits", BinaryConv2d(random_bits(rng, 9, 3, 3, 6), padding=1), "bits"),
        Node("sum", Add(), ("plain", "wide")),
        Node("all", Add(), ("sum", "of_bits")),
    )
    assert_engine_is_exact(graph, images(rng, graph))


def test_no_plan_holds_float_weights():
    rng = np.random.default_rng(9)
    weight = random_bits(rng, 64, 3, 3, 64)
    bits = compile_graph(chain((8, 8, 64), BinaryConv2d(weight, grid(rng, 64, 64, 1, 64))))
    floats = compile_graph(chain((8, 8, 64), Conv2d(weight.signs()), Multiply(rng.normal(size=64))))
    besides = len(floats.constants) - 4 * weight.size  # the scales
    more = 1024 + 64  # scales are repeated for several rows of a block; the table of runs
    assert len(bits.constants) <= weight.size // 8 + besides + more
    assert bits.arena_bytes == floats.arena_bytes  # so they are not made at run time either


def test_filters_of_one_tap_take_a_bit_a_weight():
    rng = np.random.default_rng(10)
    dense = BinaryConv2d(random_bits(rng, 64, 1, 1, 1024))
    grouped = BinaryConv2d(random_bits(rng, 128, 3, 3, 96), dilation=2, groups=2)
    for operator in (dense, grouped):
        plan = compile_graph(chain((5, 5, 96 * 2 if operator is grouped else 1024), operator))
        assert len(plan.constants) <= operator.weight.size // 8 + 64
