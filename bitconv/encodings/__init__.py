"""How stored arrays are decoded: every array of a file names one of these encodings.

An encoding is a module with the `ATTRIBUTES` that describe its data, ``encode`` and its inverse
``decode(data, **attributes)``, which trusts neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from bitconv.bits import BitArray
from bitconv.encodings import bits, raw
from bitconv.errors import FileError
from bitconv.operators.operator import StoredArray

ENCODINGS = {"bits": bits, "raw": raw}


def encode(array: StoredArray) -> tuple[NDArray[Any], dict[str, Any]]:
    """The data to store, and the attributes that describe it, ``encoding`` among them."""
    if isinstance(array, BitArray):
        data, attributes = bits.encode(array)
        return data, {"encoding": "bits", **attributes}
    return raw.encode(array), {"encoding": "raw"}


def decode(data: NDArray[Any], attributes: Mapping[str, Any]) -> StoredArray:
    """The array that `encode` was given.

    Raises
    ------
    FileError
        Where the encoding is unknown, or data and attributes are not what it takes.
    """
    described = dict(attributes)
    name = described.pop("encoding", None)
    if name not in ENCODINGS:
        raise FileError(f"unknown encoding {name!r}; known are {sorted(ENCODINGS)}")
    encoding = ENCODINGS[name]
    if set(described) != set(encoding.ATTRIBUTES):
        raise FileError(
            f"encoding {name!r} takes the attributes {sorted(encoding.ATTRIBUTES)}, found "
            f"{sorted(described)}"
        )
    array: StoredArray = encoding.decode(data, **described)
    return array
