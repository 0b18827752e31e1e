"""The graph under construction, and the place in the module that it has come to."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from bitconv.bits import BitArray
from bitconv.graph import Node, TensorType, infer_types
from bitconv.operators import (
    BinaryConv2d,
    BinaryDense,
    Concat,
    Flatten,
    MaxPool2d,
    Operator,
    Pad,
    Reshape,
    Slice,
    Transpose,
)
from bitconv.scales import ScaleGrid

_TAKE_SIGNS = (
    BinaryConv2d,
    BinaryDense,
    Concat,
    Flatten,
    MaxPool2d,
    Pad,
    Reshape,
    Slice,
    Transpose,
)


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
    _numbers: dict[str, str] = field(default_factory=dict)  # of signs, the numbers made of them

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
        signs = [each for each in inputs if self.types[each].kind == "bits"]
        mixed = isinstance(operation, Concat) and len(signs) < len(inputs)
        if signs and (mixed or not isinstance(operation, _TAKE_SIGNS)):
            inputs = tuple(map(self._as_numbers, inputs))
        node = Node(self._unused(name), operation, inputs)
        self.types = infer_types(self.types, (node,))
        self.nodes.append(node)
        return node.name

    def _as_numbers(self, name: str) -> str:
        """Signs as −1.0 and +1.0: each is the sum of one sign times +1."""
        if self.types[name].kind != "bits":
            return name
        if name not in self._numbers:
            shape = self.types[name].shape
            *size, channels = shape
            layer = BinaryConv2d(
                BitArray.from_signs(np.ones((channels, 1, 1, 1))),
                ScaleGrid(np.ones((1, 1), np.float32), channels, 1),
                groups=channels,
            )
            if len(size) == 2:
                self._numbers[name] = self.add_part(layer, name)
            else:
                pixels = self.add_part(Reshape((1, math.prod(size), channels)), name)
                numbers = self.add_part(layer, pixels)
                self._numbers[name] = self.add_part(Reshape(shape) if size else Flatten(), numbers)
        return self._numbers[name]

    def _unused(self, name: str) -> str:
        repeats = 1
        while (candidate := name if repeats == 1 else f"{name}_{repeats}") in self.types:
            repeats += 1
        return candidate
