"""Operators that keep a map encoded, see `bitconv.feature_maps.compression`."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bitconv.errors import GraphError
from bitconv.feature_maps.codec import Codec
from bitconv.graph import TensorType
from bitconv.kernels.records import LENGTH_BYTES
from bitconv.operators.operator import Operator, StoredArray, expect_kind, expect_map

CODEC = {"stored": "codec"}


def encoded_type(codec: Codec, shape: tuple[int, int, int]) -> TensorType:
    """The type of encoded maps: a length, and the most bytes that any map of the shape takes."""
    return TensorType((LENGTH_BYTES + codec.bound(shape),), "bytes")


@dataclass(frozen=True, eq=False)
class EncodeMap(Operator):
    """The bytes of a map: their number, the payload, and zeros up to the most that any map takes.

    Attributes
    ----------
    codec : Codec
    reserve : int
        Bytes to reserve for a map. It changes nothing of the result: where a map takes more, the
        engine runs again with room for any.
    """

    name = "encode_map"
    codec: Codec = field(metadata=CODEC)
    reserve: int

    def check(self) -> None:
        if self.reserve < 1:
            raise GraphError(f"reserve takes a number of bytes from 1 up, found {self.reserve}")

    def arrays(self) -> dict[str, StoredArray]:
        """None: a file keeps codecs apart from the nodes."""
        return {}

    def infer(self, value: TensorType) -> TensorType:
        expect_kind(value, "float32")
        return encoded_type(self.codec, expect_map(value))

    def reference(self, values: NDArray[np.float32]) -> NDArray[np.uint8]:
        images, height, width, channels = values.shape
        size = encoded_type(self.codec, (height, width, channels)).size
        encoded = np.zeros((images, size), np.uint8)
        for target, value in zip(encoded, values, strict=True):
            payload = self.codec.reference_encode(value)
            data = len(payload).to_bytes(LENGTH_BYTES, "little") + payload
            target[: len(data)] = np.frombuffer(data, np.uint8)
        return encoded


@dataclass(frozen=True, eq=False)
class DecodeMap(Operator):
    """The map of the bytes that `EncodeMap` gave.

    Attributes
    ----------
    codec : Codec
    shape : tuple of int
        Of the map: height, width, channels.
    """

    name = "decode_map"
    codec: Codec = field(metadata=CODEC)
    shape: tuple[int, ...]

    def check(self) -> None:
        if len(self.shape) != 3:
            raise GraphError(f"shape takes height, width and channels, found {self.shape}")

    def arrays(self) -> dict[str, StoredArray]:
        """None: a file keeps codecs apart from the nodes."""
        return {}

    @property
    def map_shape(self) -> tuple[int, int, int]:
        height, width, channels = self.shape
        return height, width, channels

    def infer(self, value: TensorType) -> TensorType:
        expect_kind(value, "bytes")
        expected = encoded_type(self.codec, self.map_shape)
        if value != expected:
            raise GraphError(f"takes {expected}, found {value}")
        return TensorType(self.shape, "float32")

    def reference(self, values: NDArray[np.uint8]) -> NDArray[np.float32]:
        maps = np.empty((len(values), *self.shape), np.float32)
        for target, value in zip(maps, values, strict=True):
            data = value.tobytes()
            length = int.from_bytes(data[:LENGTH_BYTES], "little")
            payload = data[LENGTH_BYTES : LENGTH_BYTES + length]
            target[:] = self.codec.reference_decode(payload, self.map_shape)
        return maps
