"""The graph under construction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bitconv.bits import BitArray
from bitconv.convert.report import LayerReport
from bitconv.graph import Node, TensorType, infer_types
from bitconv.operators import BinaryConv2d, Multiply, Operator, Reshape
from bitconv.scales import ScaleGrid

Weights = Callable[[Sequence[str]], list[NDArray[np.float32]]]


@dataclass
class Build:
    """The graph so far, and the layer that it has come to.

    Attributes
    ----------
    types : dict of str to TensorType
        Of the input and of every node.
    nodes : list of Node
    layer : str
        The name of the layer, after which nodes are named.
    weights : callable
        The arrays of the layer by their names in Keras, such as ``kernel``.
    reports : list of LayerReport
        What became of the convolutions and dense layers.
    """

    types: dict[str, TensorType]
    nodes: list[Node] = field(default_factory=list)
    layer: str = ""
    weights: Weights = lambda _: []  # of no layer yet
    reports: list[LayerReport] = field(default_factory=list)
    _repeats: Counter[str] = field(default_factory=Counter)

    def enter(self, layer: str, weights: Weights) -> None:
        """Come to another layer."""
        self.layer, self.weights = layer, weights

    def add(self, operation: Operator, *inputs: str) -> str:
        """Append the node that is the layer and return its name, the layer's."""
        return self._append(self.layer, operation, inputs)

    def add_part(self, operation: Operator, *inputs: str) -> str:
        """Append one of several nodes that a layer becomes, named after layer and operator."""
        return self._append(f"{self.layer}_{operation.name}", operation, inputs)

    def numbers(self, x: str) -> str:
        """The value as numbers: signs become −1.0 and +1.0, all else stays."""
        return x if self.types[x].kind != "bits" else self.affine_of_signs(x, 1.0, None)

    def floats(self, x: str) -> str:
        """The value as float32."""
        if self.types[x].kind in ("float32", "bits"):
            return self.numbers(x)
        return self.add_part(Multiply(np.ones(1, np.float32)), x)

    def affine_of_signs(self, x: str, factor: float, offset: float | None) -> str:
        """``factor · sign + offset``: a binary convolution whose filters see one channel each."""
        shape = self.types[x].shape
        channels = shape[-1]
        operation = BinaryConv2d(
            weight=BitArray.from_signs(np.ones((channels, 1, 1, 1))),
            scale=ScaleGrid(np.full((1, 1), factor), channels, 1),
            bias=None if offset is None else np.full(channels, offset, np.float32),
            groups=channels,
        )
        as_map = (self.types[x].size // channels, 1, channels)
        if len(shape) == 3:
            return self.add_part(operation, x)
        value = self.add_part(operation, self.add_part(Reshape(as_map), x))
        return self.add_part(Reshape(shape), value)

    def _append(self, name: str, operation: Operator, inputs: tuple[str, ...]) -> str:
        node = Node(self._unused(name), operation, inputs)
        self.types |= {node.name: infer_types(self._types_of(inputs), (node,))[node.name]}
        self.nodes.append(node)
        return node.name

    def _types_of(self, inputs: tuple[str, ...]) -> dict[str, TensorType]:
        return {name: self.types[name] for name in inputs}

    def _unused(self, name: str) -> str:
        candidate = name
        while candidate in self.types:
            self._repeats[name] += 1
            candidate = f"{name}_{self._repeats[name] + 1}"
        return candidate
