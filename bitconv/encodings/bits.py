"""Encoding ``bits``: signs in one stream of bits, padded only at its end.

Bit ``i % 8`` of byte ``i // 8`` is element i in C order, plane after plane; 1 stands for −1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.bits import BitArray
from bitconv.errors import FileError, GraphError

ATTRIBUTES = ("planes", "shape")


def encode(array: BitArray) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """The stream; `shape` is that of one plane."""
    return array.stream, {"planes": array.planes, "shape": array.shape}


def decode(data: NDArray[Any], *, planes: Any, shape: Any) -> BitArray:
    """The signs, once the stream is seen to be as long as `shape` and `planes` ask for."""
    if data.dtype != np.uint8 or data.ndim != 1:
        raise FileError(f"encoding 'bits' holds a row of uint8, found {data.dtype} {data.shape}")
    try:
        return BitArray(shape, data, planes)
    except GraphError as error:
        raise FileError(str(error)) from error
