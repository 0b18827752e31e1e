"""An ONNX file as plain Python: nodes, constants, inputs and outputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.convert.onnx.checking import check_constants, check_nodes
from bitconv.convert.onnx.rewriting import rewrite
from bitconv.errors import (
    BitconvError,
    FileError,
    InputError,
    MissingPackageError,
    UnsupportedError,
)
from bitconv.text import printable

LARGEST = "256MB"  # of a constant that onnxsim computes out of small ones
LONGEST = 300  # letters of a foreign message
STANDARD = ("", "ai.onnx")  # names of the domain of the standard operators


@dataclass(frozen=True)
class OnnxNode:
    """One node.

    Attributes
    ----------
    name : str
        Its own, or that of its first output where it has none.
    operator, domain : str
    inputs, outputs : tuple of str
        An input that is left out is the empty text.
    attributes : dict of str to Any
        Tensors as arrays, texts as str.
    """

    name: str
    operator: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class OnnxNetwork:
    """A network of one input.

    Attributes
    ----------
    name : str
    nodes : tuple of OnnxNode
    constants : dict of str to array
    input : str
    shape : tuple of int
        Of the input, the batch first; where that was left open it is 1.
    dtype : dtype
        Of the input.
    outputs : tuple of str
    opset : int
    """

    name: str
    nodes: tuple[OnnxNode, ...]
    constants: dict[str, NDArray[Any]]
    input: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    outputs: tuple[str, ...]
    opset: int

    @property
    def batch(self) -> int:
        return self.shape[0]


def read_network(path: str | Path) -> OnnxNetwork:
    """Read and simplify an ONNX file.

    Constant subgraphs, as exporters leave them, are computed by onnxsim. Nothing is fused: batch
    norm that is multiplied into weights would hide which of them are binary.
    """
    onnx, onnxsim = _packages()
    try:
        model = onnx.load(str(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # protobuf raises classes of its own, from version to version others
        raise FileError(f"{path}: is no ONNX file, or a damaged one: {one_line(error)}") from error
    try:
        onnx.checker.check_model(model)
        check_nodes(model.graph)
        name, shape, dtype = _input(onnx, model)
        rewrite(model.graph)
        check_constants(model)
        model, _ = onnxsim.simplify(
            model,
            perform_optimization=False,
            overwrite_input_shapes={name: list(shape)},
            tensor_size_threshold=LARGEST,
        )
        return _network(onnx, model, name, shape, dtype)
    except BitconvError as error:
        raise type(error)(f"{path}: {error}") from error
    except Exception as error:  # those of the libraries, and Python's where a text is none
        raise FileError(f"{path}: is no valid ONNX network: {one_line(error)}") from error


def one_line(error: Exception) -> str:
    """A foreign message in one line."""
    text = " ".join(str(error).split())
    return printable(text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}...")


def _packages() -> tuple[Any, Any]:
    try:
        import onnx
        import onnxsim
    except ImportError as error:
        raise MissingPackageError(
            "converting ONNX networks takes onnx and onnxsim: pip install 'bitconv[onnx]'"
        ) from error
    return onnx, onnxsim


def _input(onnx: Any, model: Any) -> tuple[str, tuple[int, ...], np.dtype[Any]]:
    """Name, shape and type of the only input."""
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in stored]
    if len(inputs) != 1:
        names = ", ".join(repr(each.name) for each in inputs) or "none"
        raise UnsupportedError(f"the network takes several inputs or none, expected one: {names}")
    tensor = inputs[0].type.tensor_type
    found = [d.dim_value if d.HasField("dim_value") else 0 for d in tensor.shape.dim]
    if len(found) < 2 or min(found[1:]) < 1:
        shown = [d.dim_value or d.dim_param or "?" for d in tensor.shape.dim]
        raise UnsupportedError(
            f"input {inputs[0].name!r} has the shape {shown}; only its batch may be left open"
        )
    kinds = onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8
    if tensor.elem_type not in kinds:
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type)
        raise UnsupportedError(f"input {inputs[0].name!r} is {kind}, expected FLOAT or UINT8")
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    return inputs[0].name, (max(found[0], 1), *found[1:]), dtype


def _network(
    onnx: Any, model: Any, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> OnnxNetwork:
    graph = model.graph
    opset = next((each.version for each in model.opset_import if each.domain in STANDARD), 1)
    return OnnxNetwork(
        name=printable(graph.name),
        nodes=tuple(_node(onnx, node) for node in graph.node),
        constants={t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer},
        input=name,
        shape=shape,
        dtype=dtype,
        outputs=tuple(each.name for each in graph.output),
        opset=opset,
    )


def _node(onnx: Any, node: Any) -> OnnxNode:
    attributes = {each.name: _attribute(onnx, each) for each in node.attribute}
    domain = "" if node.domain in STANDARD else node.domain
    name = printable(node.name or next(iter(node.output), ""))
    return OnnxNode(
        name, printable(node.op_type), domain, tuple(node.input), tuple(node.output), attributes
    )


def _attribute(onnx: Any, attribute: Any) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    return list(value) if isinstance(value, np.ndarray) else value
