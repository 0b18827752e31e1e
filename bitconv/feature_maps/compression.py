"""Networks whose maps are kept encoded: where codecs go, and what the network is with them.

The map of a node that has a codec is encoded as soon as it is there, and decoded where it is read:

    conv → map → …          conv → "map raw" → "map encoded" ─┬→ map → …
                 ↘ add                                        └→ "map again" → add

Every reader sees decoded values, so the result is a network like any other: its references define
it, and the compiled plan equals them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from bitconv.compiler import compile_graph
from bitconv.errors import InputError
from bitconv.graph import Graph, Node, TensorType
from bitconv.operators import (
    BinaryConv2d,
    BinaryDense,
    Concat,
    Conv2d,
    DecodeMap,
    Dense,
    EncodeMap,
    Flatten,
    Pad,
    Reshape,
    Slice,
    Transpose,
)

Which = Literal[True, "all"]


@dataclass(frozen=True)
class StoredMap:
    """A map that running a network leaves in memory for other steps.

    Attributes
    ----------
    name : str
        The node that computes it.
    type : TensorType
    readers : tuple of tuple of str
        The nodes that read it, those of one step together.
    outlives_next_step : bool
        Whether it is read by several steps, or later than by the one behind it.
    takes_codec : bool
        Whether it is what codecs are for: a map of float32, of more than one pixel, that is
        computed behind a layer with weights, not only moved.
    """

    name: str
    type: TensorType
    readers: tuple[tuple[str, ...], ...]
    outlives_next_step: bool
    takes_codec: bool


def stored_maps(graph: Graph) -> list[StoredMap]:
    """The maps that the plan of a network stores, in order, but for its inputs and outputs.

    What is fused away is never a map in memory, so there is nothing to encode.
    """
    plan = compile_graph(graph)
    written: dict[str, int] = {}
    for index, step in enumerate(plan.steps):
        for name in step.writes:
            written.setdefault(name, index)  # a later one is a copy in another layout
    doing = {name: index for index, step in enumerate(plan.steps) for name in step.nodes}
    computed, found = _behind_layers(graph), []
    for name, readers in graph.consumers().items():
        value = graph.types[name]
        if name in written and name not in graph.outputs and len(value.shape) == 3:
            groups = _by_step(readers, doing)
            last = max(_step_of(reader, doing, len(plan.steps)) for reader in readers)
            outlives = len(groups) > 1 or last > written[name] + 1
            pixels = value.shape[0] * value.shape[1]
            takes_codec = value.kind == "float32" and pixels > 1 and name in computed
            found.append(StoredMap(name, value, groups, outlives, takes_codec))
    return found


def _step_of(reader: Node, doing: Mapping[str, int], end: int) -> int:
    """When a node reads: a view of a map lasts to the end, a join without copies has it at once."""
    return doing.get(reader.name, 0 if isinstance(reader.operator, Concat) else end)


def _by_step(readers: Iterable[Node], doing: Mapping[str, int]) -> tuple[tuple[str, ...], ...]:
    """The readers in the order of their steps; a view under another shape is on its own."""
    groups: dict[object, list[str]] = {}
    for reader in readers:
        groups.setdefault(doing.get(reader.name, reader.name), []).append(reader.name)
    return tuple(map(tuple, groups.values()))


def _behind_layers(graph: Graph) -> set[str]:
    """The nodes that are layers with weights, or depend on one, but for those that move values.

    What is moved is a map that has a codec of its own.
    """
    found: set[str] = set()
    for node in graph.nodes:
        layer = isinstance(node.operator, Conv2d | Dense | BinaryConv2d | BinaryDense)
        if layer or not found.isdisjoint(node.inputs):
            found.add(node.name)
    moving = Concat | Flatten | Pad | Reshape | Slice | Transpose
    return found - {node.name for node in graph.nodes if isinstance(node.operator, moving)}


def compress(graph: Graph, which: Which = True) -> Graph:
    """The network that keeps its maps encoded by its codecs.

    Parameters
    ----------
    graph : Graph
        With codecs, as `bitconv calibrate` writes them.
    which : True or "all"
        Encode the maps that live beyond the step after the one that computes them, or every map
        that has a codec.

    Raises
    ------
    InputError
        The network has no codecs.
    """
    if which is not True and which != "all":
        raise InputError(f"feature_maps takes True, False or 'all', found {which!r}")
    if not graph.codecs:
        raise InputError(
            "the network has no codecs for its feature maps; make them with: bitconv calibrate"
        )
    chosen = [
        stored
        for stored in stored_maps(graph)
        if stored.name in graph.codecs and (which == "all" or stored.outlives_next_step)
    ]
    nodes = tuple(_Rewriting(graph, chosen).nodes())
    return replace(graph, nodes=nodes, codecs={})


def with_room(graph: Graph) -> Graph:
    """The same network with room in memory for the largest encoding of every map."""
    nodes = [
        replace(node, operator=replace(node.operator, reserve=graph.types[node.name].size))
        if isinstance(node.operator, EncodeMap)
        else node
        for node in graph.nodes
    ]
    return replace(graph, nodes=tuple(nodes))


class _Rewriting:
    """Puts the operators that encode and decode among the nodes of a graph."""

    def __init__(self, graph: Graph, chosen: Iterable[StoredMap]) -> None:
        self._graph = graph
        self._chosen = {stored.name: stored for stored in chosen}
        self._taken = set(graph.types)
        self._encoded = {name: self._fresh(f"{name} encoded") for name in self._chosen}
        order = {node.name: index for index, node in enumerate(graph.nodes)}
        # The nodes that decode, by the node that they stand in front of
        self._decoders: dict[str, list[Node]] = {}
        self._sources: dict[tuple[str, str], str] = {}  # what a reader takes in place of a map
        for name, stored in self._chosen.items():
            for number, group in enumerate(stored.readers):
                decoded = name if number == 0 else self._fresh(f"{name} again")
                self._sources |= {(reader, name): decoded for reader in group}
                first = min(group, key=order.__getitem__)
                self._decoders.setdefault(first, []).append(self._decoder(name, decoded))

    def nodes(self) -> Iterator[Node]:
        for node in self._graph.nodes:
            yield from self._decoders.get(node.name, ())
            read = tuple(self._sources.get((node.name, name), name) for name in node.inputs)
            if node.name in self._chosen:
                yield from self._encoding(Node(node.name, node.operator, read))
            else:
                yield Node(node.name, node.operator, read)

    def _encoding(self, node: Node) -> Iterator[Node]:
        name, raw = node.name, self._fresh(f"{node.name} raw")
        codec = self._graph.codecs[name]
        encode = EncodeMap(codec.codec, codec.reserve(self._graph.types[name]))
        yield Node(raw, node.operator, node.inputs)
        yield Node(self._encoded[name], encode, (raw,))

    def _decoder(self, name: str, decoded: str) -> Node:
        operator = DecodeMap(self._graph.codecs[name].codec, self._graph.types[name].shape)
        return Node(decoded, operator, (self._encoded[name],))

    def _fresh(self, name: str) -> str:
        """The name, with a mark at its end if the network has one like it."""
        while name in self._taken:
            name += "'"
        self._taken.add(name)
        return name
