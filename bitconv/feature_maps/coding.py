"""What the kernels take to encode, or to decode, maps of some size by a codec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bitconv.kernels.codecs import CODERS, decoding_functions, encoding_functions
from bitconv.kernels.records import CODING
from bitconv.kernels.strips import StripMemory, strip_pixels


@dataclass(frozen=True, eq=False)
class Coding:
    """One direction of a codec.

    Attributes
    ----------
    functions : mapping of str to str
        The functions that do it, by the fields of a CODING record for their addresses.
    numbers : mapping of str to int
        The other fields.
    memory : int
        Bytes that a thread works in.
    """

    functions: Mapping[str, str]
    numbers: Mapping[str, int]
    memory: int

    @cached_property
    def record(self) -> NDArray[np.uint8]:
        """The bytes of a CODING record, for this process."""
        from bitconv.kernels.registry import link

        record = np.zeros(1, CODING)
        for field, number in self.numbers.items():
            record[field] = number
        link(record, self.functions)
        return record.view(np.uint8)


@dataclass(frozen=True)
class Strip:
    """The largest strip of a map.

    Attributes
    ----------
    pixels, channels : int
    pixel_symbols : int
        Bytes that a transform makes of a pixel.
    """

    pixels: int
    channels: int
    pixel_symbols: int

    @classmethod
    def of(cls, shape: tuple[int, int, int], pixel_symbols: int) -> Strip:
        """That of a map of some shape."""
        height, width, channels = shape
        return cls(min(strip_pixels(channels), height * width), channels, pixel_symbols)

    @property
    def values(self) -> int:
        return self.pixels * self.channels

    @property
    def symbols(self) -> int:
        return self.pixels * self.pixel_symbols

    def encoding(self, transform: str, coder: str, scratch: int, gathered: bool) -> Coding:
        """How strips are encoded; the transform needs `scratch` bytes.

        Strips that are not `gathered` are read where they lie.
        """
        values = self.values if gathered else 0
        memory = StripMemory.to_encode(CODERS[coder], values, self.symbols, scratch)
        return self._coding(encoding_functions(transform, coder), memory)

    def decoding(self, transform: str, coder: str, scratch: int) -> Coding:
        """How strips are decoded; see `encoding`."""
        memory = StripMemory.to_decode(CODERS[coder], self.values, self.symbols, scratch)
        return self._coding(decoding_functions(transform, coder), memory)

    def _coding(self, functions: Mapping[str, str], memory: StripMemory) -> Coding:
        numbers = {
            "channels": self.channels,
            "strip": self.pixels,
            "pixel_symbols": self.pixel_symbols,
            "symbols": memory.symbols,
            "tables": memory.tables,
            "spare": memory.spare,
            "coordinates": memory.coordinates,
        }
        return Coding(functions, numbers, memory.size)
