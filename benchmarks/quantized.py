"""Float models in eight bits, as onnxruntime's documentation asks, for onnxruntime and OpenVINO."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from llvmlite import binding
from numpy.typing import NDArray

from bitconv.errors import MissingPackageError

INPUT = "input 0"  # of a model that `bitconv.peers.onnx_writer` wrote


def quantize(model: bytes, batches: Sequence[NDArray[Any]]) -> bytes:
    """Quantize statically: activations to uint8, weights to int8, one scale a channel.

    Parameters
    ----------
    model : bytes
        An ONNX model of one input.
    batches : sequence of array
        Inputs from which the ranges of activations are taken.

    Returns
    -------
    bytes
        The model with pairs of QuantizeLinear and DequantizeLinear, which engines take for int8.
    """
    try:
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise MissingPackageError(
            "quantizing takes onnxruntime: pip install 'bitconv[bench]'"
        ) from error
    logging.getLogger().setLevel(logging.ERROR)  # it warns through the root logger
    with TemporaryDirectory() as folder:
        given, prepared, result = (str(Path(folder, name)) for name in ("f.onnx", "p", "q"))
        Path(given).write_bytes(model)
        quant_pre_process(given, prepared, skip_symbolic_shape=True)  # folds batch norm
        quantize_static(
            prepared,
            result,
            _Reader(batches),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            reduce_range=not _has_vnni(),  # else sums of two products may overflow 16 bits
        )
        return Path(result).read_bytes()


class _Reader:
    """Batches as onnxruntime's calibration takes them."""

    def __init__(self, batches: Sequence[NDArray[Any]]) -> None:
        self._batches: Iterator[NDArray[Any]] = iter(batches)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}

    def __iter__(self) -> _Reader:
        return self

    def __next__(self) -> dict[str, NDArray[Any]]:
        batch = self.get_next()
        if batch is None:
            raise StopIteration
        return batch


def _has_vnni() -> bool:
    features = binding.get_host_cpu_features()
    return bool(features.get("avx512vnni") or features.get("avxvnni"))
