"""Canonical Huffman codes over bytes, built from counts, and what they mean.

A code is at most LONGEST bits long. Bytes that were not seen have no code of their own: they are
written as the code of an escape and eight raw bits. All numbers enter a stream with their lowest
bit first, and the first bit of a canonical code is the lowest of its number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.errors import GraphError
from bitconv.kernels.records import LONGEST_CODE as LONGEST

ENTRIES = 2**LONGEST
BYTES = 256
ESCAPE = BYTES  # comes behind the bytes
RAW_BITS = 8

Bits = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class HuffmanCode:
    """A complete prefix code.

    Attributes
    ----------
    lengths : uint8 array of shape (257,), read-only
        Bits of the code of each byte, 0 for none, and of the escape, which has one.
    """

    lengths: NDArray[np.uint8]

    def __post_init__(self) -> None:
        given = np.asarray(self.lengths)
        if given.shape != (BYTES + 1,) or given.dtype != np.uint8:
            raise GraphError(
                f"a Huffman code has {BYTES + 1} lengths in uint8, found {given.dtype} "
                f"{given.shape}"
            )
        lengths = given.copy()
        if not lengths[ESCAPE] or lengths.max() > LONGEST:
            raise GraphError(f"a Huffman code has an escape and codes of at most {LONGEST} bits")
        used = lengths[lengths > 0].astype(np.int64)
        if (ENTRIES >> used).sum() != ENTRIES:
            raise GraphError("the lengths of a Huffman code must leave no code unused")
        lengths.flags.writeable = False
        object.__setattr__(self, "lengths", lengths)

    @classmethod
    def from_symbols(cls, symbols: NDArray[np.uint8]) -> HuffmanCode:
        """The code that writes these bytes, and any like them, in the fewest bits."""
        counts = np.bincount(symbols.reshape(-1), minlength=BYTES)
        if not counts.any():
            counts[0] = 1  # one code alone, the escape's, would leave the other bit unused
        return cls(_limited_lengths(np.append(counts, 1)))

    @cached_property
    def codes(self) -> NDArray[np.uint32]:
        """The codes in canonical order, shorter ones first; of bytes that have none, 0."""
        codes = np.zeros(BYTES + 1, np.uint32)
        following = 0
        for length in range(1, LONGEST + 1):
            following <<= 1
            for symbol in np.flatnonzero(self.lengths == length):
                codes[symbol] = int(f"{following:0{length}b}"[::-1], 2)
                following += 1
        return codes

    @cached_property
    def taken(self) -> NDArray[np.uint32]:
        """Bits that each byte is written in; shape (256,)."""
        lengths = self.lengths[:BYTES].astype(np.uint32)
        return np.where(lengths > 0, lengths, self.lengths[ESCAPE] + np.uint32(RAW_BITS))

    def bits(self, symbols: NDArray[np.uint8]) -> Bits:
        """The stream of these bytes, a bit an element."""
        escape = int(self.lengths[ESCAPE])
        escaped = np.arange(BYTES) << escape | self.codes[ESCAPE]
        codes = np.where(self.lengths[:BYTES] > 0, self.codes[:BYTES], escaped)
        pieces = [_bits_of(*each) for each in zip(codes.tolist(), self.taken.tolist(), strict=True)]
        return np.concatenate([np.zeros(0, np.uint8), *(pieces[symbol] for symbol in symbols)])

    def read(self, bits: Iterator[Any], count: int) -> NDArray[np.uint8]:
        """Take `count` bytes from the front of a stream."""
        known = {
            (int(self.lengths[symbol]), int(self.codes[symbol])): int(symbol)
            for symbol in np.flatnonzero(self.lengths)
        }
        symbols = np.zeros(count, np.uint8)
        for index in range(count):
            length = code = 0
            while (length, code) not in known:
                code |= int(next(bits)) << length
                length += 1
            symbol = known[length, code]
            if symbol == ESCAPE:
                symbol = sum(int(next(bits)) << place for place in range(RAW_BITS))
            symbols[index] = symbol
        return symbols


def _bits_of(number: int, count: int) -> Bits:
    return np.array([number >> place & 1 for place in range(count)], np.uint8)


def _limited_lengths(counts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Lengths of the best code whose codes have at most LONGEST bits, by package-merge.

    Larmore, Hirschberg: "A fast algorithm for optimal length-limited Huffman codes", 1990.
    """
    symbols = np.flatnonzero(counts)
    coins: list[tuple[int, tuple[int, ...]]]  # what they are worth, and the symbols in them
    coins = sorted((int(counts[symbol]), (int(symbol),)) for symbol in symbols)
    packages = coins
    for _ in range(LONGEST - 1):
        pairs = zip(packages[::2], packages[1::2], strict=False)
        merged = [(one[0] + other[0], one[1] + other[1]) for one, other in pairs]
        packages = sorted(coins + merged)
    lengths = np.zeros(len(counts), np.uint8)
    for _, members in packages[: 2 * len(symbols) - 2]:
        np.add.at(lengths, list(members), 1)
    return lengths
