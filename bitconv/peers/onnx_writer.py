"""A network as an ONNX model that computes the same numbers in float32.

Signs are the numbers −1 and +1, binary weights are α·sign(W). Maps lie channels first, as other
engines want them: between ``(height, width, channels)`` here and ``(channels, height, width)``
there every operator with axes is translated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.errors import MissingPackageError, UnsupportedError
from bitconv.graph import Graph, Node, TensorType
from bitconv.operators import (
    ActivationScaleMap,
    Add,
    AvgPool2d,
    BatchNorm,
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
    Operator,
    Pad,
    PRelu,
    Relu,
    Reshape,
    Sign,
    Slice,
    Softmax,
    Transpose,
)
from bitconv.operators.window import Window
from bitconv.peers.float_network import scaled_signs

OPSET, IR_VERSION = 17, 8  # old enough for every engine in use
INPUTS = {"uint8": "UINT8", "float32": "FLOAT"}  # kinds and ONNX's names for them


def to_onnx(graph: Graph, images: int, *, channels_first: bool = False) -> bytes:
    """Write a network as ONNX.

    Parameters
    ----------
    graph : Graph
    images : int
        Of a batch; ONNX can leave it open, but engines do better when they know it.
    channels_first : bool
        Whether maps come and go as (channels, height, width), which spares the engine moving them.

    Returns
    -------
    bytes
        A model whose inputs and outputs are in the order of the graph's. Outputs are float32.

    Raises
    ------
    UnsupportedError
        An operator or an input has no counterpart, naming it.
    MissingPackageError
        The package ``onnx`` is not installed.
    """
    writer = _Writer(graph, images, channels_first)
    for name, value in graph.inputs.items():
        writer.take(name, value)
    for node in graph.nodes:
        translate = TRANSLATIONS.get(type(node.operator))
        if translate is None:
            raise UnsupportedError(
                f"node {node.name!r}: {node.operator.name} has no counterpart in ONNX"
            )
        inputs = [writer.names[name] for name in node.inputs]
        writer.names[node.name] = translate(writer, node, inputs)
    for name in graph.outputs:
        writer.give(name)
    return writer.serialized()


class _Writer:
    """An ONNX graph in the making.

    Attributes
    ----------
    images : int
    names : dict of str to str
        Of the values of the graph written so far: their names in ONNX.
    """

    def __init__(self, graph: Graph, images: int, channels_first: bool) -> None:
        try:
            import onnx
        except ImportError as error:
            raise MissingPackageError(
                "comparing with other engines takes onnx: pip install 'bitconv[bench]'"
            ) from error
        self._onnx = onnx
        self._graph, self.images = graph, images
        self._moves = not channels_first
        self.names: dict[str, str] = {}
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def rank(self, name: str) -> int:
        """Axes of a value of the graph, without that of the images."""
        return len(self._graph.types[name].shape)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._graph.types[name].shape

    def constant(self, array: NDArray[Any]) -> str:
        """Store an array; its name."""
        name = f"constant {len(self._constants)}"
        contiguous = np.ascontiguousarray(array)
        self._constants.append(self._onnx.numpy_helper.from_array(contiguous, name))
        return name

    def floats(self, values: Any) -> str:
        """Store float32 numbers; their name."""
        return self.constant(np.asarray(values, np.float32))

    def integers(self, values: Sequence[int]) -> str:
        """Store int64 numbers; their name."""
        return self.constant(np.asarray(values, np.int64))

    def by_channel(self, vector: NDArray[np.float32], rank: int) -> str:
        """Store one number a channel, in a shape that fits a value of that many axes."""
        return self.floats(vector[:, None, None] if rank == 3 else vector)

    def add(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Append a node with one output; its name."""
        name = f"value {len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(kind, inputs, [name], **attributes))
        return name

    def channels_last(self, value: str, rank: int) -> str:
        """The value with its axes as the graph has them."""
        return self.add("Transpose", [value], perm=[0, 2, 3, 1]) if rank == 3 else value

    def channels_first(self, value: str, rank: int) -> str:
        """The value with its axes as other engines have them."""
        return self.add("Transpose", [value], perm=[0, 3, 1, 2]) if rank == 3 else value

    def take(self, name: str, value: TensorType) -> None:
        """Declare an input of the graph."""
        if value.kind not in INPUTS:
            raise UnsupportedError(f"input {name!r}: {value} has no counterpart in ONNX")
        taken = f"input {len(self._inputs)}"
        self._inputs.append(self._declared(taken, INPUTS[value.kind], value.shape))
        if value.kind != "float32":
            taken = self.add("Cast", [taken], to=self._onnx.TensorProto.FLOAT)
        rank = len(value.shape)
        self.names[name] = self.channels_first(taken, rank) if self._moves else taken

    def give(self, name: str) -> None:
        """Declare a value of the graph as an output."""
        value, rank = self.names[name], self.rank(name)
        given = self.channels_last(value, rank) if self._moves else value
        output = f"output {len(self._outputs)}"
        self._nodes.append(self._onnx.helper.make_node("Identity", [given], [output]))
        self._outputs.append(self._declared(output, "FLOAT", self.shape(name)))

    def serialized(self) -> bytes:
        """The whole model."""
        helper = self._onnx.helper
        graph = helper.make_graph(
            self._nodes, "bitconv", self._inputs, self._outputs, self._constants
        )
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
        written: bytes = model.SerializeToString()
        return written

    def _declared(self, name: str, kind: str, shape: tuple[int, ...]) -> Any:
        if not self._moves:
            shape = tuple(shape[axis] for axis in _stored_axes(len(shape)))
        element = getattr(self._onnx.TensorProto, kind)
        return self._onnx.helper.make_tensor_value_info(name, element, (self.images, *shape))


def _stored_axes(rank: int) -> tuple[int, ...]:
    """The axes of a value in the order in which ONNX stores them, without that of the images."""
    return (2, 0, 1) if rank == 3 else tuple(range(rank))


def _channel_axis(rank: int) -> int:
    """The axis of the channels in ONNX."""
    return 1 + _stored_axes(rank).index(rank - 1)


Translation = Callable[[_Writer, Node, list[str]], str]


# --- Convolutions and dense layers -----------------------------------------------------------


def _convolve(
    writer: _Writer,
    value: str,
    weight: NDArray[np.float32],
    bias: NDArray[np.float32] | None,
    window: Window,
    groups: int,
) -> str:
    """A convolution with a weight of shape (O, kernel height, kernel width, I)."""
    inputs = [value, writer.floats(weight.transpose(0, 3, 1, 2))]
    if bias is not None:
        inputs.append(writer.floats(bias))
    return writer.add(
        "Conv",
        inputs,
        strides=window.stride,
        dilations=window.dilation,
        pads=window.padding,
        group=groups,
    )


def _conv2d(writer: _Writer, node: Node, inputs: list[str]) -> str:
    layer = node.operator
    assert isinstance(layer, Conv2d)
    return _convolve(writer, inputs[0], layer.weight, layer.bias, layer.window, layer.groups)


def _binary_conv2d(writer: _Writer, node: Node, inputs: list[str]) -> str:
    layer = node.operator
    assert isinstance(layer, BinaryConv2d)
    value, window = inputs[0], layer.window
    if layer.pad_value and any(window.padding):
        top, left, bottom, right = window.padding
        pads = writer.integers([0, 0, top, left, 0, 0, bottom, right])
        value = writer.add("Pad", [value, pads, writer.floats(layer.pad_value)])
        window = Window(window.kernel, window.stride, window.dilation)
    weight = scaled_signs(layer) * np.float32(layer.activation_scale)
    if len(inputs) == 1:
        return _convolve(writer, value, weight, layer.bias, window, layer.groups)
    sums = _convolve(writer, value, weight, None, window, layer.groups)
    scales = inputs[1]
    if layer.groups > 1:
        filters = np.arange(len(weight)) // (len(weight) // layer.groups)
        scales = writer.add("Gather", [scales, writer.constant(filters)], axis=1)
    scaled = writer.add("Mul", [sums, scales])
    return scaled if layer.bias is None else _add_bias(writer, scaled, layer.bias)


def _add_bias(writer: _Writer, value: str, bias: NDArray[np.float32]) -> str:
    return writer.add("Add", [value, writer.by_channel(bias, rank=3)])


def _activation_scale_map(writer: _Writer, node: Node, inputs: list[str]) -> str:
    operator = node.operator
    assert isinstance(operator, ActivationScaleMap)
    window, groups = operator.window, operator.groups
    channels = writer.shape(node.inputs[0])[-1] // groups
    terms = window.kernel[0] * window.kernel[1] * channels
    mean = np.full((groups, *window.kernel, channels), 1 / terms, np.float32)
    return _convolve(writer, writer.add("Abs", inputs), mean, None, window, groups)


def _dense(writer: _Writer, node: Node, inputs: list[str]) -> str:
    layer = node.operator
    assert isinstance(layer, Dense | BinaryDense)
    if isinstance(layer, Dense):
        weight = layer.weight
    else:
        weight = scaled_signs(layer) * np.float32(layer.activation_scale)
    bias = [] if layer.bias is None else [writer.floats(layer.bias)]
    return writer.add("Gemm", [*inputs, writer.floats(weight), *bias], transB=1)


# --- Pointwise ---------------------------------------------------------------------------------


def _normalize(writer: _Writer, node: Node, inputs: list[str]) -> str:
    operator, rank = node.operator, writer.rank(node.name)
    assert isinstance(operator, Normalize)
    centred = writer.add("Sub", [*inputs, writer.by_channel(operator.mean, rank)])
    return writer.add("Div", [centred, writer.by_channel(operator.std, rank)])


def _batch_norm(writer: _Writer, node: Node, inputs: list[str]) -> str:
    operator, rank = node.operator, writer.rank(node.name)
    assert isinstance(operator, BatchNorm)
    if _channel_axis(rank) == 1:
        rows = [writer.floats(row) for row in operator.statistics]
        return writer.add("BatchNormalization", [*inputs, *rows], epsilon=operator.epsilon)
    factor, offset = (writer.by_channel(vector, rank) for vector in operator.factors())
    return writer.add("Add", [writer.add("Mul", [*inputs, factor]), offset])


def _sign(writer: _Writer, node: Node, inputs: list[str]) -> str:
    sign = node.operator
    assert isinstance(sign, Sign)
    compare = "Less" if sign.zero_is_positive else "LessOrEqual"
    threshold = writer.by_channel(sign.threshold, writer.rank(node.name))
    below = writer.add(compare, [*inputs, threshold])
    return writer.add("Where", [below, writer.floats(-1), writer.floats(1)])


def _relu(writer: _Writer, _node: Node, inputs: list[str]) -> str:
    return writer.add("Relu", inputs)


def _prelu(writer: _Writer, node: Node, inputs: list[str]) -> str:
    operator = node.operator
    assert isinstance(operator, PRelu)
    slope = writer.by_channel(operator.slope, writer.rank(node.name))
    return writer.add("PRelu", [*inputs, slope])


def _clip(writer: _Writer, node: Node, inputs: list[str]) -> str:
    operator = node.operator
    assert isinstance(operator, Clip)
    limits = [
        writer.floats(limit) if np.isfinite(limit) else ""  # left out
        for limit in (operator.minimum, operator.maximum)
    ]
    return writer.add("Clip", [*inputs, *limits])


def _multiply(writer: _Writer, node: Node, inputs: list[str]) -> str:
    operator = node.operator
    assert isinstance(operator, Multiply)
    factor = writer.by_channel(operator.factor, writer.rank(node.name))
    return writer.add("Mul", [*inputs, factor])


def _add(writer: _Writer, _node: Node, inputs: list[str]) -> str:
    return writer.add("Add", inputs)


def _softmax(writer: _Writer, node: Node, inputs: list[str]) -> str:
    return writer.add("Softmax", inputs, axis=_channel_axis(writer.rank(node.name)))


# --- Pools -------------------------------------------------------------------------------------


def _pool(writer: _Writer, node: Node, inputs: list[str]) -> str:
    pool = node.operator
    assert isinstance(pool, MaxPool2d | AvgPool2d)
    window = pool.window
    attributes = {
        "kernel_shape": window.kernel,
        "strides": window.stride,
        "pads": window.padding,
    }
    if isinstance(pool, MaxPool2d):
        return writer.add("MaxPool", inputs, **attributes)
    return writer.add(
        "AveragePool", inputs, **attributes, count_include_pad=int(pool.count_padding)
    )


def _global_avg_pool2d(writer: _Writer, _node: Node, inputs: list[str]) -> str:
    return writer.add("Flatten", [writer.add("GlobalAveragePool", inputs)])


# --- Moving elements ---------------------------------------------------------------------------


def _concat(writer: _Writer, node: Node, inputs: list[str]) -> str:
    return writer.add("Concat", inputs, axis=_channel_axis(writer.rank(node.name)))


def _pad(writer: _Writer, node: Node, inputs: list[str]) -> str:
    pad = node.operator
    assert isinstance(pad, Pad)
    axes = _stored_axes(writer.rank(node.name))
    before, after = ([lengths[axis] for axis in axes] for lengths in (pad.before, pad.after))
    lengths = writer.integers([0, *before, 0, *after])
    return writer.add("Pad", [*inputs, lengths, writer.floats(pad.value)])


def _reshape(writer: _Writer, node: Node, inputs: list[str]) -> str:
    """The elements in the graph's order, channels last, in another shape."""
    value = writer.channels_last(inputs[0], writer.rank(node.inputs[0]))
    shape = writer.integers([writer.images, *writer.shape(node.name)])
    reshaped = writer.add("Reshape", [value, shape])
    return writer.channels_first(reshaped, writer.rank(node.name))


def _slice(writer: _Writer, node: Node, inputs: list[str]) -> str:
    operator = node.operator
    assert isinstance(operator, Slice)
    stored = _stored_axes(writer.rank(node.name))
    start, stop, step = (
        writer.integers([numbers[axis] for axis in stored])
        for numbers in (operator.start, operator.stop, operator.step)
    )
    axes = writer.integers(range(1, len(stored) + 1))
    return writer.add("Slice", [*inputs, start, stop, axes, step])


def _transpose(writer: _Writer, node: Node, inputs: list[str]) -> str:
    operator = node.operator
    assert isinstance(operator, Transpose)
    stored = _stored_axes(writer.rank(node.name))
    order = [1 + stored.index(operator.order[axis]) for axis in stored]
    return writer.add("Transpose", inputs, perm=[0, *order])


TRANSLATIONS: dict[type[Operator], Translation] = {
    ActivationScaleMap: _activation_scale_map,
    Add: _add,
    AvgPool2d: _pool,
    BatchNorm: _batch_norm,
    BinaryConv2d: _binary_conv2d,
    BinaryDense: _dense,
    Clip: _clip,
    Concat: _concat,
    Conv2d: _conv2d,
    Dense: _dense,
    Flatten: _reshape,
    GlobalAvgPool2d: _global_avg_pool2d,
    MaxPool2d: _pool,
    Multiply: _multiply,
    Normalize: _normalize,
    PRelu: _prelu,
    Pad: _pad,
    Relu: _relu,
    Reshape: _reshape,
    Sign: _sign,
    Slice: _slice,
    Softmax: _softmax,
    Transpose: _transpose,
}
