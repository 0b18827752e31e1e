"""Bytes, many of them zero, as masks and the bytes that are not zero, both Huffman coded.

A mask is a byte as well, with a bit for each of eight adjacent bytes, the first one lowest, set
where the byte is not zero; behind the last byte there are zeros. So what zeros there are next to
each other is part of the masks' code. Masks and kept bytes are cut in four pieces each. Stream i of
bits is piece i of the masks and then piece i of the kept bytes: a processor reads four streams in
much less than four times the time of one.

    bytes of stream 0 · of stream 1 · of stream 2 (uint16, little-endian) · the four streams
    0xFFFF · the bytes as they are, where the codes would take more
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from bitconv.errors import EncodedMapError
from bitconv.feature_maps.codec import Codec, Floats, Octets, Shape, strip_pixels
from bitconv.feature_maps.huffman import HuffmanCode
from bitconv.feature_maps.parameter_reading import octets

_STREAMS = 4
_HEAD = 2 * (_STREAMS - 1)
_UNCODED = b"\xff\xff"
_MOST = 4  # bytes beyond the given ones that codes may take
_SLACK = _MOST + 8  # those that the kernel may write to
_WORD = 8


@dataclass(frozen=True, eq=False)
class MaskedBytes:
    """The codes of masks and bytes.

    Attributes
    ----------
    masks, kept : HuffmanCode
    """

    masks: HuffmanCode
    kept: HuffmanCode

    PARAMETERS: ClassVar[tuple[str, ...]] = ("mask_lengths", "kept_lengths")

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """The codes whose lengths stand under the names of PARAMETERS, maybe among others."""
        return cls(*(HuffmanCode(octets(parameters[name], name)) for name in cls.PARAMETERS))

    def parameters(self) -> dict[str, Any]:
        """The lengths of the codes."""
        return dict(zip(self.PARAMETERS, (self.masks.lengths, self.kept.lengths), strict=True))

    @classmethod
    def calibrate(cls, symbols: Octets) -> Self:
        """The codes for strings of bytes like the rows of an array."""
        masks = _masks(symbols)
        return cls(HuffmanCode.from_symbols(masks), HuffmanCode.from_symbols(symbols[symbols > 0]))

    @cached_property
    def tables(self) -> NDArray[np.uint32]:
        """What the kernels need: tables to write masks and bytes by, then those to read them by."""
        codes = (self.masks, self.kept)
        return np.concatenate(
            [code.writing_table.ravel() for code in codes] + [code.reading_table for code in codes]
        )

    def bits(self, symbols: Octets) -> int:
        """The bits that the codes take for a string of bytes."""
        of_masks = np.bincount(_masks(symbols), minlength=256) @ self.masks.taken
        return int(of_masks + np.bincount(symbols[symbols > 0], minlength=256) @ self.kept.taken)

    def encode(self, symbols: Octets) -> bytes:
        """What the kernel `encode_masked` writes, in plain NumPy."""
        masks, kept = _pieces(_masks(symbols)), _pieces(symbols[symbols > 0])
        bits = [
            np.concatenate([self.masks.bits(of_masks), self.kept.bits(of_kept)])
            for of_masks, of_kept in zip(masks, kept, strict=True)
        ]
        streams = [np.packbits(stream, bitorder="little").tobytes() for stream in bits]
        before = [len(stream) for stream in streams[:-1]]
        if _HEAD + sum(before) + len(bits[-1]) // 8 > len(symbols) + _MOST:
            return _UNCODED + symbols.tobytes()
        return b"".join([*(length.to_bytes(2, "little") for length in before), *streams])

    def decode(self, data: bytes, count: int) -> tuple[Octets, int]:
        """The `count` bytes of a string, and how many of `data` they took."""
        if data[:2] == _UNCODED:
            if len(data) < 2 + count:
                raise EncodedMapError(f"{2 + count} bytes are expected, found {len(data)}")
            return np.frombuffer(data[2 : 2 + count], np.uint8), 2 + count
        ends = _HEAD + np.cumsum([0, *np.frombuffer(data[:_HEAD], "<u2")])
        streams = [_Bits(data[first:end]) for first, end in pairwise([*ends, len(data)])]
        masks = _read(self.masks, streams, -(-count // 8))
        mask = np.unpackbits(masks, bitorder="little").astype(np.bool_)
        symbols = np.zeros(len(mask), np.uint8)
        symbols[mask] = _read(self.kept, streams, int(mask.sum()))
        return symbols[:count], int(ends[-1]) + streams[-1].octets


def _masks(symbols: Octets) -> Octets:
    return np.packbits(symbols > 0, axis=-1, bitorder="little").reshape(-1)


def _pieces(symbols: Octets) -> list[Octets]:
    bounds = [len(symbols) * piece // _STREAMS for piece in range(_STREAMS + 1)]
    return [symbols[first:end] for first, end in pairwise(bounds)]


def _read(code: HuffmanCode, streams: Sequence[_Bits], count: int) -> Octets:
    lengths = map(len, _pieces(np.zeros(count, np.uint8)))
    return np.concatenate([code.read(*each) for each in zip(streams, lengths, strict=True)])


class _Bits(Iterator[int]):
    """The bits of a stream, one after another."""

    def __init__(self, data: bytes) -> None:
        self._bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
        self._taken = 0

    def __next__(self) -> int:
        if self._taken == len(self._bits):
            raise EncodedMapError("an encoded map ends in the middle of a code")
        self._taken += 1
        return int(self._bits[self._taken - 1])

    @property
    def octets(self) -> int:
        """Bytes that the bits taken lie in."""
        return -(-self._taken // 8)


class MaskedCodec(Codec):
    """A codec that makes bytes of a strip and codes them as `MaskedBytes`."""

    code: MaskedBytes

    @property
    def pixel_bytes(self) -> int | None:
        """The bytes that a pixel becomes; None for one a channel."""
        return None

    @abstractmethod
    def _symbols(self, strip: Floats) -> Octets:
        """The bytes of some pixels, shape (pixels, C)."""

    @abstractmethod
    def _values(self, symbols: Octets) -> Floats:
        """The pixels that the bytes, a row a pixel, stand for."""

    def bound(self, shape: Shape) -> int:
        """The bytes as they are, the head of every strip, and a word to spare."""
        height, width, channels = shape
        strips = -(-height * width // strip_pixels(channels))
        return height * width * (self.pixel_bytes or channels) + strips * _SLACK

    def least(self, shape: Shape) -> int:
        """One bit a mask."""
        height, width, channels = shape
        return height * width * (self.pixel_bytes or channels) // (8 * 8)

    def scratch_bytes(self, shape: Shape) -> int:
        """The bytes of a strip, their masks and those to keep, in whole words; and as floats."""
        count = strip_pixels(shape[2]) * (self.pixel_bytes or shape[2])
        room = (count + 2 * _WORD - 1) // _WORD * _WORD
        return 2 * room + -(-room // 8 // _WORD) * _WORD + 4 * count

    def _encode_strip(self, strip: Floats) -> bytes:
        return self.code.encode(self._symbols(strip).reshape(-1))

    def _decode_strip(self, data: bytes, shape: tuple[int, ...]) -> tuple[Floats, int]:
        pixels, channels = shape
        symbols, used = self.code.decode(data, pixels * (self.pixel_bytes or channels))
        return self._values(symbols.reshape(pixels, -1)), used
