"""Taking the zeros out of eight bytes at a time, and putting them back.

A mask has one bit a byte of a word, set where the byte is not zero. Bytes are moved by the network
of Hacker's Delight, section 7-4 ("compress") and 7-5 ("expand"), a byte in place of a bit: in three
rounds, a byte moves by one, two and four places if its way to its new place has that binary digit.
Which bytes move in a round depends only on the mask and is looked up.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitconv.kernels.cache import kernel

ROUNDS = 3
_BYTES = 8


def _moves() -> NDArray[np.uint64]:
    """For each mask and round, the bytes that move, before they do; then the bytes it names."""
    table = np.zeros((2**_BYTES, ROUNDS + 1), np.uint64)
    for mask in range(2**_BYTES):
        places = {byte: byte for byte in range(_BYTES) if mask >> byte & 1}
        way = {byte: byte - rank for rank, byte in enumerate(places)}
        for step in range(ROUNDS):
            for byte in places:
                if way[byte] >> step & 1:
                    table[mask, step] |= np.uint64(0xFF << 8 * places[byte])
                    places[byte] -= 1 << step
        for byte in way:
            table[mask, ROUNDS] |= np.uint64(0xFF << 8 * byte)
    return table


MOVES = _moves()
_LOW_BITS = np.uint64(0x0101010101010101)
_HIGH_BITS = np.uint64(0x8080808080808080)
_REST = ~_HIGH_BITS
_GATHER = np.uint64(0x0102040810204080)  # bit 8·i goes to bit 56 + i


@kernel
def mask_of(word):
    """The mask of a word's bytes."""
    high = ((word & _REST) + _REST | word) & _HIGH_BITS
    return (high >> np.uint64(7)) * _GATHER >> np.uint64(56)


@kernel
def compress(word, mask):
    """The bytes that the mask names, moved together to the low end; the rest is zero."""
    # All other bytes are zero already
    for step in range(ROUNDS):
        moving = word & MOVES[mask, step]
        word = word ^ moving | moving >> np.uint64(8 << step)
    return word


@kernel
def expand(word, mask):
    """The inverse of `compress`: the lowest bytes of a word, moved to where the mask has ones."""
    for back in range(ROUNDS):
        step = ROUNDS - 1 - back
        moving = MOVES[mask, step]
        shifted = word << np.uint64(8 << step)
        word = word & ~moving | shifted & moving
    return word & MOVES[mask, ROUNDS]
