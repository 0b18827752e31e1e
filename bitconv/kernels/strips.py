"""The strips of a map, each of which is encoded by itself, and the memory that this takes.

A strip fits into the first-level cache with all that is made of it, and a reader has only one of
them decoded at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

from bitconv.kernels.codecs import Coder
from bitconv.kernels.records import BLOCK_PIXELS, STRIP_VALUES

WORD_BYTES = 8
_COORDINATES = 3 * BLOCK_PIXELS * 8
_BEYOND = 256  # bytes behind decoded values: packing signs reads whole bytes of bits, as floats


def strip_pixels(channels: int) -> int:
    """Pixels of a strip, all channels of each, in maps of so many channels."""
    return max(1, STRIP_VALUES // channels)


@dataclass(frozen=True)
class StripMemory:
    """Where everything lies in the memory that a thread works in: bytes from its start.

    First come the values of a strip. What lives at different times shares its place.

    Attributes
    ----------
    symbols : int
        The bytes that the values become, with room for whole words and another one.
    tables : int
        Those of the coder.
    spare : int
        Scratch memory: of transform and coder when encoding, of the transform when decoding; then
        the coder works where the values will be.
    coordinates : int
        Of a block of pixels, when decoding.
    size : int
    """

    symbols: int
    tables: int
    spare: int
    coordinates: int
    size: int

    @classmethod
    def to_encode(cls, coder: Coder, values: int, symbols: int, scratch: int) -> StripMemory:
        """That of an encoder.

        Parameters
        ----------
        values : int
            Those of a strip that must be gathered first; 0 where they can be read as they lie.
        symbols : int
            Those of a strip.
        scratch : int
            Bytes that the transform needs.
        """
        scratch = max(scratch, coder.scratch_bytes(symbols))
        return cls._one_after_another(4 * values, symbols, coder.write_tables, scratch, 0)

    @classmethod
    def to_decode(cls, coder: Coder, values: int, symbols: int, scratch: int) -> StripMemory:
        """That of a decoder; see `to_encode`."""
        of_values = max(4 * values + _BEYOND, coder.scratch_bytes(symbols))
        return cls._one_after_another(of_values, symbols, coder.read_tables, scratch, _COORDINATES)

    @classmethod
    def _one_after_another(
        cls, values: int, symbols: int, tables: int, scratch: int, coordinates: int
    ) -> StripMemory:
        ends, end = [], 0
        for part in (values, symbols + WORD_BYTES, tables, scratch, coordinates):
            end += -(-part // WORD_BYTES) * WORD_BYTES
            ends.append(end)
        return cls(*ends)
