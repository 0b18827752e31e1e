"""How many pixels and filters the tiles hold, and how weights lie for them; needs no Numba."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bitconv.kernels.target import BIT_LANES, FLOAT_LANES, Popcount, numba_target, popcount

SPAN_LANES = 8  # values that `spans` and `packing` take at a time
NIBBLES = 16  # of a word, and as many values has a nibble
LARGEST_TABLE = 32  # bytes that one instruction looks up in a table of 16


@dataclass(frozen=True)
class Tile:
    """Shape of a tile.

    Attributes
    ----------
    pixels : int
    vectors : int
        Vectors that hold the filters of one pixel.
    lanes : int
        Filters a vector.
    used : int or None
        The vectors that are computed, counted from the first; None for all.
    """

    pixels: int
    vectors: int
    lanes: int
    used: int | None = None

    @property
    def filters(self) -> int:
        """Filters of a pixel, in the weights and in the sums."""
        return self.vectors * self.lanes

    @property
    def columns(self) -> range:
        """First filter of each vector that is computed."""
        return range(0, (self.used or self.vectors) * self.lanes, self.lanes)

    def half(self) -> Tile:
        """The same tile of which only the first half of the filters is computed."""
        return replace(self, used=self.vectors // 2)


def bit_tile(counting: Popcount, lanes: int) -> Tile:
    """The tile that does best on a target.

    Parameters
    ----------
    counting : how the target counts bits
    lanes : 64-bit lanes of a vector
    """
    match counting:
        case "words" | "bytes":
            return Tile(pixels=4, vectors=4, lanes=lanes)
        case "table":
            return Tile(pixels=4, vectors=2, lanes=min(lanes * 8, LARGEST_TABLE))
        case "arithmetic":  # shifts and masks need registers, too
            return Tile(pixels=2, vectors=4, lanes=lanes)


BIT_TILE = bit_tile(popcount(), BIT_LANES)
BIT_PIXELS = BIT_TILE.pixels
BIT_FILTERS = BIT_TILE.filters

FLOAT_TILE = Tile(pixels=6, vectors=numba_target().vector_registers // 8, lanes=FLOAT_LANES)
FLOAT_PIXELS = FLOAT_TILE.pixels
FLOAT_FILTERS = FLOAT_TILE.filters


def arrange_weights(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Bring packed filters into the order of bits that `xnor_tile` reads.

    Parameters
    ----------
    words : uint64 array of any shape with BIT_FILTERS adjacent filters innermost

    Returns
    -------
    uint64 array of the same shape
    """
    return arrange_for_tables(words, BIT_TILE) if popcount() == "table" else words


def arrange_for_tables(words: NDArray[np.uint64], tile: Tile) -> NDArray[np.uint64]:
    """Reorder the bits of packed filters for `bitconv.kernels.table_counts`.

    Parameters
    ----------
    words : uint64 array of any shape with `tile.filters` adjacent filters innermost
    tile : Tile of two vectors

    Returns
    -------
    uint64 array of the same shape
        For each nibble of the words a vector of bytes. Its low nibbles belong to the first half of
        the filters, its high ones to the second; byte 2i to filter i of the half, byte 2i + 1 to
        filter i + lanes/2, so that the even and the odd bytes are adjacent filters.
    """
    octets = np.ascontiguousarray(words).view(np.uint8)
    nibbles = np.stack([octets & 15, octets >> 4], axis=-1).reshape(-1, 2, 2, tile.lanes // 2, 16)
    rows = nibbles.transpose(0, 4, 1, 3, 2).reshape(-1, NIBBLES, 2, tile.lanes)
    packed: NDArray[np.uint8] = rows[:, :, 0] | rows[:, :, 1] << 4
    return packed.reshape(-1).view(np.uint64).reshape(words.shape)


def row_width(channels: int) -> int:
    """Values of the row that holds so many channels: whole vectors, and whole bytes of signs."""
    return -(-channels // SPAN_LANES) * SPAN_LANES
