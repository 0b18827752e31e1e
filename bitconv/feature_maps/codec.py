"""What every codec of feature maps has in common.

A codec is calibrated once a layer. `Codec.encode` gives bytes that explain themselves, a header and
a payload; the payload alone is what the engine keeps in its arena. Both come from the same kernels.

A payload is what the strips of a map, a few rows or a part of one, are encoded to, one after
another.
"""

from __future__ import annotations

import struct
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from math import prod
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitconv.errors import EncodedMapError, GraphError, InputError
from bitconv.feature_maps.coding import Coding, Strip
from bitconv.kernels.strips import strip_pixels

Shape = tuple[int, int, int]
Octets = NDArray[np.uint8]
Floats = NDArray[np.float32]

_MAGIC = b"BFM1"
_HEADER = struct.Struct("<4sIHHHI")  # magic, fingerprint of the codec, H, W, C, bytes of payload
_CHECK = struct.Struct("<I")  # CRC-32 of the header before it and of the payload
_LARGEST_EXTENT = 2**16 - 1
_MOST_CHANNELS = 2**15

HEADER_BYTES = _HEADER.size + _CHECK.size
LARGEST_VALUE = 1e30  # so that no step, sum or error that calibration computes overflows


class Codec(ABC):
    """A way to keep the float32 maps of one layer in fewer bytes.

    Subclasses are frozen dataclasses, found by name in `bitconv.feature_maps.CODECS`.
    """

    name: ClassVar[str]
    transform: ClassVar[str]  # of `bitconv.kernels.codecs.TRANSFORMS`
    coder: ClassVar[str]  # of `bitconv.kernels.codecs.CODERS`

    @property
    def mode(self) -> str:
        """What the codec chose among its ways; empty where there is only one."""
        return ""

    @classmethod
    def settings(cls) -> list[dict[str, Any]]:
        """Settings of `calibrate` that are worth a try, the one with the least error first."""
        return [{}]

    @classmethod
    @abstractmethod
    def calibrate(cls, maps: ArrayLike, **settings: Any) -> Self:
        """The codec that fits the maps of a layer.

        Parameters
        ----------
        maps : float array of shape (N, H, W, C)
            Maps of typical images; finite and not empty.
        **settings
            Each codec says what it takes.

        Raises
        ------
        InputError
            Where maps or settings are something else.
        """

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """All that the codec consists of, as numbers, texts and arrays, for a file."""

    @classmethod
    @abstractmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """The codec that `parameters` describe.

        Raises
        ------
        GraphError
            Where they are not what the codec takes: nothing in a file is trusted.
        """

    def check(self, shape: Shape) -> None:
        """Raise `GraphError` unless the codec takes maps of that shape (H, W, C)."""
        limits = (_LARGEST_EXTENT, _LARGEST_EXTENT, _MOST_CHANNELS)
        if len(shape) != 3 or not all(map(_from_one_to, shape, limits)):
            raise GraphError(
                f"a codec takes maps (H, W, C) of at most {limits}, found {tuple(shape)}"
            )

    @abstractmethod
    def bound(self, shape: Shape) -> int:
        """Bytes that no payload of a map of this shape exceeds."""

    @abstractmethod
    def least(self, shape: Shape) -> int:
        """Bytes that no payload of a map of this shape falls below."""

    def pixel_symbols(self, channels: int) -> int:
        """Bytes that the transform makes of a pixel."""
        return channels

    def encoding(self, shape: Shape, *, gathered: bool = False) -> Coding:
        """How the kernels encode maps of a shape.

        Parameters
        ----------
        shape : tuple of int
        gathered : bool
            Whether there must be memory to gather the pixels of a strip in.
        """
        strip = self._strip(shape)
        scratch = self._encoding_scratch(strip)
        return strip.encoding(self.transform, self.coder, scratch, gathered)

    def decoding(self, shape: Shape) -> Coding:
        """How the kernels decode maps of a shape."""
        strip = self._strip(shape)
        return strip.decoding(self.transform, self.coder, self._decoding_scratch(strip))

    def _strip(self, shape: Shape) -> Strip:
        return Strip.of(shape, self.pixel_symbols(shape[2]))

    def _encoding_scratch(self, _strip: Strip) -> int:
        """Bytes that the transform needs to encode a strip."""
        return 0

    def _decoding_scratch(self, _strip: Strip) -> int:
        """Bytes that the transform needs to decode a strip."""
        return 0

    @cached_property
    def constants(self) -> Octets:
        """What the kernels need to know beside the map; a multiple of 8 bytes."""
        return self._constants()

    @abstractmethod
    def _constants(self) -> Octets: ...

    def reference_encode(self, feature_map: Floats) -> bytes:
        """The payload of a map (H, W, C) in plain NumPy: what the kernel must equal."""
        strips = _strips(feature_map.reshape(-1, feature_map.shape[-1]))
        return b"".join(map(self._encode_strip, strips))

    def reference_decode(self, data: bytes, shape: Shape) -> Floats:
        """The map of an undamaged payload in plain NumPy: what the kernel must equal."""
        values, used = np.zeros((shape[0] * shape[1], shape[2]), np.float32), 0
        for strip in _strips(values):
            strip[:], taken = self._decode_strip(data[used:], strip.shape)
            used += taken
        if used != len(data):
            raise EncodedMapError(f"a map of {used} bytes is expected, found {len(data)}")
        return values.reshape(shape)

    @abstractmethod
    def _encode_strip(self, strip: Floats) -> bytes:
        """The bytes of some pixels, shape (pixels, C)."""

    @abstractmethod
    def _decode_strip(self, data: bytes, shape: tuple[int, ...]) -> tuple[Floats, int]:
        """The inverse, and how many of the bytes are those of the strip."""

    def encode(self, feature_map: ArrayLike) -> bytes:
        """A map behind a header that says its shape and codec and guards against damage.

        Parameters
        ----------
        feature_map : float array of shape (H, W, C)
            Without NaN.

        Raises
        ------
        InputError
            Where it is something else, or of a shape that the codec does not take.
        """
        values = float_array(feature_map, "a feature map", "HWC")
        shape = _shape(values)
        try:
            self.check(shape)
        except GraphError as error:
            raise InputError(str(error)) from error
        out = np.empty(self.bound(shape), np.uint8)
        payload = out[: self.encode_payload(values, out)].tobytes()
        header = _HEADER.pack(_MAGIC, self.fingerprint, *shape, len(payload))
        return header + _CHECK.pack(zlib.crc32(payload, zlib.crc32(header))) + payload

    def decode(self, data: bytes, shape: tuple[int, ...] | None = None) -> Floats:
        """The map (H, W, C) that `encode` was given, as far as the codec keeps it.

        Parameters
        ----------
        data : bytes
        shape : tuple of int, optional
            The only shape to take, where bytes from elsewhere must not decide how much memory a map
            needs.

        Raises
        ------
        EncodedMapError
            Where the bytes are damaged, cut off, of another codec than this or of another shape.
        InputError
            `data` are no bytes.
        """
        if not isinstance(data, bytes | bytearray | memoryview):
            raise InputError(f"decode takes bytes, found {type(data).__name__}")
        if len(data) < HEADER_BYTES:
            raise EncodedMapError(
                f"an encoded map has at least {HEADER_BYTES} bytes, found {len(data)}"
            )
        magic, fingerprint, height, width, channels, length = _HEADER.unpack_from(data)
        if magic != _MAGIC:
            raise EncodedMapError(f"an encoded map starts with {_MAGIC!r}, found {magic!r}")
        if len(data) - HEADER_BYTES != length:
            raise EncodedMapError(
                f"an encoded map announces {length} bytes, found {len(data) - HEADER_BYTES}"
            )
        payload = bytearray(data[HEADER_BYTES:])
        (check,) = _CHECK.unpack_from(data, _HEADER.size)
        if zlib.crc32(payload, zlib.crc32(data[: _HEADER.size])) != check:
            raise EncodedMapError("an encoded map is damaged: its CRC-32 is another")
        if fingerprint != self.fingerprint:
            raise EncodedMapError(
                f"a map was encoded by another codec than this {self.name!r}, or with other "
                "parameters"
            )
        found = (height, width, channels)
        if shape is not None and found != tuple(shape):
            raise EncodedMapError(f"the bytes are of a map {found}, expected {tuple(shape)}")
        return self.decode_payload(np.frombuffer(payload, np.uint8), found)

    def encode_payload(self, feature_map: Floats, out: Octets) -> int:
        """Write the bytes of a map, without a header.

        Parameters
        ----------
        feature_map : float32 array of shape (H, W, C)
        out : contiguous uint8 array of any length; `bound` of the shape is always enough

        Returns
        -------
        int
            Bytes written, or −1 where `out` is too short. What lies behind them in `out` may have
            been overwritten.
        """
        from bitconv.kernels.registry import ENCODE, function

        if out.dtype != np.uint8 or not out.flags.c_contiguous:
            raise InputError(f"out is a contiguous uint8 array, found {out.dtype} {out.strides}")
        values = np.array(feature_map, np.float32, order="C", copy=None).reshape(-1)
        coding = self.encoding(_shape(feature_map))
        memory = np.empty(coding.memory, np.uint8)
        return function(ENCODE)(values, out, self.constants, coding.record, memory)

    def decode_payload(self, data: Octets, shape: Shape) -> Floats:
        """The map of a payload, which must be exactly as long as `encode_payload` said.

        Raises
        ------
        EncodedMapError
            Where the bytes cannot be a map of this shape. That they are another map's is noticed
            only by `decode`.
        """
        from bitconv.kernels.registry import DECODE, function

        try:
            self.check(shape)
        except GraphError as error:
            raise EncodedMapError(str(error)) from error
        values = None
        if self.least(shape) <= len(data) <= self.bound(shape):  # before much memory is taken
            values = np.empty(prod(shape), np.float32)
            coding = self.decoding(shape)
            memory = np.empty(coding.memory, np.uint8)
            octets = np.ascontiguousarray(data, np.uint8)
            used = function(DECODE)(values, octets, self.constants, coding.record, memory)
            if used == len(data):
                return values.reshape(shape)
        raise EncodedMapError(f"{len(data)} bytes are no map {shape} of the codec {self.name!r}")

    @cached_property
    def fingerprint(self) -> int:
        """CRC-32 of the name and of what the kernels take: equal for equal codecs."""
        return zlib.crc32(self.constants.tobytes(), zlib.crc32(self.name.encode()))


def octets_of(*arrays: NDArray[Any]) -> Octets:
    """The bytes of arrays, one after another, for kernels: never read-only."""
    return np.frombuffer(bytearray(b"".join(array.tobytes() for array in arrays)), np.uint8)


def calibration_maps(maps: ArrayLike) -> Floats:
    """The maps of a layer (N, H, W, C), unless they are too large; see `float_array`."""
    values = float_array(maps, "the maps of a layer", "NHWC")
    largest = np.abs(values).max()
    if not largest <= LARGEST_VALUE:
        raise InputError(
            f"the maps of a layer are at most {LARGEST_VALUE:g} in magnitude, found {largest:g}"
        )
    return values


def float_array(array: ArrayLike, what: str, axes: str) -> Floats:
    """An argument as a float32 array in C order.

    Parameters
    ----------
    array
        What a caller gave.
    what : str
        Its name, for the message.
    axes : str
        A letter an axis.

    Raises
    ------
    InputError
        Where it is no array of numbers, has other axes, is empty or holds NaN.
    """
    expected = f"{what} is a non-empty float array ({', '.join(axes)}) without NaN"
    try:
        given = np.asarray(array)
        if given.dtype.kind not in "fiu":
            raise InputError(f"{expected}, found the type {given.dtype}")
        with np.errstate(over="ignore"):
            values = np.array(given, np.float32, order="C", copy=None)
    except (TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{expected}: {error}") from error
    if values.ndim != len(axes) or not values.size:
        raise InputError(f"{expected}, found the shape {values.shape}")
    if np.isnan(values).any():
        raise InputError(f"{expected}, found NaN")
    return values


def _strips(pixels: Floats) -> list[Floats]:
    length = strip_pixels(pixels.shape[1])
    return [pixels[first : first + length] for first in range(0, len(pixels), length)]


def _from_one_to(extent: int, largest: int) -> bool:
    return 1 <= extent <= largest


def _shape(feature_map: NDArray[Any]) -> Shape:
    height, width, channels = feature_map.shape
    return height, width, channels
