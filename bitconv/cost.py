"""What a network takes: bits and bytes to store, multiply-accumulates to run."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import prod

from bitconv.bits import BitArray
from bitconv.graph import Graph, Node, TensorType
from bitconv.operators.convolution import BinaryConv2d, Conv2d
from bitconv.operators.dense import BinaryDense, Dense
from bitconv.operators.operator import StoredArray
from bitconv.text import printable, short_count, table

FLOAT_BYTES = 4


@dataclass(frozen=True)
class Cost:
    """Counts of one layer, or of a network.

    Attributes
    ----------
    weights : int
        Weights of convolutions and dense layers, without scales and bias.
    weight_bits : int
        Bits that these weights take: one each where they are binary.
    bytes : int
        Everything that is stored, scales, biases and float parameters included.
    float_bytes : int
        The same with float32 weights, which need no scales.
    binary_macs, float_macs : int
        Multiply-accumulates of one image, taps on padding included: as sign operations, and in
        floating point.
    """

    weights: int = 0
    weight_bits: int = 0
    bytes: int = 0
    float_bytes: int = 0
    binary_macs: int = 0
    float_macs: int = 0

    def __add__(self, other: Cost) -> Cost:
        names = [item.name for item in fields(self)]
        return Cost(*(getattr(self, name) + getattr(other, name) for name in names))


@dataclass(frozen=True)
class Layer:
    """One node of a network and its cost."""

    name: str
    operator: str
    output: TensorType
    cost: Cost


@dataclass(frozen=True)
class Summary:
    """The cost of a network, layer by layer; `str()` is a table.

    Attributes
    ----------
    layers : tuple of Layer
        In the order of the nodes.
    """

    layers: tuple[Layer, ...]

    @property
    def total(self) -> Cost:
        """The cost of the whole network."""
        return sum((layer.cost for layer in self.layers), Cost())

    def __str__(self) -> str:
        names = ("layer", "operator", "output")
        figures = ("weights", "weight bits", "bytes", "binary MACs", "float MACs")
        rows = [
            (printable(layer.name), layer.operator, str(layer.output), *_figures(layer.cost))
            for layer in self.layers
        ]
        total = self.total
        lines = table((*names, *figures), [*rows, ("total", "", "", *_figures(total))], left=3)
        if not total.bytes:
            return lines
        times = f"{total.float_bytes / total.bytes:.1f} times as many"
        return f"{lines}\n\nWith float32 weights: {total.float_bytes:,} bytes, {times}."


def summarize(graph: Graph) -> Summary:
    """The cost of every node of a network."""
    return Summary(tuple(_layer(graph, node) for node in graph.nodes))


def _layer(graph: Graph, node: Node) -> Layer:
    return Layer(node.name, node.operator.name, graph.types[node.name], _cost(graph, node))


def _cost(graph: Graph, node: Node) -> Cost:
    arrays = node.operator.arrays()
    weight = arrays.get("weight")
    unscaled = [array for name, array in arrays.items() if name != "scale"]
    macs = _macs(graph, node)
    binary = isinstance(node.operator, (BinaryConv2d, BinaryDense))
    return Cost(
        weights=0 if weight is None else weight.size,
        weight_bits=0 if weight is None else _bits(weight),
        bytes=sum(-(-_bits(array) // 8) for array in arrays.values()),
        float_bytes=sum(FLOAT_BYTES * array.size for array in unscaled),
        binary_macs=macs if binary else 0,
        float_macs=0 if binary else macs,
    )


def _macs(graph: Graph, node: Node) -> int:
    """Multiply-accumulates for one image: outputs times the weights of a filter."""
    if not isinstance(node.operator, (Conv2d, BinaryConv2d, Dense, BinaryDense)):
        return 0
    return graph.types[node.name].size * prod(node.operator.weight.shape[1:])


def _bits(array: StoredArray) -> int:
    return array.planes * array.size if isinstance(array, BitArray) else 8 * array.nbytes


def _figures(cost: Cost) -> tuple[str, ...]:
    """The numbers of a row; nothing where a number is zero."""
    exact = [f"{count:,}" for count in (cost.weights, cost.weight_bits, cost.bytes)]
    rounded = [short_count(count) for count in (cost.binary_macs, cost.float_macs)]
    return tuple("" if text == "0" else text for text in (*exact, *rounded))
