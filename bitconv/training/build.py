"""The graph under construction, and the place in the module that it has come to."""

from __future__ import annotations

from dataclasses import dataclass, field

from bitconv.graph import Node, TensorType, infer_types
from bitconv.operators import Operator


@dataclass
class Build:
    """The graph so far.

    Attributes
    ----------
    types : dict of str to TensorType
        Of the input and of every node.
    nodes : list of Node
    place : str
        Where in the module the walk is, such as ``blocks.0.norm``.
    is_layer : bool
        Whether `place` names one layer, not a module that calls several functions.
    sums : str
        The last node that holds the sums of a binary layer.
    """

    types: dict[str, TensorType]
    nodes: list[Node] = field(default_factory=list)
    place: str = ""
    is_layer: bool = False
    sums: str = ""

    def add(self, operation: Operator, *inputs: str) -> str:
        """Append a node and return its name: the layer's, or the function's after its place."""
        if self.is_layer and self.place:
            return self._append(self._prefix(), operation, inputs)
        return self.add_part(operation, *inputs)

    def add_part(self, operation: Operator, *inputs: str) -> str:
        """Append one of several nodes that a layer becomes, named after layer and operator."""
        parts = [self._prefix()] if self.place else []
        return self._append("_".join([*parts, operation.name]), operation, inputs)

    def _prefix(self) -> str:
        return self.place.replace(".", "_")

    def _append(self, name: str, operation: Operator, inputs: tuple[str, ...]) -> str:
        node = Node(self._unused(name), operation, inputs)
        self.types = infer_types(self.types, (node,))
        self.nodes.append(node)
        return node.name

    def _unused(self, name: str) -> str:
        repeats = 1
        while (candidate := name if repeats == 1 else f"{name}_{repeats}") in self.types:
            repeats += 1
        return candidate
