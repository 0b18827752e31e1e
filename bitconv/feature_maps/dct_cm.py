"""DCT-CM (Shi et al., arXiv 2106.12850): a DCT along channels, masks, packed values.

The paper transforms 8-bit maps by a one-dimensional DCT along channels and keeps the coefficients
that are not zero beside masks that say which those are. Blocks of eight channels, one quantization
step a layer and Huffman codes are our reading of it. ReLUs leave maps sparse, and adjacent channels
often have little in common, so a layer may do without the transform; calibration chooses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitconv.errors import GraphError, InputError
from bitconv.feature_maps import dct
from bitconv.feature_maps.codec import Floats, Octets, calibration_maps, octets_of
from bitconv.feature_maps.coding import Strip
from bitconv.feature_maps.levels import LARGEST_LEVEL, EightBitLevels
from bitconv.feature_maps.masked_bytes import MaskedBytes, MaskedCodec
from bitconv.feature_maps.parameter_reading import plain_setting, taken_exactly
from bitconv.kernels.dct_matrix import POINTS
from bitconv.kernels.records import DCT_CM
from bitconv.parameters import plain

FINEST = 6.0  # in levels: no coefficient is more than ±127 times that
_COARSENESSES = (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0, 16.0)
_SAMPLE = 2**20  # values that transform and none are compared on
_FINER = 0.95  # steps of the search for a coarseness


@dataclass(frozen=True)
class TransformedLevels:
    """8-bit levels, transformed along channels and quantized again.

    The distances of levels from the level of zero go through the DCT, each whole block of eight
    channels of a pixel by itself, and are then kept as ``rint(coefficient · (1 / coarseness))``.
    A level comes back off by at most ``1.4 · coarseness + 1``.

    Attributes
    ----------
    levels : EightBitLevels
    coarseness : float
        Quantization step in levels, rounded to float32; from 6 to 255.
    """

    levels: EightBitLevels
    coarseness: float

    def __post_init__(self) -> None:
        coarseness = plain(self.coarseness, (float,), "the coarseness of DCT-CM")
        if not FINEST <= coarseness <= LARGEST_LEVEL:
            raise GraphError(
                f"the coarseness of DCT-CM is from {FINEST} to {LARGEST_LEVEL}, found {coarseness}"
            )
        object.__setattr__(self, "coarseness", float(np.float32(coarseness)))

    def quantize(self, maps: Floats) -> NDArray[np.int64]:
        """The coefficients, each of them a signed byte; shape (..., C) as that of `maps`."""
        zero = np.float32(self.levels.zero)
        coefficients = dct.forward(self.levels.quantize(maps).astype(np.float32) - zero)
        numbers: NDArray[np.float32] = np.rint(coefficients * np.float32(1 / self.coarseness))
        return numbers.astype(np.int64)

    def restore(self, numbers: NDArray[np.int64]) -> Floats:
        """The values that the coefficients stand for."""
        distances = dct.inverse(numbers.astype(np.float32)) * np.float32(self.coarseness)
        zero = np.float32(self.levels.zero)
        inside: Floats = np.clip(np.rint(distances), -zero, np.float32(LARGEST_LEVEL) - zero)
        return inside * np.float32(self.levels.step)

    def squared_error(self, maps: Floats) -> float:
        """The sum of the squared differences between values and what is kept of them."""
        return _squared_error(maps, self.restore(self.quantize(maps)))


@dataclass(frozen=True, eq=False)
class DctCm(MaskedCodec):
    """8-bit levels, or the coefficients of their DCT, as masks and Huffman codes.

    Attributes
    ----------
    levels : EightBitLevels or TransformedLevels
        Without the transform, nothing of the levels is lost. They may be coarser than those of
        `EightBit`.
    code : MaskedBytes
        Of the distances from the level of zero, or of the coefficients, modulo 256.
    """

    levels: EightBitLevels | TransformedLevels
    code: MaskedBytes

    name: ClassVar[str] = "dct-cm"
    transform: ClassVar[str] = "dct_cm"

    @property
    def mode(self) -> str:
        """``dct``, or ``raw`` without the transform."""
        return "dct" if isinstance(self.levels, TransformedLevels) else "raw"

    @classmethod
    def settings(cls) -> list[dict[str, Any]]:
        """Coarsenesses; the first one loses nothing of the 8-bit levels."""
        return [{"coarseness": coarseness} for coarseness in _COARSENESSES]

    @classmethod
    def calibrate(  # type: ignore[override]  # each codec has settings of its own
        cls, maps: ArrayLike, coarseness: float = 4.0
    ) -> Self:
        """The one of `modes` that takes fewer bits.

        Parameters
        ----------
        maps : float array of shape (N, H, W, C)
        coarseness : float
            From 1 to 255.
        """
        sample = _sample(calibration_maps(maps))
        codecs = cls.modes(maps, coarseness)
        return min(codecs, key=lambda codec: codec.code.bits(_symbols(codec.levels, sample)))

    @classmethod
    def modes(cls, maps: ArrayLike, coarseness: float) -> list[Self]:
        """The codec in each mode: ``raw``, and ``dct`` if there is one with no larger error.

        Parameters
        ----------
        maps : float array of shape (N, H, W, C)
        coarseness : float
            Step of the levels in mode ``raw`` over that of the 8-bit levels. Mode ``dct`` is as
            coarse as it can be with no larger squared error.
        """
        values = calibration_maps(maps)
        if not 1 <= plain_setting(coarseness, float, "coarseness") <= LARGEST_LEVEL:
            raise InputError(f"coarseness is from 1 to {LARGEST_LEVEL}, found {coarseness}")
        fine = EightBitLevels.calibrate(values)
        raw = EightBitLevels(fine.step * coarseness, fine.zero)
        sample = _sample(values)
        allowed = _squared_error(sample, raw.restore(raw.quantize(sample)))
        choices: list[EightBitLevels | TransformedLevels] = [raw]
        if sample.shape[-1] >= POINTS:
            choices += _coarsest_transformed(fine, sample, allowed, coarseness)
        return [cls(each, MaskedBytes.calibrate(_symbols(each, values))) for each in choices]

    def parameters(self) -> dict[str, Any]:
        """Of the levels and the codes; `coarseness` is 0 without a transform."""
        levels, coarseness = self._levels_and_coarseness()
        return {**levels.parameters(), "coarseness": coarseness, **self.code.parameters()}

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """The inverse of `parameters`."""
        names = ("step", "zero", "coarseness", *MaskedBytes.PARAMETERS)
        p = taken_exactly(parameters, names, cls.name)
        levels = EightBitLevels(p["step"], p["zero"])
        code = MaskedBytes.from_parameters(p)
        if plain(p["coarseness"], (float,), "the coarseness of DCT-CM") == 0:
            return cls(levels, code)
        return cls(TransformedLevels(levels, p["coarseness"]), code)

    def _levels_and_coarseness(self) -> tuple[EightBitLevels, float]:
        if isinstance(self.levels, TransformedLevels):
            return self.levels.levels, self.levels.coarseness
        return self.levels, 0.0

    def _constants(self) -> Octets:
        levels, coarseness = self._levels_and_coarseness()
        record = np.array((levels.step, levels.zero, coarseness), DCT_CM)
        return octets_of(self.code.lengths, record)

    def _encoding_scratch(self, strip: Strip) -> int:
        """The distances of a strip as floats."""
        return 4 * strip.values if self.mode == "dct" else 0

    def _symbols(self, strip: Floats) -> Octets:
        return _symbols(self.levels, strip)

    def _values(self, symbols: Octets) -> Floats:
        if isinstance(self.levels, TransformedLevels):
            return self.levels.restore(symbols.view(np.int8).astype(np.int64))
        return self.levels.restore(symbols + np.uint8(self.levels.zero))


def _symbols(levels: EightBitLevels | TransformedLevels, maps: Floats) -> Octets:
    """What is coded of maps: numbers modulo 256, of which 0 stands for zero."""
    if isinstance(levels, TransformedLevels):
        return levels.quantize(maps).astype(np.uint8)
    return levels.quantize(maps) - np.uint8(levels.zero)


def _sample(maps: Floats) -> Floats:
    """Some of many maps, to compare modes on."""
    return maps[:: -(-maps.size // _SAMPLE)]


def _coarsest_transformed(
    fine: EightBitLevels, sample: Floats, allowed: float, coarseness: float
) -> list[TransformedLevels]:
    """The coarsest transformed levels with no larger squared error, if there are any.

    The DCT spreads an error evenly where levels have none at zeros, so its steps are the finer
    ones; but where levels are clipped or few it may be the other way round.
    """
    tried = 2 * coarseness
    while tried >= FINEST:
        levels = TransformedLevels(fine, min(tried, LARGEST_LEVEL))
        if levels.squared_error(sample) <= allowed:
            return [levels]
        tried *= _FINER
    return []


def _squared_error(maps: Floats, restored: Floats) -> float:
    return float(np.square((restored - maps).astype(np.float64)).sum())
