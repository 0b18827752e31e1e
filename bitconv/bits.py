"""Signs as bits: the convention, bit streams for storage and words for computing.

Bit 1 stands for −1 and bit 0 for +1, so the product of two signs is the XOR of their bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitconv.errors import GraphError
from bitconv.parameters import plain_integer, plain_shape

WORD_BITS = 64


def words_for(channels: int) -> int:
    """Number of uint64 words that hold `channels` bits."""
    return -(-channels // WORD_BITS)


def pack_words(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Pack the last axis into little-endian words.

    Parameters
    ----------
    bits : bool array of shape (..., channels)

    Returns
    -------
    uint64 array of shape (..., words_for(channels))
        Bit ``c % 64`` of word ``c // 64`` is channel ``c``. Bits past the last channel are zero.
    """
    channels = bits.shape[-1]
    padded = np.zeros((*bits.shape[:-1], words_for(channels) * WORD_BITS), np.bool_)
    padded[..., :channels] = bits
    packed = np.packbits(padded, axis=-1, bitorder="little")
    return np.ascontiguousarray(packed).view("<u8").astype(np.uint64, copy=False)


def unpack_words(words: NDArray[np.uint64], channels: int) -> NDArray[np.bool_]:
    """The inverse of `pack_words`.

    Parameters
    ----------
    words : uint64 array of shape (..., words_for(channels))
    channels : int

    Returns
    -------
    bool array of shape (..., channels)

    Raises
    ------
    GraphError
        Where the number of words is another, or bits past the last channel are not zero.
    """
    if words.shape[-1] != words_for(channels):
        raise GraphError(
            f"{channels} channels take {words_for(channels)} words, found {words.shape[-1]}"
        )
    octets = np.ascontiguousarray(words, dtype="<u8").view(np.uint8)
    bits = np.unpackbits(octets, axis=-1, bitorder="little").astype(np.bool_)
    if bits[..., channels:].any():
        raise GraphError("the bits past the last channel must be zero")
    return bits[..., :channels]


@dataclass(frozen=True, eq=False)
class BitArray:
    """An array of signs, one bit each.

    Attributes
    ----------
    shape : tuple of int
        Shape of one plane.
    stream : uint8 array of shape (ceil(planes * size / 8),), read-only
        All bits in C order, plane by plane: bit ``i % 8`` of byte ``i // 8`` is element ``i``.
        The bits past the last element are zero.
    planes : int
        Bit planes; a sign needs one, an M-bit odd integer M (arXiv 2106.09886).
    """

    shape: tuple[int, ...]
    stream: NDArray[np.uint8]
    planes: int = 1

    def __post_init__(self) -> None:
        shape, planes = plain_shape(self.shape, "shape"), plain_integer(self.planes, "planes")
        if min(shape, default=0) < 0 or planes < 1:
            raise GraphError(f"a bit array of shape {shape} in {planes} plane(s) does not exist")
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "planes", planes)
        given = np.asarray(self.stream)
        if given.dtype != np.uint8:
            raise GraphError(f"a stream of bits is kept in uint8, found {given.dtype}")
        stream = given.copy()
        expected = -(-self.planes * self.size // 8)
        if stream.shape != (expected,):
            raise GraphError(
                f"a bit array of shape {self.shape} in {self.planes} plane(s) takes "
                f"{expected} bytes, found an array of shape {stream.shape}"
            )
        rest = self.planes * self.size % 8
        if rest and int(stream[-1]) >> rest:
            raise GraphError("the bits past the last element of a bit array must be zero")
        stream.flags.writeable = False
        object.__setattr__(self, "stream", stream)

    @property
    def size(self) -> int:
        """Elements of one plane."""
        return prod(self.shape)

    @classmethod
    def from_bits(cls, bits: NDArray[np.bool_]) -> BitArray:
        """One plane from booleans; True stands for −1."""
        return cls(bits.shape, np.packbits(bits, axis=None, bitorder="little"))

    @classmethod
    def from_signs(cls, values: ArrayLike) -> BitArray:
        """One plane from the signs of `values`; zero counts as +1, NaN is refused."""
        numbers = np.asarray(values)
        if np.isnan(numbers).any():
            raise GraphError("NaN has no sign")
        return cls.from_bits(numbers < 0)

    def bits(self) -> NDArray[np.bool_]:
        """The single plane as booleans of shape `shape`."""
        if self.planes != 1:
            raise GraphError(f"expected a bit array of one plane, found {self.planes}")
        flat = np.unpackbits(self.stream, bitorder="little", count=self.size)
        return flat.astype(np.bool_).reshape(self.shape)

    def signs(self) -> NDArray[np.int8]:
        """The single plane as −1 and +1."""
        return np.where(self.bits(), np.int8(-1), np.int8(1))
