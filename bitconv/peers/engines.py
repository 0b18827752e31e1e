"""Other engines, each set up as its documentation asks; all are optional packages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from numpy.typing import NDArray

from bitconv.errors import MissingPackageError

Run = Callable[[Sequence[NDArray[Any]]], list[NDArray[Any]]]
Engine = Callable[[bytes, int], Run]


def onnxruntime(model: bytes, threads: int) -> Run:
    """A model in onnxruntime, with its default optimizations.

    Parameters
    ----------
    model : bytes
        An ONNX model.
    threads : int

    Returns
    -------
    callable
        From the arrays of all inputs to those of all outputs, in the model's order.

    Raises
    ------
    MissingPackageError
        onnxruntime is not installed.
    """
    try:
        import onnxruntime as package
    except ImportError as error:
        raise MissingPackageError(
            "onnxruntime is not installed: pip install 'bitconv[bench]'"
        ) from error
    options = package.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = package.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_inputs()]

    def run(arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        results: list[NDArray[Any]] = session.run(None, dict(zip(names, arrays, strict=True)))
        return results

    return run


def openvino(model: bytes, threads: int, precision: str = "f32") -> Run:
    """A model in OpenVINO, for the least latency; otherwise as `onnxruntime`.

    Results stay OpenVINO's own and are overwritten by the next run.

    Parameters
    ----------
    model : bytes
        An ONNX model.
    threads : int
    precision : {"f32", "bf16"}
        What floats may be computed in; bfloat16 only where the processor has it.

    Raises
    ------
    MissingPackageError
        openvino is not installed.
    """
    try:
        import openvino as package
    except ImportError as error:
        raise MissingPackageError(
            "OpenVINO is not installed: pip install 'bitconv[bench]'"
        ) from error
    core = package.Core()
    settings = openvino_settings(threads, precision)
    request = core.compile_model(core.read_model(model), "CPU", settings).create_infer_request()
    outputs = range(len(request.model_outputs))

    def run(arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        for index, array in enumerate(arrays):
            request.set_input_tensor(index, package.Tensor(array, shared_memory=True))
        request.infer()
        return [request.get_output_tensor(index).data for index in outputs]

    return run


def openvino_settings(threads: int, precision: str = "f32") -> dict[str, str | int]:
    """Settings for the least latency."""
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": precision,  # some processors would take bfloat16 unasked
    }


ENGINES: dict[str, Engine] = {"onnxruntime": onnxruntime, "openvino": openvino}


def installed_version(engine: str) -> str | None:
    """The version of an engine; None where it cannot be imported."""
    try:
        release: str = import_module(engine).__version__
    except ImportError:
        return None
    return release.partition("-")[0]  # OpenVINO's goes on with its build
