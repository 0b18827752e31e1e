"""Networks written as ONNX, node by node against the references."""

import sys

import numpy as np
import pytest
from engine import chain, graph_of, images, random_bits, random_norm, signs
from small_networks import binary_resnet, pictures

from bitconv import Graph, Node, TensorType
from bitconv.errors import MissingPackageError, UnsupportedError
from bitconv.operators import (
    OPERATORS,
    ActivationScaleMap,
    Add,
    AvgPool2d,
    BinaryConv2d,
    BinaryDense,
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
from bitconv.peers.checking import difference
from bitconv.peers.engines import ENGINES
from bitconv.peers.onnx_writer import TRANSLATIONS, to_onnx
from bitconv.scales import ScaleGrid

RNG = np.random.default_rng(0)


def floats(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def binary(filters, channels, **options):
    """A binary convolution with a scale for three filters and two channels each."""
    grid = ScaleGrid(RNG.uniform(0.5, 2, (-(-filters // 3), -(-channels // 2))), 3, 2)
    return BinaryConv2d(random_bits(RNG, filters, 3, 2, channels), grid, **options)


def with_activation_scales(groups, bias):
    """XNOR-Net's layer with K, in groups."""
    geometry = {"stride": (1, 2), "dilation": (2, 1), "padding": (1, 0, 2, 1), "groups": groups}
    layer = BinaryConv2d(random_bits(RNG, 6, 3, 2, 4 // groups), None, bias, **geometry)
    nodes = (
        Node("k", ActivationScaleMap((3, 2), **geometry), "x"),
        Node("signs", signs(4), "x"),
        Node("conv", layer, ("signs", "k")),
    )
    return graph_of((8, 7, 4), *nodes)


def joined(*operators):
    """Operators of two inputs, each on x and its ReLU."""
    nodes = [Node("relu", Relu(), "x")]
    nodes += [Node(f"join{i}", op, ("x", "relu")) for i, op in enumerate(operators)]
    return graph_of((3, 4, 5), *nodes)


POINTWISE = (
    random_norm(RNG, 4),
    Relu(),
    PRelu(floats(4)),
    PRelu([0.1]),
    Clip(-1.5, 2.5),
    Clip(0.0, np.inf),
    Multiply(floats(4)),
    Multiply([-2.0]),
    Normalize(floats(4), [2.0]),
    Softmax(),
)
GEOMETRY = {"stride": (2, 1), "dilation": (1, 2), "padding": (1, 0, 2, 3)}
MOVES = (
    Pad((1, 0, 2), (0, 3, 1), -1.0),
    Transpose((2, 0, 1)),
    Slice((1, 0, 1), (6, 4, 4), (2, 1, 1)),
    Reshape((3, 12)),
    Transpose((1, 0)),
    Reshape((4, 3, 3)),
    Flatten(),
)
GRAPHS = {
    "convolutions": chain(
        (9, 8, 6),
        Conv2d(floats(4, 3, 2, 3), floats(4), groups=2, **GEOMETRY),
        Conv2d(floats(5, 1, 1, 4)),
    ),
    "binary convolutions": chain(
        (9, 8, 6),
        signs(6),
        binary(4, 3, groups=2, bias=floats(4), activation_scale=0.5, **GEOMETRY),
        Sign([0.0], zero_is_positive=False),
        BinaryConv2d(random_bits(RNG, 8, 3, 3, 4), padding=1, pad_value=1),
        signs(8),
        binary(5, 8, padding=(2, 1), pad_value=-1, bias=floats(5)),
    ),
    "binary weights on numbers": chain((9, 8, 6), binary(4, 3, groups=2, **GEOMETRY)),
    "activation scales": with_activation_scales(1, floats(6)),
    "activation scales in groups": with_activation_scales(2, None),
    "dense layers": chain(
        (6,),
        Dense(floats(8, 6)),
        BinaryDense(random_bits(RNG, 4, 8), None, floats(4), activation_scale=0.25),
        signs(),
        BinaryDense(random_bits(RNG, 3, 4), ScaleGrid.per_filter([1.0, 2.0, 3.0], 4)),
        Dense(floats(2, 3), floats(2)),
    ),
    "pointwise on a map": chain((5, 6, 4), *POINTWISE),
    "pointwise on a vector": chain((4,), *POINTWISE),
    "pointwise on rows": chain((7, 4), *POINTWISE),
    "pools": chain(
        (12, 11, 3),
        MaxPool2d((3, 2), (2, 1), (1, 0, 2, 1)),
        AvgPool2d(3, 1, 1),
        AvgPool2d((2, 3), 1, (0, 2, 1, 1), count_padding=True),
        GlobalAvgPool2d(),
    ),
    "a pool of signs": chain((6, 6, 3), signs(3), MaxPool2d(2, 1, 1)),
    "moves": chain((5, 1, 3), *MOVES),
    "moves of signs": chain((5, 1, 3), signs(3), *MOVES),
    "joined": joined(Add(), Concat()),
    "an image of bytes": chain((6, 5, 3), Normalize([120.0], [60.0]), kind="uint8"),
    "a residual network": binary_resnet(size=6, channels=8, blocks=1),
}


@pytest.fixture(params=ENGINES)
def engine(request):
    pytest.importorskip("onnx", reason="the bench extra is not installed")
    pytest.importorskip(request.param, reason="the bench extra is not installed")
    return ENGINES[request.param]


@pytest.mark.parametrize("name", GRAPHS)
def test_every_node_computes_what_its_reference_does(engine, name):
    graph = GRAPHS[name]
    assert difference(engine, graph, images(np.random.default_rng(1), graph)) == ""


def test_no_operator_is_left_out():
    written = {type(node.operator) for graph in GRAPHS.values() for node in graph.nodes}
    assert written == set(TRANSLATIONS) == set(OPERATORS.values())


def test_inputs_and_outputs_come_in_the_order_of_the_graph(engine):
    nodes = (Node("product", Multiply([2.0]), "b"), Node("sum", Add(), ("a", "product")))
    inputs = {"a": TensorType((2, 3, 4)), "b": TensorType((2, 3, 4))}
    graph = Graph(inputs, nodes, outputs=("sum", "product", "a"))
    a, b = floats(1, 2, 3, 4), floats(1, 2, 3, 4)
    found = engine(to_onnx(graph, 1), 1)([a, b])
    for value, expected in zip(found, (a + 2 * b, 2 * b, a), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-6)


def test_maps_may_stay_channels_first(engine):
    graph = chain((5, 6, 3), Conv2d(floats(4, 3, 3, 3)))
    values = floats(2, 5, 6, 3)
    (found,) = engine(to_onnx(graph, 2, channels_first=True), 1)(
        [np.ascontiguousarray(values.transpose(0, 3, 1, 2))]
    )
    expected = graph.nodes[0].operator.reference(values).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_difference_names_the_node(engine):
    def wrong(model, threads):
        run = engine(model, threads)
        return lambda arrays: [value + (i == 2) for i, value in enumerate(run(arrays))]

    graph = binary_resnet(size=6, channels=8, blocks=1)
    assert difference(wrong, graph, pictures(graph, 1)).startswith("'map0' (batch_norm) is off by")


def test_numbers_that_are_none_are_a_difference(engine):
    def wrong(model, threads):
        run = engine(model, threads)
        return lambda arrays: [value * np.float32(np.nan) for value in run(arrays)]

    graph = chain((2, 2, 1), Relu())
    assert "'node0' (relu)" in difference(wrong, graph, images(np.random.default_rng(2), graph))


def test_an_operator_that_onnx_does_not_have_is_refused():
    pytest.importorskip("onnx", reason="the bench extra is not installed")

    class Strange(Relu):
        name = "strange"

    with pytest.raises(UnsupportedError, match="node 'node0': strange has no counterpart in ONNX"):
        to_onnx(chain((2, 2, 1), Strange()), 1)


def test_an_input_that_onnx_does_not_have_is_refused():
    pytest.importorskip("onnx", reason="the bench extra is not installed")
    with pytest.raises(UnsupportedError, match="input 'x': 2 × 2 × 1 bits has no counterpart"):
        to_onnx(chain((2, 2, 1), Flatten(), kind="bits"), 1)


def test_without_onnx_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingPackageError, match=r"bitconv\[bench\]"):
        to_onnx(chain((2, 2, 1), Relu()), 1)


@pytest.mark.parametrize("name", ENGINES)
def test_without_an_engine_the_extra_is_named(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingPackageError, match=r"not installed: pip install 'bitconv\[bench\]'"):
        ENGINES[name](b"", 1)
