"""Nodes that no image reaches are computed here and now."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.convert.onnx.checking import check_claim
from bitconv.convert.onnx.reading import OnnxNode, one_line
from bitconv.errors import UnsupportedError


def evaluate(
    node: OnnxNode, inputs: list[NDArray[Any] | None], opset: int
) -> tuple[NDArray[Any], ...]:
    """The outputs of a node of constants, by ONNX's own reference."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    attributes = {
        name: onnx.numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
        for name, value in node.attributes.items()
    }
    single = onnx.helper.make_node(
        node.operator, node.inputs, node.outputs, domain=node.domain, **attributes
    )
    given = {
        name: onnx.numpy_helper.from_array(np.asarray(value), name)
        for name, value in zip(node.inputs, inputs, strict=True)
        if name and value is not None
    }
    graph = onnx.helper.make_graph(
        [single],
        "constant",
        [],
        [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in node.outputs],
        list(given.values()),
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    check_claim(model)
    try:
        results = ReferenceEvaluator(model).run(None, {})
    except Exception as error:  # the reference raises whatever its NumPy code does
        raise UnsupportedError(
            f"cannot be computed from its constants: {one_line(error)}"
        ) from error
    return tuple(np.asarray(result) for result in results)
