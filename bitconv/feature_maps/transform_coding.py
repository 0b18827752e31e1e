"""Transform coding of feature maps (Chmiel et al., arXiv 1905.10830).

The channels of a pixel are rotated to the principal axes of the maps of a calibration batch, all
components are quantized by one uniform quantizer, and the numbers are Huffman coded; reading
rotates back. As in the authors' code, the mean is taken away first, one step serves all components,
so that small ones take few symbols, and trailing ones may be dropped. Unlike there, zeros are coded
eight at a time, see `MaskedBytes`, and maps come from behind the ReLU, so the rotation cannot be
folded into the convolution in front of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitconv.errors import GraphError, InputError
from bitconv.feature_maps.codec import Floats, Octets, Shape, calibration_maps, octets_of
from bitconv.feature_maps.coding import Strip
from bitconv.feature_maps.levels import LARGEST_LEVEL, EightBitLevels, positive_step
from bitconv.feature_maps.masked_bytes import MaskedBytes, MaskedCodec
from bitconv.feature_maps.parameter_reading import plain_setting, taken_exactly
from bitconv.kernels.records import PIXELS_BLOCK, RESTORED_CHANNELS, TRANSFORM_CODING
from bitconv.parameters import finite_float32, plain

LARGEST = 127  # number of steps, to either side
_COARSENESSES = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 16.0)


@dataclass(frozen=True, eq=False)
class PrincipalComponents:
    """The rotation of pixels to principal axes, and one quantizer for all components.

    Every sum is taken in float32 in the order of its terms, and products and sums round by
    themselves. So the same basis gives the same numbers on every machine; two calibrations of the
    same maps may differ by rounding.

    Attributes
    ----------
    mean : float32 array of shape (C,)
    basis : float32 array of shape (C, K)
        A column an axis, K from 1 to C.
    step : float
        Distance of two values of a component.
    after_relu : bool
        Whether what comes back below zero becomes zero.
    """

    mean: NDArray[np.float32]
    basis: NDArray[np.float32]
    step: float
    after_relu: bool = False

    def __post_init__(self) -> None:
        mean = finite_float32(self.mean, "the mean of transform coding")
        basis = finite_float32(self.basis, "the basis of transform coding")
        if mean.ndim != 1 or basis.ndim != 2 or len(mean) != len(basis):
            raise GraphError(
                f"transform coding takes a mean (C,) and a basis (C, K), found {mean.shape} and "
                f"{basis.shape}"
            )
        if not 1 <= basis.shape[1] <= basis.shape[0]:
            raise GraphError(f"transform coding keeps 1 to C components, found {basis.shape}")
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "basis", basis)
        object.__setattr__(self, "step", positive_step(self.step, "transform coding"))
        after_relu = plain(self.after_relu, (bool,), "after_relu of transform coding")
        object.__setattr__(self, "after_relu", after_relu)

    @property
    def channels(self) -> int:
        """C."""
        return len(self.basis)

    @property
    def components(self) -> int:
        """K."""
        return len(self.basis.T)

    @classmethod
    def calibrate(cls, maps: Floats, coarseness: float, components: int | None) -> Self:
        """See `TransformCoding.calibrate`."""
        pixels = maps.reshape(-1, maps.shape[-1])
        mean = pixels.mean(axis=0, dtype=np.float64)
        centred = (pixels - mean.astype(np.float32)).astype(np.float64)
        _, axes = np.linalg.eigh(centred.T @ centred)
        basis = axes[:, ::-1][:, :components]  # eigenvalues rise
        found = cls(mean, basis, 1.0, bool(maps.min() >= 0))
        largest = float(np.abs(found.project(pixels)).max())
        step = max(coarseness * EightBitLevels.calibrate(maps).step, largest / LARGEST)
        numbers = replace(found, step=step).quantize(pixels).any(axis=0)
        last = int(np.flatnonzero(numbers).max(initial=0))
        return cls(mean, basis[:, : last + 1], step, found.after_relu)

    def project(self, pixels: Floats) -> Floats:
        """The components of pixels; shape (pixels, C) to (pixels, K)."""
        sums = np.zeros((len(pixels), self.components), np.float32)
        for channel in range(self.channels):
            distance = pixels[:, channel, None] - self.mean[channel]
            sums += distance * self.basis[channel]
        return sums

    def quantize(self, pixels: Floats) -> Octets:
        """The components in steps, rounded, modulo 256; shape (pixels, C) to (pixels, K)."""
        with np.errstate(over="ignore", invalid="ignore"):
            numbers = self.project(pixels) / np.float32(self.step)
        above = np.where(numbers > -LARGEST, numbers, np.float32(-LARGEST))  # NaN is not above
        inside = np.minimum(above, np.float32(LARGEST))
        return np.rint(inside).astype(np.int8).view(np.uint8)

    def restore(self, numbers: Octets) -> Floats:
        """The pixels that the numbers stand for; shape (pixels, K) to (pixels, C)."""
        lengths = numbers.view(np.int8).astype(np.float32) * np.float32(self.step)
        pixels = np.tile(self.mean, (len(numbers), 1))
        with np.errstate(over="ignore", invalid="ignore"):
            for component in range(self.components):
                pixels += lengths[:, component, None] * self.basis[:, component]
        return np.where(pixels > 0, pixels, np.float32(0)) if self.after_relu else pixels


@dataclass(frozen=True, eq=False)
class TransformCoding(MaskedCodec):
    """`PrincipalComponents` as masks and Huffman codes.

    Attributes
    ----------
    axes : PrincipalComponents
    code : MaskedBytes
    """

    axes: PrincipalComponents
    code: MaskedBytes

    name: ClassVar[str] = "transform-coding"
    transform: ClassVar[str] = "components"

    @classmethod
    def settings(cls) -> list[dict[str, Any]]:
        """Coarsenesses."""
        return [{"coarseness": coarseness} for coarseness in _COARSENESSES]

    @classmethod
    def calibrate(  # type: ignore[override]  # each codec has settings of its own
        cls, maps: ArrayLike, coarseness: float = 4.0, components: int | None = None
    ) -> Self:
        """The principal axes of the maps, with the codes of what they are quantized to.

        Parameters
        ----------
        maps : float array of shape (N, H, W, C)
        coarseness : float
            Quantization step over that of the 8-bit levels of the maps, to 255. It is raised
            until every component of these maps is at most 127 steps long.
        components : int, optional
            The number to keep, at most C. Without it, all that the quantizer leaves something of.
        """
        values = calibration_maps(maps)
        channels = values.shape[-1]
        if not 0 < plain_setting(coarseness, float, "coarseness") <= LARGEST_LEVEL:
            raise InputError(f"coarseness is above 0, at most {LARGEST_LEVEL}, found {coarseness}")
        if components is not None:
            components = plain_setting(components, int, "components")
            if not 1 <= components <= channels:
                raise InputError(f"components is from 1 to {channels}, found {components}")
        axes = PrincipalComponents.calibrate(values, coarseness, components)
        numbers = axes.quantize(values.reshape(-1, channels))
        return cls(axes, MaskedBytes.calibrate(numbers.reshape(len(values), -1)))

    def check(self, shape: Shape) -> None:
        """Raise `GraphError` unless a map of that shape has the channels of the axes."""
        super().check(shape)
        if shape[2] != self.axes.channels:
            raise GraphError(
                f"the axes of transform coding are for {self.axes.channels} channels, found "
                f"{shape[2]}"
            )

    def parameters(self) -> dict[str, Any]:
        """See the attributes of `PrincipalComponents` and `MaskedBytes`."""
        return {
            "mean": self.axes.mean,
            "basis": self.axes.basis,
            "step": self.axes.step,
            "after_relu": self.axes.after_relu,
            **self.code.parameters(),
        }

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """The inverse of `parameters`."""
        p = taken_exactly(
            parameters,
            ("mean", "basis", "step", "after_relu", *MaskedBytes.PARAMETERS),
            cls.name,
        )
        axes = PrincipalComponents(p["mean"], p["basis"], p["step"], p["after_relu"])
        return cls(axes, MaskedBytes.from_parameters(p))

    def _constants(self) -> Octets:
        axes = self.axes
        record = np.array((axes.step, axes.components, axes.after_relu), TRANSFORM_CODING)
        floats = axes.basis.size + axes.mean.size
        padding = np.zeros(floats % 2, np.float32)  # to whole words
        return octets_of(self.code.lengths, record, axes.basis, axes.mean, padding)

    def pixel_symbols(self, _channels: int) -> int:
        """K."""
        return self.axes.components

    def _encoding_scratch(self, strip: Strip) -> int:
        """Some pixels, and the components of a strip, as floats."""
        return 4 * (PIXELS_BLOCK * strip.channels + strip.symbols)

    def _decoding_scratch(self, strip: Strip) -> int:
        """A part of the basis; components and some channels of some pixels; all as floats."""
        channels = min(RESTORED_CHANNELS, strip.channels)
        each = strip.pixel_symbols + channels
        return 4 * (channels * strip.pixel_symbols + PIXELS_BLOCK * each)

    def _symbols(self, strip: Floats) -> Octets:
        return self.axes.quantize(strip)

    def _values(self, symbols: Octets) -> Floats:
        return self.axes.restore(symbols)
