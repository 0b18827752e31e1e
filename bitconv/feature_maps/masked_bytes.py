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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Self, TypeVar

import numpy as np

from bitconv.errors import EncodedMapError
from bitconv.feature_maps.codec import Codec, Floats, Octets, Shape
from bitconv.feature_maps.huffman import HuffmanCode
from bitconv.feature_maps.parameter_reading import octets
from bitconv.kernels.records import LENGTHS_BYTES, MASKED_HEAD, MASKED_MOST, MASKED_SLACK
from bitconv.kernels.strips import strip_pixels

_STREAMS = 4
_UNCODED = b"\xff\xff"
_Things = TypeVar("_Things", Octets, range)


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

    @property
    def lengths(self) -> Octets:
        """What the kernels need to know: the lengths of the codes, in whole words."""
        lengths = np.concatenate([self.masks.lengths, self.kept.lengths])
        return np.append(lengths, np.zeros(LENGTHS_BYTES - len(lengths), np.uint8))

    def bits(self, symbols: Octets) -> int:
        """The bits that the codes take for a string of bytes."""
        of_masks = np.bincount(_masks(symbols), minlength=256) @ self.masks.taken
        return int(of_masks + np.bincount(symbols[symbols > 0], minlength=256) @ self.kept.taken)

    def least(self, count: int) -> int:
        """The bytes that a string of so many takes at least."""
        shortest = int(self.masks.taken.min())
        streams = (-(-len(piece) * shortest // 8) for piece in _pieces(range(-(-count // 8))))
        return min(len(_UNCODED) + count, MASKED_HEAD + sum(streams))

    def encode(self, symbols: Octets) -> bytes:
        """What the kernel `pack_masked` writes, in plain NumPy."""
        masks, kept = _pieces(_masks(symbols)), _pieces(symbols[symbols > 0])
        bits = [
            np.concatenate([self.masks.bits(of_masks), self.kept.bits(of_kept)])
            for of_masks, of_kept in zip(masks, kept, strict=True)
        ]
        streams = [np.packbits(stream, bitorder="little").tobytes() for stream in bits]
        before = [len(stream) for stream in streams[:-1]]
        if MASKED_HEAD + sum(before) + len(bits[-1]) // 8 > len(symbols) + MASKED_MOST:
            return _UNCODED + symbols.tobytes()
        return b"".join([*(length.to_bytes(2, "little") for length in before), *streams])

    def decode(self, data: bytes, count: int) -> tuple[Octets, int]:
        """The `count` bytes of a string, and how many of `data` they took."""
        if data[:2] == _UNCODED:
            if len(data) < 2 + count:
                raise EncodedMapError(f"{2 + count} bytes are expected, found {len(data)}")
            return np.frombuffer(data[2 : 2 + count], np.uint8), 2 + count
        ends = MASKED_HEAD + np.cumsum([0, *np.frombuffer(data[:MASKED_HEAD], "<u2")])
        streams = [_Bits(data[first:end]) for first, end in pairwise([*ends, len(data)])]
        masks = _read(self.masks, streams, -(-count // 8))
        mask = np.unpackbits(masks, bitorder="little").astype(np.bool_)
        symbols = np.zeros(len(mask), np.uint8)
        symbols[mask] = _read(self.kept, streams, int(mask.sum()))
        return symbols[:count], int(ends[-1]) + streams[-1].octets


def _masks(symbols: Octets) -> Octets:
    return np.packbits(symbols > 0, axis=-1, bitorder="little").reshape(-1)


def _pieces(symbols: _Things) -> list[_Things]:
    bounds = [len(symbols) * piece // _STREAMS for piece in range(_STREAMS + 1)]
    return [symbols[first:end] for first, end in pairwise(bounds)]


def _read(code: HuffmanCode, streams: Sequence[_Bits], count: int) -> Octets:
    lengths = map(len, _pieces(range(count)))
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

    coder: ClassVar[str] = "masked"

    @abstractmethod
    def _symbols(self, strip: Floats) -> Octets:
        """The bytes of some pixels, shape (pixels, C)."""

    @abstractmethod
    def _values(self, symbols: Octets) -> Floats:
        """The pixels that the bytes, a row a pixel, stand for."""

    def bound(self, shape: Shape) -> int:
        """The bytes as they are, the head of every strip, and a word to spare."""
        return self._of_all_strips(shape, lambda count: count + MASKED_SLACK)

    def least(self, shape: Shape) -> int:
        """The heads of all strips, and the shortest code for every mask."""
        return self._of_all_strips(shape, self.code.least)

    def _of_all_strips(self, shape: Shape, size: Callable[[int], int]) -> int:
        """The sum of what `size` gives for the number of bytes that each strip becomes."""
        height, width, channels = shape
        each, length = self.pixel_symbols(channels), strip_pixels(channels)
        whole, rest = divmod(height * width, length)
        return whole * size(each * length) + (size(each * rest) if rest else 0)

    def _encode_strip(self, strip: Floats) -> bytes:
        return self.code.encode(self._symbols(strip).reshape(-1))

    def _decode_strip(self, data: bytes, shape: tuple[int, ...]) -> tuple[Floats, int]:
        pixels, channels = shape
        symbols, used = self.code.decode(data, pixels * self.pixel_symbols(channels))
        return self._values(symbols.reshape(pixels, -1)), used
