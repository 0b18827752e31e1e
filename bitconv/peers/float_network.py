"""The float network of the same layers: what a user would run in place of a binary one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bitconv.errors import GraphError, UnsupportedError
from bitconv.graph import Graph, Node, needed_nodes
from bitconv.operators import BinaryConv2d, BinaryDense, Conv2d, Dense, Operator, Sign


def float_network(graph: Graph) -> Graph:
    """The network without signs: its weights are α·sign(W) in float32, its activations floats.

    What stands for the magnitude of activations, the map K and its constant, falls away, since
    activations keep theirs; padding is zero. The scores are others, the work of a float engine is
    that of the float network of the same layers.

    Raises
    ------
    UnsupportedError
        A layer takes nothing but signs.
    """
    names: dict[str, str] = {}  # of the value that stands for a sign
    nodes = []
    for node in graph.nodes:
        inputs = tuple(names.get(name, name) for name in node.inputs)
        match node.operator:
            case Sign():
                names[node.name] = inputs[0]
            case BinaryConv2d() | BinaryDense() as layer:
                nodes.append(Node(node.name, _float_layer(layer), inputs[:1]))
            case operator:
                nodes.append(Node(node.name, operator, inputs))
    outputs = tuple(names.get(name, name) for name in graph.outputs)
    try:
        needed = needed_nodes(nodes, outputs)  # nobody reads a map K any more
        return replace(graph, nodes=needed, outputs=outputs)
    except GraphError as error:
        raise UnsupportedError(f"there is no float network of these layers: {error}") from error


def scaled_signs(layer: BinaryConv2d | BinaryDense) -> NDArray[np.float32]:
    """α·sign(W), of the shape of the weights."""
    signs = layer.weight.signs().astype(np.float32)
    if layer.scale is None:
        return signs
    filters, *taps, channels = signs.shape
    alpha = layer.scale.by_filter(filters).repeat(layer.scale.channels_per_scale, axis=1)
    return signs * alpha[:, :channels].reshape(filters, *(1 for _ in taps), channels)


def _float_layer(layer: BinaryConv2d | BinaryDense) -> Operator:
    weight = scaled_signs(layer)
    if isinstance(layer, BinaryDense):
        return Dense(weight, layer.bias)
    return Conv2d(
        weight,
        layer.bias,
        stride=layer.stride,
        dilation=layer.dilation,
        padding=layer.padding,
        groups=layer.groups,
    )
