"""OpenVINO's own binary convolution.

It computes garbage without a word unless the quantizer before it gives 0 and 1 and the weights are
of type u1, packed from the lowest bit up; 1 stands for +1. Padding counts as nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.bits import BitArray
from bitconv.errors import MissingPackageError
from bitconv.peers.engines import openvino_settings


def binary_layer(
    values: NDArray[np.float32],
    weight: BitArray,
    factor: NDArray[np.float32],
    offset: NDArray[np.float32],
) -> Callable[[], NDArray[np.float32]]:
    """Sign, 3×3 convolution with padding 1, ``· factor + offset`` by channel; on one thread.

    Parameters
    ----------
    values : float32 array of shape (1, channels, rows, columns)
    weight : BitArray of shape (filters, 3, 3, channels)
    factor, offset : float32 arrays of shape (filters,)
    """
    try:
        import openvino
        from openvino import opset1 as ops
    except ImportError as error:
        raise MissingPackageError(
            "OpenVINO is not installed: pip install 'bitconv[bench]'"
        ) from error

    def floats(numbers: Any) -> Any:
        return ops.constant(np.asarray(numbers, np.float32).reshape(1, -1, 1, 1))

    source = ops.parameter(list(values.shape), np.float32)
    zeros_and_ones = ops.fake_quantize(source, floats(0), floats(0), floats(0), floats(1), 2)
    positive = ~weight.bits().transpose(0, 3, 1, 2)
    packed = np.packbits(positive.reshape(-1), bitorder="little")
    filters = openvino.Tensor(packed, openvino.Shape(list(positive.shape)), openvino.Type.u1)
    ones = [1, 1]  # strides, padding, dilation
    sums = ops.binary_convolution(
        zeros_and_ones, openvino.op.Constant(filters), ones, ones, ones, ones, "xnor-popcount", 0.0
    )
    result = ops.add(ops.multiply(sums, floats(factor)), floats(offset))
    compiled = openvino.Core().compile_model(
        openvino.Model([result], [source]), "CPU", openvino_settings(threads=1)
    )
    request = compiled.create_infer_request()
    request.set_input_tensor(0, openvino.Tensor(values, shared_memory=True))

    def run() -> NDArray[np.float32]:
        request.infer()
        found: NDArray[np.float32] = request.get_output_tensor(0).data
        return found

    return run
