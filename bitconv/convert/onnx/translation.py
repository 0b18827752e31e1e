"""The walk over the nodes of an ONNX network.

Every node has a rule, which appends operators to the graph or only learns something: a comparison
becomes levels, a pad and a transpose wait for who needs them. Nodes that no image reaches are
computed. A rule that cannot do a node raises; the walk goes on, and in the end all such nodes are
named at once.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bitconv.convert.onnx import affine, elementwise, layers, quantizers, shapes, windows
from bitconv.convert.onnx.building import Build
from bitconv.convert.onnx.constants import evaluate
from bitconv.convert.onnx.context import Context, Operand, Rule
from bitconv.convert.onnx.reach import steps_of
from bitconv.convert.onnx.reading import OnnxNetwork, OnnxNode, read_network
from bitconv.convert.onnx.values import Value, natural_order
from bitconv.convert.report import ConversionReport, LayerReport, scales_of
from bitconv.errors import GraphError, UnsupportedError
from bitconv.graph import Graph, Metadata, TensorType
from bitconv.operators import BinaryConv2d, BinaryDense, Softmax
from bitconv.text import printable

# What a rule raises for a node that it cannot do, or that is malformed.
REFUSALS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    GraphError,
    LookupError,
    TypeError,
    UnsupportedError,
    ValueError,
)


@dataclass(frozen=True, eq=False)
class Conversion:
    """A converted network.

    Attributes
    ----------
    graph : Graph
    report : ConversionReport
    values : dict of str to Value
        For every tensor of the ONNX network that an image reaches, what it is in the graph.
    comparisons : frozenset of str
        The tensors in which numbers become levels.
    """

    graph: Graph
    report: ConversionReport
    values: dict[str, Value]
    comparisons: frozenset[str]


class _Refused:
    """What a node gives that could not be converted."""


def convert(path: str | Path) -> Conversion:
    """Make a graph of an ONNX file, and a report of what became of its layers."""
    network = read_network(path)
    return _Walk(network).run()


class _Walk:
    """The way through a network, node by node."""

    def __init__(self, network: OnnxNetwork) -> None:
        self.network = network
        readers = Counter(name for node in network.nodes for name in node.inputs)
        readers.update(network.outputs)
        self.readers = readers
        shape = network.shape[1:]
        order = _input_order(network)
        stored = tuple(shape[axis] for axis in order)
        image = printable(network.input)
        build = Build({image: TensorType(stored, "float32")})
        if network.dtype == np.uint8:
            build.reaches[image] = steps_of(1.0, 0, 255)
        self.context = Context(build, network.batch, network.opset)
        self.values: dict[str, Operand | _Refused] = dict(network.constants)
        self.values[network.input] = Value(image, shape, order, dtype=network.dtype)
        self.comparisons: set[str] = set()
        self.refused: list[str] = []

    def run(self) -> Conversion:
        for node in self.network.nodes:
            self._visit(node)
        if self.refused:
            lines = "\n  ".join(self.refused)
            raise UnsupportedError(f"nodes that cannot be converted:\n  {lines}")
        outputs = dict.fromkeys(map(self._output, self.network.outputs))
        graph = self.context.build.finish(tuple(outputs), Metadata(name=self.network.name))
        layers = tuple(self._with_scales(*each) for each in self.context.layers)
        remarks = (f"{text}: {', '.join(at)}" for text, at in self.context.remarks.items())
        report = ConversionReport(layers, tuple(remarks))
        values = {name: value for name, value in self.values.items() if isinstance(value, Value)}
        return Conversion(graph, report, values, frozenset(self.comparisons))

    def _with_scales(self, layer: LayerReport, name: str) -> LayerReport:
        """The report of a layer when all that is behind it is known."""
        operator = self.context.build.layer_behind(name)
        if layer.kind == "float" or not isinstance(operator, BinaryConv2d | BinaryDense):
            return layer
        return replace(layer, scales=scales_of(operator))

    def _visit(self, node: OnnxNode) -> None:
        inputs = [self.values.get(name) if name else None for name in node.inputs]
        if any(isinstance(each, _Refused) for each in inputs):
            results: tuple[Any, ...] = tuple(_Refused() for _ in node.outputs)
        else:
            try:
                results = self._apply(node, inputs)
            except REFUSALS as error:
                reason = str(error)
                if not isinstance(error, GraphError | UnsupportedError):
                    reason = f"its attributes or inputs do not fit: {error!r}"
                self.refused.append(f"{node.name} ({node.operator}): {reason}")
                results = tuple(_Refused() for _ in node.outputs)
        for name, result in zip(node.outputs, results, strict=False):
            self.values[name] = result
            if isinstance(result, Value) and self.readers[name] > 1:
                self.context.build.shared.add(result.node)
        self._note_comparisons(node, inputs)

    def _note_comparisons(self, node: OnnxNode, inputs: list[Any]) -> None:
        """Keep in mind where numbers become levels, to compare them there."""
        if not any(isinstance(each, Value) and each.levels for each in inputs):
            for name in node.outputs:
                value = self.values.get(name)
                if isinstance(value, Value) and value.is_comparison:
                    self.comparisons.add(name)

    def _apply(self, node: OnnxNode, inputs: list[Any]) -> tuple[Any, ...]:
        """What a node gives: tensors or constants."""
        self.context.build.place = node.name
        rule = RULES.get((node.domain, node.operator))
        if not any(isinstance(each, Value) for each in inputs) and node.domain == "":
            return evaluate(node, inputs, self.network.opset)
        if rule is None:
            raise UnsupportedError("there is no operator for it")
        result = rule(self.context, node, inputs)
        return result if isinstance(result, tuple) else (result,)

    def _output(self, name: str) -> str:
        value = self.values.get(name)
        if not isinstance(value, Value):
            raise UnsupportedError(f"output {name!r} is the same for every image")
        self.context.build.place = printable(name)
        value = self.context.natural(self.context.unfolded(self.context.numbers(value)))
        return value.node


def _input_order(network: OnnxNetwork) -> tuple[int, ...]:
    """How the input lies: channels last, whichever way the network takes it.

    A network that moves the last axis to the front, before anything but elementwise arithmetic,
    takes pictures as they are.
    """
    rank = len(network.shape) - 1
    reached, transposes, others = {network.input}, 0, 0
    for node in network.nodes if rank == 3 else ():
        if reached.isdisjoint(node.inputs):
            continue
        if node.operator == "Transpose" and list(node.attributes.get("perm", ())) == [0, 3, 1, 2]:
            transposes += 1
        elif node.operator in elementwise.OPERATORS:
            reached.update(node.outputs)
        else:
            others += 1
    return (0, 1, 2) if transposes and not others else natural_order(rank)


def _batch_norm(context: Context, node: OnnxNode, inputs: list[Operand | None]) -> Value:
    value, *statistics = inputs
    if not isinstance(value, Value) or not all(isinstance(s, np.ndarray) for s in statistics):
        raise UnsupportedError("its statistics are not constant")
    if node.attributes.get("training_mode", 0):
        raise UnsupportedError("is in training mode")
    value = context.numbers(value)
    rows = []
    for row in statistics:
        column = np.asarray(row, np.float32).reshape(-1, *[1] * (len(value.shape) - 1))
        value, vector = context.per_channel(value, column)
        rows.append(np.broadcast_to(vector, context.build.types[value.node].shape[-1:]))
    epsilon = np.float32(node.attributes.get("epsilon", 1e-5))
    gamma, beta, mean, variance = rows
    operator = affine.normalization(gamma, beta, mean, variance, epsilon)
    return Value(context.build.add(operator, value.node), value.shape, value.order, chw=value.chw)


def _softmax(context: Context, node: OnnxNode, inputs: list[Operand | None]) -> Value:
    (value,) = inputs
    assert isinstance(value, Value)
    value = context.unfolded(context.numbers(value))
    axis = node.attributes.get("axis", -1 if context.opset >= 13 else 1)
    if axis % (len(value.shape) + 1) != 1:
        raise UnsupportedError("takes the channels, axis 1")
    value = context.natural(value)
    return Value(context.build.add(Softmax(), value.node), value.shape, value.order)


def _cast_like(context: Context, node: OnnxNode, inputs: list[Operand | None]) -> Any:
    """A cast to the type of another tensor."""
    import onnx

    value, like = inputs
    if isinstance(like, Value):
        kind = like.levels[0].dtype if like.levels else np.dtype(np.float32)
    else:
        kind = np.asarray(like).dtype
    if isinstance(value, np.ndarray):
        return value.astype(kind)
    to = {"to": onnx.helper.np_dtype_to_tensor_dtype(kind)}
    step = OnnxNode(node.name, "Cast", "", node.inputs[:1], node.outputs, to)
    return elementwise.elementwise(context, step, [value])


def _unchanged(_context: Context, _node: OnnxNode, inputs: list[Operand | None]) -> Any:
    return inputs[0]


def _sum(context: Context, node: OnnxNode, inputs: list[Operand | None]) -> Any:
    """Sum of any number of tensors, from left to right."""
    total, *rest = inputs
    for each in rest:
        step = OnnxNode(node.name, "Add", "", ("", ""), node.outputs, {})
        total = elementwise.elementwise(context, step, [total, each])
    return total


QONNX = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")
RULES: dict[tuple[str, str], Rule] = {
    **{("", name): elementwise.elementwise for name in elementwise.OPERATORS},
    ("", "AveragePool"): windows.average_pool,
    ("", "BatchNormalization"): _batch_norm,
    ("", "CastLike"): _cast_like,
    ("", "Concat"): shapes.concat,
    ("", "Conv"): layers.conv,
    ("", "Dropout"): _unchanged,
    ("", "Flatten"): shapes.flatten,
    ("", "Gather"): shapes.gather,
    ("", "Gemm"): layers.dense,
    ("", "GlobalAveragePool"): windows.global_average_pool,
    ("", "GlobalMaxPool"): windows.global_max_pool,
    ("", "MatMul"): layers.dense,
    ("", "MaxPool"): windows.max_pool,
    ("", "Pad"): windows.pad,
    ("", "ReduceMean"): windows.reduce_mean,
    ("", "Reshape"): shapes.reshape,
    ("", "Shape"): shapes.shape_of,
    ("", "Slice"): shapes.slice_,
    ("", "Softmax"): _softmax,
    ("", "Split"): shapes.split,
    ("", "Squeeze"): shapes.squeeze,
    ("", "Sum"): _sum,
    ("", "Transpose"): shapes.transpose,
    ("", "Unsqueeze"): shapes.unsqueeze,
    **{(domain, "BipolarQuant"): quantizers.bipolar_quant for domain in QONNX},
    **{(domain, "Quant"): quantizers.quant for domain in QONNX},
    **{(domain, "IntQuant"): quantizers.quant for domain in QONNX},
    **{(domain, "MultiThreshold"): quantizers.multi_threshold for domain in QONNX},
}
