"""The zeros of 8-bit levels taken out: lossless, and what every other codec must beat."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from bitconv.errors import EncodedMapError
from bitconv.feature_maps.codec import Floats, Shape
from bitconv.feature_maps.eight_bit import LevelCodec
from bitconv.kernels.strips import strip_pixels


@dataclass(frozen=True)
class ZeroMask(LevelCodec):
    """One bit a value that is set where it is not zero, and a byte for each value that is not.

    Of each strip, the masks come first: bit ``i % 8`` of byte ``i // 8`` is that of value i. A byte
    is a level XOR the level of zero.

    Attributes
    ----------
    levels : EightBitLevels
    """

    name: ClassVar[str] = "zero-mask"
    coder: ClassVar[str] = "zero_mask"

    def bound(self, shape: Shape) -> int:
        """Nine bits a value, the ends of the masks of strips, and a word to spare."""
        return prod(shape) + self.least(shape) + 8

    def least(self, shape: Shape) -> int:
        """One bit a value, and the ends of the masks of strips."""
        height, width, channels = shape
        whole, rest = divmod(height * width, strip_pixels(channels))
        return whole * _mask_bytes(strip_pixels(channels) * channels) + _mask_bytes(rest * channels)

    def _encode_strip(self, strip: Floats) -> bytes:
        levels = self.levels.quantize(strip).reshape(-1) ^ np.uint8(self.levels.zero)
        return np.packbits(levels > 0, bitorder="little").tobytes() + levels[levels > 0].tobytes()

    def _decode_strip(self, data: bytes, shape: tuple[int, ...]) -> tuple[Floats, int]:
        size, masks = prod(shape), _mask_bytes(prod(shape))
        mask = np.unpackbits(np.frombuffer(data[:masks], np.uint8), bitorder="little")
        kept = mask[:size].astype(np.bool_)
        used = masks + int(kept.sum())
        if len(data) < used:
            raise EncodedMapError(f"a strip of {used} bytes is expected, found {len(data)}")
        levels = np.zeros(size, np.uint8)
        levels[kept] = np.frombuffer(data[masks:used], np.uint8)
        return self.levels.restore(levels ^ np.uint8(self.levels.zero)).reshape(shape), used


def _mask_bytes(values: int) -> int:
    return -(-values // 8)
