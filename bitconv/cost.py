"""What a network takes: bits and bytes to store, operations to run.

Operations are counted in the way of XNOR-Net (arXiv 1603.05279): 64 products of signs are one
operation on a 64-bit word. For a layer of c channels, a kernel k × k and f scale operations an
output that makes ``64·c·k² / (c·k² + 64·f)`` times fewer operations than in float32, at one
operation a multiply-accumulate. The same formula serves scales that are shared among filters
(arXiv 2005.09034), which change f only where input channels of a filter have different scales. At
two operations a multiply-accumulate it is twice that; this second count is our reading, neither
paper's. `docs/costs.md` has all rules.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from math import prod

from bitconv.bits import BitArray, words_for
from bitconv.graph import Graph, Node, TensorType
from bitconv.operators.convolution import BinaryConv2d, Conv2d
from bitconv.operators.dense import BinaryDense, Dense
from bitconv.operators.operator import StoredArray
from bitconv.text import printable, short_count, table

FLOAT_BYTES = 4
# Columns of which a summary shows those that the network has.
MAC_COUNTS = {"binary MACs": "binary_macs", "additions": "additions", "float MACs": "float_macs"}


@dataclass(frozen=True)
class Cost:
    """Counts of one layer, or of a network.

    Attributes
    ----------
    weights : int
        Weights of convolutions and dense layers, without scales and bias.
    weight_bits : int
        Bits that these weights take: one each where they are binary.
    scales : int
        Scales of binary weights.
    bytes : int
        Everything that is stored, scales, biases and float parameters included.
    float_bytes : int
        The same with float32 weights, which need no scales.
    binary_macs, additions, float_macs : int
        Multiply-accumulates of one image, taps on padding included: of signs, of binary weights
        with a float input, which are additions, and of floats.
    words : int
        64-bit words that hold the products of signs: of each filter and run of input channels with
        its own scale, every tap starts on a new word.
    scale_operations : int
        Multiplications that follow the sums: for each output one a run of input channels with its
        own scale, one for a constant activation scale and one for the map K.
    """

    weights: int = 0
    weight_bits: int = 0
    scales: int = 0
    bytes: int = 0
    float_bytes: int = 0
    binary_macs: int = 0
    additions: int = 0
    float_macs: int = 0
    words: int = 0
    scale_operations: int = 0

    def __add__(self, other: Cost) -> Cost:
        names = [item.name for item in fields(self)]
        return Cost(*(getattr(self, name) + getattr(other, name) for name in names))

    @property
    def macs(self) -> int:
        """Multiply-accumulates of every kind."""
        return self.binary_macs + self.additions + self.float_macs

    @property
    def memory_ratio(self) -> float:
        """How many times the bytes it would be with float32 weights; 1 where nothing is stored."""
        return self.float_bytes / self.bytes if self.bytes else 1.0

    def operations(self, per_mac: int) -> int:
        """Operations for one image.

        Parameters
        ----------
        per_mac : int
            What a float multiply-accumulate counts: 1, or 2 for its multiplication and addition.
            Words, additions and scale operations count one.
        """
        return per_mac * self.float_macs + self.additions + self.words + self.scale_operations

    def speed_up(self, per_mac: int) -> float:
        """Theoretical only: operations with float32 weights and inputs over those counted here.

        Parameters
        ----------
        per_mac : int
            As for `operations`. At most 64 · `per_mac`; 1 where nothing is computed.
        """
        return per_mac * self.macs / self.operations(per_mac) if self.macs else 1.0


@dataclass(frozen=True)
class Layer:
    """One node of a network and its cost."""

    name: str
    operator: str
    output: TensorType
    cost: Cost

    @property
    def arithmetic(self) -> str:
        """What its multiply-accumulates are: ``signs``, ``additions``, ``float`` or nothing."""
        if self.cost.binary_macs:
            return "signs"
        if self.cost.additions:
            return "additions"
        return "float" if self.cost.float_macs else ""


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
        total = self.total
        macs = {title: name for title, name in MAC_COUNTS.items() if getattr(total, name)}
        header = ("layer", "operator", "output", "weights", "weight bits", "bytes", *macs)
        named = [
            (printable(layer.name), layer.operator, str(layer.output), layer.cost)
            for layer in self.layers
        ]
        rows = [
            (*names, *_figures(cost, macs.values()))
            for *names, cost in (*named, ("total", "", "", total))
        ]
        lines = table(header, rows, left=3)
        if not total.bytes:
            return lines
        times = f"{total.memory_ratio:.1f} times as many"
        return f"{lines}\n\nWith float32 weights: {total.float_bytes:,} bytes, {times}."


def summarize(graph: Graph) -> Summary:
    """The cost of every node of a network."""
    return Summary(tuple(_layer(graph, node) for node in graph.nodes))


def _layer(graph: Graph, node: Node) -> Layer:
    return Layer(node.name, node.operator.name, graph.types[node.name], _cost(graph, node))


def _cost(graph: Graph, node: Node) -> Cost:
    arrays = node.operator.arrays()
    unscaled = [array for name, array in arrays.items() if name != "scale"]
    storage = Cost(
        bytes=sum(-(-_bits(array) // 8) for array in arrays.values()),
        float_bytes=sum(FLOAT_BYTES * array.size for array in unscaled),
    )
    if isinstance(node.operator, (Conv2d, Dense)):
        return storage + _float_layer(graph, node, node.operator)
    if isinstance(node.operator, (BinaryConv2d, BinaryDense)):
        return storage + _binary_layer(graph, node, node.operator)
    return storage


def _float_layer(graph: Graph, node: Node, layer: Conv2d | Dense) -> Cost:
    weight = layer.weight
    macs = graph.types[node.name].size * prod(weight.shape[1:])
    return Cost(weights=weight.size, weight_bits=_bits(weight), float_macs=macs)


def _binary_layer(graph: Graph, node: Node, layer: BinaryConv2d | BinaryDense) -> Cost:
    _, *taps, channels = layer.weight.shape
    outputs = graph.types[node.name].size
    macs = outputs * prod(taps) * channels
    runs = [(0, channels)] if layer.scale is None else layer.scale.segments(channels)
    words = outputs * prod(taps) * sum(words_for(end - first) for first, end in runs)
    signs = graph.types[node.inputs[0]].kind == "bits"
    scaled = 0 if layer.scale is None else len(runs)
    constant, has_map = layer.activation_scale != 1.0, len(node.inputs) == 2
    return Cost(
        weights=layer.weight.size,
        weight_bits=_bits(layer.weight),
        scales=0 if layer.scale is None else layer.scale.values.size,
        binary_macs=macs if signs else 0,
        additions=0 if signs else macs,
        words=words if signs else 0,
        scale_operations=outputs * (scaled + constant + has_map),
    )


def _bits(array: StoredArray) -> int:
    return array.planes * array.size if isinstance(array, BitArray) else 8 * array.nbytes


def _figures(cost: Cost, macs: Iterable[str]) -> tuple[str, ...]:
    """The numbers of a row; nothing where a number is zero."""
    exact = [f"{count:,}" for count in (cost.weights, cost.weight_bits, cost.bytes)]
    rounded = [short_count(getattr(cost, name)) for name in macs]
    return tuple("" if text == "0" else text for text in (*exact, *rounded))
