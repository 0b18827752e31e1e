"""Does another engine compute the same numbers?

It is asked of every node, fed what the engine itself had before it. The whole run would not tell:
where rounding flips a sign, all that follows differs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.graph import Graph, Metadata
from bitconv.peers.engines import Engine
from bitconv.peers.onnx_writer import to_onnx

ROUNDING = 1e-4  # of the largest value: float32 sums of thousands of terms in any order


def difference(engine: Engine, graph: Graph, batch: NDArray[Any]) -> str:
    """What an engine computes differently from the operators' references; empty where nothing.

    Parameters
    ----------
    engine : callable
        One of `bitconv.peers.engines.ENGINES`.
    graph : Graph
        With one input.
    batch : array of shape (N, height, width, channels)
        Images; every value of the network is held in memory for all of them.
    """
    names = tuple(node.name for node in graph.nodes)
    everything = replace(graph, outputs=names, metadata=Metadata())
    found = engine(to_onnx(everything, len(batch)), 1)([batch])
    values = dict.fromkeys(graph.inputs, batch)
    for name, value in zip(names, found, strict=True):
        values[name] = value.astype(graph.types[name].dtype)
    for node in graph.nodes:
        expected = node.operator.reference(*(values[name] for name in node.inputs))
        error = relative_error(values[node.name], expected)
        if not error <= ROUNDING:
            return (
                f"{node.name!r} ({node.operator.name}) is off by {error:.1e} of its largest value"
            )
    return ""


def reference_outputs(graph: Graph, batch: NDArray[Any]) -> list[NDArray[Any]]:
    """The outputs of a network with one input, by the operators' references."""
    values = graph.reference(dict.fromkeys(graph.inputs, batch))
    return [values[name] for name in graph.outputs]


def relative_error(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """The largest difference over the largest magnitude; NaN where a number is none."""
    scale = np.abs(expected.astype(np.float64)).max(initial=0.0)
    error = np.abs(found.astype(np.float64) - expected).max(initial=0.0)
    return float(error / scale) if scale else float(error)
