"""The graph under construction."""

from __future__ import annotations

from dataclasses import dataclass, field

from bitconv.graph import Graph, Metadata, Node, TensorType, infer_types
from bitconv.operators import Operator, Reshape


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
    """

    inputs: dict[str, TensorType]
    types: dict[str, TensorType] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    shared: set[str] = field(default_factory=set)
    place: str = ""

    def __post_init__(self) -> None:
        self.types = dict(self.inputs)

    def add(self, operator: Operator, *inputs: str) -> str:
        """Append a node and return its name."""
        return self._append(Node(self._unused(self.place or operator.name), operator, inputs))

    def add_part(self, operator: Operator, *inputs: str) -> str:
        """Append a node that another needs, named after both."""
        return self._append(Node(self._unused(f"{self.place}_{operator.name}"), operator, inputs))

    def _append(self, node: Node) -> str:
        self.types = infer_types(self.types, (node,))
        self.nodes[node.name] = node
        return node.name

    def reshape(self, name: str, shape: tuple[int, ...]) -> str:
        """The elements of a value in another shape; one reshape never follows another."""
        while isinstance(self.operator(name), Reshape):
            name = self.nodes[name].inputs[0]
        if self.types[name].shape == shape:
            return name
        return self.add(Reshape(shape), name)

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
        return self._append(node)

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
