"""Where the values of a graph are while it is compiled, and in which layout."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

from bitconv.bits import WORD_BITS, words_for
from bitconv.compiler.boxes import Box, copy, steps_of
from bitconv.compiler.builder import PlanBuilder, Value, pointwise_record, stored_map
from bitconv.compiler.parts import plan_parts
from bitconv.compiler.plan import NO_RING, Layout, Ring
from bitconv.graph import Graph, Node, TensorType, needed_nodes
from bitconv.kernels.records import Opcode
from bitconv.operators import BinaryConv2d, Conv2d
from bitconv.operators.window import Window


def natural_layout(value: TensorType, ring: Ring = NO_RING) -> Layout:
    """The layout of a value as (height, width, channels); other ranks are one row of pixels."""
    if len(value.shape) == 3:
        height, width, channels = value.shape
    else:
        height, width, channels = 1, math.prod(value.shape[:-1]), value.shape[-1]
    if value.kind == "bits":
        return Layout("bits", height, width, channels, ring, (channels,))
    stored: Literal["uint8", "float32"] = "uint8" if value.kind in ("uint8", "bytes") else "float32"
    return Layout(stored, height, width, channels, ring)


def reach(window: Window, height: int, width: int) -> Ring:
    """How far the windows reach beyond the sides of a map."""
    rows, columns = window.output_size(height, width)
    top, left, _, _ = window.padding
    bottom = (rows - 1) * window.stride[0] + window.extent[0] - top - height
    right = (columns - 1) * window.stride[1] + window.extent[1] - left - width
    return top, left, max(0, bottom), max(0, right)


def input_segments(operator: BinaryConv2d) -> tuple[int, ...]:
    """The runs of input channels that a convolution needs on words of their own."""
    return tuple(end - first for first, end in scale_runs(operator)) * operator.groups


def scale_runs(operator: BinaryConv2d) -> list[tuple[int, int]]:
    """The runs (first, end) of a group's channels that share a scale."""
    channels = operator.weight_shape[-1]
    return [(0, channels)] if operator.scale is None else operator.scale.segments(channels)


def is_dense_packing(segments: tuple[int, ...]) -> bool:
    """Whether runs that start on words lie as if there was one run."""
    return all(channels % WORD_BITS == 0 for channels in segments[:-1])


class Context:
    """The values of a graph in the making of its plan.

    Attributes
    ----------
    kept : frozenset of str
        Values that must be stored and survive: the outputs, and what the caller asked for.
    readers : dict of str to list of Node
        The live nodes that read a value.
    nodes : tuple of Node
        The nodes that the kept values depend on.
    values : dict of str to Value
        The values stored so far.
    parts : dict of str to list of Part
        The concatenations to which a value is written when it is computed.
    """

    def __init__(self, graph: Graph, builder: PlanBuilder, kept: Iterable[str]) -> None:
        self.graph, self.builder = graph, builder
        self.kept = frozenset(kept)
        self.nodes = needed_nodes(graph.nodes, self.kept)
        self.readers: dict[str, list[Node]] = {name: [] for name in graph.types}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                self.readers[name].append(node)
        self.values: dict[str, Value] = {}
        self._floats: dict[str, Value] = {}
        self._packings: dict[tuple[str, tuple[int, ...], Ring], Value] = {}
        self._rings = self._collect_rings()
        self._wholes: dict[str, Value] = {}
        self.parts = plan_parts(
            self.nodes,
            graph.types,
            needs_own=self.reaches_over_pixels,
            has_ring=lambda name: name in self._rings,
        )

    def shape(self, name: str) -> tuple[int, ...]:
        return self.graph.types[name].shape

    def reads_bits(self, node: Node) -> bool:
        """Whether the first input of a node is a map of signs."""
        return self.graph.types[node.inputs[0]].kind == "bits"

    def store(self, name: str) -> Value:
        """Memory for the value, with the ring that its readers need."""
        ((_, value),) = self.store_everywhere(name)
        return value

    def store_everywhere(self, name: str) -> list[tuple[str, Value]]:
        """All memory that the value goes to: its own, or parts of concatenations, or both.

        The first is named after the value, the others after their concatenations.
        """
        channels = self.shape(name)[-1]
        parts = self.parts.get(name, [])
        homes = [(part.whole, self.whole(part.whole).run(part.first, channels)) for part in parts]
        if not parts or self.reaches_over_pixels(name):
            homes.insert(0, (name, self.builder.new_value(self.layout(name))))
        self.values[name] = homes[0][1]
        return [(name, self.values[name]), *homes[1:]]

    def store_without_ring(self, name: str) -> Value:
        """Memory for a value whose kernel zeroes no ring."""
        self.values[name] = self.builder.new_value(natural_layout(self.graph.types[name]))
        return self.values[name]

    def whole(self, name: str) -> Value:
        """Memory for a concatenation, of which parts may have been written before."""
        if name not in self._wholes:
            self._wholes[name] = self.store(name)
            del self.values[name]  # it is not there before all of its parts are
        return self._wholes[name]

    def layout(self, name: str) -> Layout:
        """How the value is to be stored, with the ring that its readers need."""
        return natural_layout(self.graph.types[name], self._rings.get(name, NO_RING))

    def floats(self, name: str) -> Value:
        """The value as float32 with the ring that its readers need; an image is copied once."""
        value = self.values[name]
        ring = self._rings.get(name, NO_RING)
        if value.layout.stored == "float32" and _covers(value.layout.ring, ring):
            return value
        if name not in self._floats:
            layout = value.layout
            target = self.builder.new_value(
                Layout("float32", layout.height, layout.width, layout.channels, ring)
            )
            self.builder.add_step(
                "pointwise",
                nodes=(name,),
                reads=[(name, value)],
                writes={name: target},
                records=[pointwise_record(value)],
                program=[{"opcode": Opcode.STORE, **stored_map(target)}],
            )
            self._floats[name] = target
        return self._floats[name]

    def packed(self, name: str, segments: tuple[int, ...], ring: Ring) -> Value:
        """The bits in runs of channels that start on words; repacked if they lie otherwise."""
        value = self.values[name]
        if is_dense_packing(segments):
            return value
        key = (name, segments, ring)
        if key not in self._packings:
            layout = value.layout
            target = self.builder.new_value(
                Layout("bits", layout.height, layout.width, layout.channels, ring, segments)
            )
            self._repack(name, value, target)
            self._packings[key] = target
        return self._packings[key]

    def _repack(self, name: str, value: Value, target: Value) -> None:
        boxes: list[tuple[Value | None, Box]] = []
        channel, word = 0, 0
        for channels in target.layout.segments:
            shape = (value.layout.height, value.layout.width, channels)
            here, there = (steps_of(v, shape) for v in (value, target))
            boxes.append((value, Box(shape, here, there, channel, word * WORD_BITS)))
            channel += channels
            word += words_for(channels)
        copy(self.builder, (name,), {name: value}, {name: target}, boxes)

    def reaches_over_pixels(self, name: str) -> bool:
        """Whether a convolution takes several pixels of the value as one run, or its ring."""
        return name in self._rings or any(
            isinstance(node.operator, Conv2d | BinaryConv2d) and node.operator.window.kernel[1] > 1
            for node in self.readers[name]
        )

    def _collect_rings(self) -> dict[str, Ring]:
        rings: dict[str, Ring] = {}
        for node in self.nodes:
            operator = node.operator
            if isinstance(operator, Conv2d) or (
                isinstance(operator, BinaryConv2d)
                and (not self.reads_bits(node) or is_dense_packing(input_segments(operator)))
            ):
                height, width, _ = self.shape(node.inputs[0])
                ring = reach(operator.window, height, width)
                name = node.inputs[0]
                sides = zip(ring, rings.get(name, NO_RING), strict=True)
                top, left, bottom, right = (max(side) for side in sides)
                rings[name] = (top, left, bottom, right)
        return {name: ring for name, ring in rings.items() if ring != NO_RING}


def _covers(ring: Ring, needed: Ring) -> bool:
    return all(have >= need for have, need in zip(ring, needed, strict=True))
