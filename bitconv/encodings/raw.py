"""Encoding ``raw``: the numbers themselves, float32 in C order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.errors import FileError

ATTRIBUTES: tuple[str, ...] = ()


def encode(array: NDArray[Any]) -> NDArray[np.float32]:
    """The array as it is."""
    return np.asarray(array, dtype=np.float32)


def decode(data: NDArray[Any]) -> NDArray[np.float32]:
    """The array as it is."""
    if data.dtype != np.float32:
        raise FileError(f"encoding 'raw' holds float32, found {data.dtype}")
    return data
