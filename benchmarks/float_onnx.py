"""The same layers in float32 as ONNX, and sessions of onnxruntime that run them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bitconv.graph import Graph, Node
from bitconv.operators import (
    Add,
    AvgPool2d,
    BatchNorm,
    BinaryConv2d,
    Concat,
    Conv2d,
    Dense,
    GlobalAvgPool2d,
    Normalize,
    PRelu,
    Sign,
)
from bitconv.operators.window import Window

OPSET, IR_VERSION = 17, 8  # old enough for every onnxruntime in use


def session(model: bytes, *, threads: int) -> Any:
    """An onnxruntime session with its default optimizations."""
    onnxruntime = _optional("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def convolution(weight: NDArray[np.float32], size: int) -> bytes:
    """One convolution of stride 1 that keeps the size of its map.

    Parameters
    ----------
    weight : float32 array of shape (O, kernel height, kernel width, I)
    size : int
        Rows and columns of the map; it comes and goes with its channels first.
    """
    filters, height, width, channels = weight.shape
    model = _Model()
    window = Window((height, width), padding=(height // 2, width // 2) * 2)
    model.convolve("x", "y", weight, window)
    return model.bytes(
        ("x", "FLOAT", (1, channels, size, size)), ("y", "FLOAT", (1, filters, size, size))
    )


def network(graph: Graph, images: int, *, signs: bool) -> bytes:
    """A binary network with float32 weights α·sign(W).

    Parameters
    ----------
    graph : Graph
        From a uint8 image to class scores.
    images : int
    signs : bool
        Whether activations are binarized, as in the network, or pass as they are, as in the float
        network of the same layers.
    """
    ((source, value),) = graph.inputs.items()
    (output,) = graph.outputs
    model = _Model()
    model.add("Cast", [source], "image as float", to=_optional("onnx").TensorProto.FLOAT)
    model.add("Transpose", ["image as float"], "channels first", perm=[0, 3, 1, 2])
    names = {source: "channels first"}
    for node in graph.nodes:
        _add_node(model, node, [names.get(name, name) for name in node.inputs], signs)
    return model.bytes(
        (source, "UINT8", (images, *value.shape)),
        (output, "FLOAT", (images, *graph.types[output].shape)),
    )


def _add_node(model: _Model, node: Node, inputs: list[str], signs: bool) -> None:
    match node.operator:
        case Normalize() as normalize:
            centred = f"{node.name} centred"
            model.add("Sub", [*inputs, model.constant(_by_channel(normalize.mean))], centred)
            model.add("Div", [centred, model.constant(_by_channel(normalize.std))], node.name)
        case Conv2d(groups=1, bias=None) as conv:
            model.convolve(inputs[0], node.name, conv.weight, conv.window)
        case BinaryConv2d(groups=1, bias=None, pad_value=0) as conv if len(inputs) == 1:
            model.convolve(inputs[0], node.name, _scaled_signs(conv), conv.window)
        case BatchNorm(statistics, epsilon):
            rows = [model.constant(row) for row in statistics]
            model.add("BatchNormalization", [*inputs, *rows], node.name, epsilon=epsilon)
        case Sign() as sign if signs:
            below = f"{node.name} below"
            compare = "Less" if sign.zero_is_positive else "LessOrEqual"
            model.add(compare, [*inputs, model.constant(_by_channel(sign.threshold))], below)
            choices = [model.constant(np.array(value, np.float32)) for value in (-1, 1)]
            model.add("Where", [below, *choices], node.name)
        case Sign():
            model.add("Identity", inputs, node.name)
        case Add():
            model.add("Add", inputs, node.name)
        case PRelu(slope):
            model.add("PRelu", [*inputs, model.constant(_by_channel(slope))], node.name)
        case AvgPool2d() as pool:
            model.add(
                "AveragePool",
                inputs,
                node.name,
                kernel_shape=pool.window.kernel,
                strides=pool.window.stride,
                pads=pool.window.padding,
                count_include_pad=int(pool.count_padding),
            )
        case Concat():
            model.add("Concat", inputs, node.name, axis=1)
        case GlobalAvgPool2d():
            pixel = f"{node.name} pixel"
            model.add("GlobalAveragePool", inputs, pixel)
            model.add("Flatten", [pixel], node.name)
        case Dense(weight, bias) if bias is not None:
            arrays = [model.constant(weight), model.constant(bias)]
            model.add("Gemm", [*inputs, *arrays], node.name, transB=1)
        case operator:
            raise NotImplementedError(f"no float layer is known for {node.name!r}: {operator}")


def _scaled_signs(conv: BinaryConv2d) -> NDArray[np.float32]:
    """α·sign(W), with the constant scale of the activations."""
    weight = conv.weight.signs() * np.float32(conv.activation_scale)
    if conv.scale is None:
        return weight
    filters, *_, channels = conv.weight_shape
    alpha = conv.scale.by_filter(filters).repeat(conv.scale.channels_per_scale, axis=1)
    return weight * alpha[:, None, None, :channels]


def _by_channel(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    return vector[:, None, None]


class _Model:
    """An ONNX graph that is being written."""

    def __init__(self) -> None:
        self._onnx = _optional("onnx")
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, array: NDArray[np.float32]) -> str:
        """Store an array; its name."""
        name = f"constant {len(self._constants)}"
        array = np.ascontiguousarray(array, np.float32)
        self._constants.append(self._onnx.numpy_helper.from_array(array, name))
        return name

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        """Append a node with one output."""
        node = self._onnx.helper.make_node(kind, inputs, [output], **attributes)
        self._nodes.append(node)

    def convolve(
        self, source: str, output: str, weight: NDArray[np.float32], window: Window
    ) -> None:
        """Append a convolution with a weight of shape (O, kernel height, kernel width, I)."""
        self.add(
            "Conv",
            [source, self.constant(weight.transpose(0, 3, 1, 2))],
            output,
            strides=window.stride,
            dilations=window.dilation,
            pads=window.padding,
        )

    def bytes(self, *values: tuple[str, str, tuple[int, ...]]) -> bytes:
        """The model with one input and one output, each a (name, type, shape)."""
        helper, types = self._onnx.helper, self._onnx.TensorProto
        source, output = (
            helper.make_tensor_value_info(name, getattr(types, kind), shape)
            for name, kind, shape in values
        )
        graph = helper.make_graph(self._nodes, "float32", [source], [output], self._constants)
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
        serialized: bytes = model.SerializeToString()
        return serialized


def _optional(package: str) -> Any:
    """The package, or a skipped benchmark: peers need not be installed."""
    return pytest.importorskip(package, reason=f"{package} is missing: pip install '.[bench]'")
