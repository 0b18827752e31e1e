"""Plain 8-bit levels: with this codec for every map, a network is "the 8-bit network"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from bitconv.feature_maps.codec import Codec, Floats, Octets, Shape, calibration_maps, octets_of
from bitconv.feature_maps.levels import EightBitLevels
from bitconv.feature_maps.parameter_reading import taken_exactly
from bitconv.kernels.records import LEVELS


@dataclass(frozen=True)
class LevelCodec(Codec):
    """A codec that keeps the 8-bit levels of a map as they are."""

    levels: EightBitLevels

    transform: ClassVar[str] = "levels"

    @classmethod
    def calibrate(  # type: ignore[override]  # there are no settings
        cls, maps: ArrayLike
    ) -> Self:
        """The codec with the levels that fit `maps`, see `EightBitLevels.calibrate`."""
        return cls(EightBitLevels.calibrate(calibration_maps(maps)))

    def parameters(self) -> dict[str, Any]:
        """See `EightBitLevels`."""
        return self.levels.parameters()

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """The inverse of `parameters`."""
        return cls(EightBitLevels(**taken_exactly(parameters, ("step", "zero"), cls.name)))

    def _constants(self) -> Octets:
        return octets_of(np.array((self.levels.step, self.levels.zero), LEVELS))


@dataclass(frozen=True)
class EightBit(LevelCodec):
    """One byte a value.

    Attributes
    ----------
    levels : EightBitLevels
    """

    name: ClassVar[str] = "eight-bit"
    coder: ClassVar[str] = "plain"

    def bound(self, shape: Shape) -> int:
        """One byte a value."""
        return prod(shape)

    def least(self, shape: Shape) -> int:
        """One byte a value."""
        return prod(shape)

    def _encode_strip(self, strip: Floats) -> bytes:
        return self.levels.quantize(strip).tobytes()

    def _decode_strip(self, data: bytes, shape: tuple[int, ...]) -> tuple[Floats, int]:
        size = prod(shape)
        levels = np.frombuffer(data[:size], np.uint8)
        return self.levels.restore(levels).reshape(shape), size
