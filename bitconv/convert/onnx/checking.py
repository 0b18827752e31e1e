"""What is looked at before native code computes anything from an ONNX file."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.errors import FileError, UnsupportedError
from bitconv.text import printable

MAX_ELEMENTS = 2**27  # of a constant that a node computes
_AT_MOST = f"of {MAX_ELEMENTS:,} at most"
MAX_LENGTH = 2**31 - 1
FEW = 16  # elements of a tensor that says how large another is
FROM_ONE_UP = ("dilations", "group", "kernel_shape", "strides")
LOOPS = ("Loop", "Scan", "SequenceMap")


def check_nodes(graph: Any) -> None:
    """Raise for nodes on which the computation of constants would crash or never end.

    Parameters
    ----------
    graph : onnx.GraphProto

    Raises
    ------
    FileError, UnsupportedError
        With name and operator of the node.
    """
    lengths = small_constants(graph, FEW)
    for node in _all_nodes(graph):
        where = _place(node)
        if node.op_type in LOOPS:
            raise UnsupportedError(f"{where}: there is no operator for a loop")
        for attribute in node.attribute:
            values = attribute.ints or [attribute.i]
            if attribute.name in FROM_ONE_UP and not all(1 <= n <= MAX_LENGTH for n in values):
                raise FileError(f"{where}: {attribute.name} takes numbers from 1 up")
        claimed = _claimed(node, lengths)
        if claimed > MAX_ELEMENTS:
            raise FileError(f"{where}: makes {claimed:,} elements, {_AT_MOST}")


def _place(node: Any) -> str:
    return f"{printable(node.name or ''.join(node.output[:1]))} ({printable(node.op_type)})"


def small_constants(graph: Any, most: int) -> dict[str, NDArray[Any]]:
    """The stored tensors of at most so many numbers, whether of the graph or of its nodes."""
    import onnx

    tensors = [(tensor.name, tensor) for tensor in graph.initializer]
    for node in graph.node:
        if node.op_type == "Constant":
            tensors += [(node.output[0], each.t) for each in node.attribute if each.name == "value"]
    return {
        name: onnx.numpy_helper.to_array(tensor)
        for name, tensor in tensors
        if prod(tensor.dims) <= most and tensor.data_type != onnx.TensorProto.STRING
    }


def _all_nodes(graph: Any) -> Iterator[Any]:
    """The nodes of a graph and of the graphs within it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _all_nodes(inner)


def _claimed(node: Any, lengths: dict[str, NDArray[Any]]) -> int:
    """The elements of what a node makes out of stored lengths alone, as far as they are stored."""
    given = [lengths.get(name) for name in node.input]
    if node.op_type == "Range" and all(each is not None and each.size == 1 for each in given):
        start, limit, step = (float(each.item()) for each in given if each is not None)
        return int(np.nan_to_num((limit - start) / step)) if step else 0
    if node.op_type == "ConstantOfShape" or (node.op_type in ("Expand", "Tile") and len(given) > 1):
        shape = given[-1]
        return 0 if shape is None else prod(abs(int(each)) for each in shape.reshape(-1))
    return 0


def check_constants(model: Any) -> None:
    """Raise `UnsupportedError` where nodes make too much of what is stored and nothing else."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    elements = {
        value.name: prod(each.dim_value for each in value.type.tensor_type.shape.dim)
        for value in graph.value_info
    }
    known = {tensor.name for tensor in graph.initializer} | {""}
    for node in graph.node:
        if known.issuperset(node.input):
            known.update(node.output)
            claimed = max((elements.get(name, 0) for name in node.output), default=0)
            if claimed > MAX_ELEMENTS:
                raise UnsupportedError(f"{_place(node)}: makes {claimed:,} elements, {_AT_MOST}")


def check_claim(model: Any) -> None:
    """Raise `UnsupportedError` where a model of one node makes too much of its initializers."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    for output in inferred.graph.output:
        claimed = prod(each.dim_value for each in output.type.tensor_type.shape.dim)
        if claimed > MAX_ELEMENTS:
            raise UnsupportedError(f"makes {claimed:,} elements, {_AT_MOST}")
