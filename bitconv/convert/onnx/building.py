"""The graph under construction."""

from __future__ import annotations

from dataclasses import dataclass, field

from bitconv.convert.onnx.reach import Reach, reach_after, steps_of
from bitconv.graph import Graph, Metadata, Node, TensorType, infer_types
from bitconv.operators import BinaryConv2d, BinaryDense, Operator, Reshape

INPUT_STEP = 0.5  # so that pixels can lie on thresholds, but count as no whole numbers


@dataclass
class Build:
    """The graph so far; nodes that nothing reads are left out in the end.

    Attributes
    ----------
    inputs : dict of str to TensorType
    types : dict of str to TensorType
        Of the input and of every node.
    nodes : dict of str to Node
    shared : set of str
        Nodes that several ONNX nodes read, so that none may be replaced by an extended one.
    place : str
        The name for the next node.
    successors : dict of str to str
        The nodes that were put in the place of others.
    reaches : dict of str to Reach or None
        For every value the numbers that it can take; None for signs.
    """

    inputs: dict[str, TensorType]
    types: dict[str, TensorType] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    shared: set[str] = field(default_factory=set)
    place: str = ""
    successors: dict[str, str] = field(default_factory=dict)
    reaches: dict[str, Reach | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.types = dict(self.inputs)
        self.reaches = {name: steps_of(INPUT_STEP) for name in self.inputs}

    def add(self, operator: Operator, *inputs: str) -> str:
        """Append a node and return its name."""
        return self._append(Node(self._unused(self.place or operator.name), operator, inputs))

    def add_part(self, operator: Operator, *inputs: str) -> str:
        """Append a node that another needs, named after both."""
        return self._append(Node(self._unused(f"{self.place}_{operator.name}"), operator, inputs))

    def _append(self, node: Node) -> str:
        before = {name: self.types[name] for name in node.inputs}
        self.types[node.name] = infer_types(before, (node,))[node.name]
        self.nodes[node.name] = node
        self.reaches[node.name] = reach_after(
            node.operator,
            [self.reaches[name] for name in node.inputs],
            [self.types[name].shape for name in node.inputs],
        )
        return node.name

    def reshape(self, name: str, shape: tuple[int, ...]) -> str:
        """The elements of a value in another shape; one reshape never follows another."""
        while isinstance(self.operator(name), Reshape):
            name = self.nodes[name].inputs[0]
        if self.types[name].shape == shape:
            return name
        return self.add(Reshape(shape), name)

    def reach(self, name: str) -> Reach:
        """The numbers that a value can take, which must not be signs."""
        found = self.reaches[name]
        assert found is not None
        return found

    def operator(self, name: str) -> Operator | None:
        """The operator behind a value; None for the input."""
        node = self.nodes.get(name)
        return None if node is None else node.operator

    def extendable(self, name: str) -> Operator | None:
        """The operator behind a value that nobody else reads, so that it can be replaced."""
        return None if name in self.shared else self.operator(name)

    def replaced(self, name: str, operator: Operator) -> str:
        """Append a node in place of another, with the same inputs."""
        node = Node(self._unused(name), operator, self.nodes[name].inputs)
        self.successors[name] = node.name
        return self._append(node)

    def layer_behind(self, name: str) -> Operator | None:
        """The operator that a layer became which ended in that value when it was appended."""
        while name in self.successors:
            name = self.successors[name]
        while not isinstance(self.operator(name), BinaryConv2d | BinaryDense | None):
            name = self.nodes[name].inputs[0]
        return self.operator(name)

    def finish(self, outputs: tuple[str, ...], metadata: Metadata) -> Graph:
        """The graph, without what its outputs do not need."""
        needed = set(outputs)
        for node in reversed(self.nodes.values()):
            if node.name in needed:
                needed.update(node.inputs)
        nodes = tuple(node for node in self.nodes.values() if node.name in needed)
        return Graph(self.inputs, nodes, outputs, metadata)

    def _unused(self, name: str) -> str:
        repeats = 1
        while (candidate := name if repeats == 1 else f"{name}_{repeats}") in self.types:
            repeats += 1
        return candidate
