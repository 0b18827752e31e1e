"""The shared scale of binary weights (cross-filter compression, arXiv 2005.09034)."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitconv.errors import GraphError, InputError
from bitconv.parameters import finite_float32, plain_integer

ALL_FILTERS, ALL_CHANNELS = "O", "I"  # in the text of a `ScaleSharing`


@dataclass(frozen=True)
class ScaleSharing:
    """How many adjacent filters and channels share one scale, in a layer of any size.

    Written ``16xI``: 16 filters and all input channels. ``1xI`` is one scale a filter, ``1x8`` one
    for each 8 adjacent slices of a filter, ``OxI`` one for the layer.

    Attributes
    ----------
    filters, channels : int or None
        Adjacent filters, and adjacent input channels of a filter; None for all of them. They need
        not divide what a layer has.
    """

    filters: int | None = 1
    channels: int | None = None

    def __post_init__(self) -> None:
        for name in ("filters", "channels"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _at_least_one(value, name))

    @classmethod
    def parse(cls, text: str) -> ScaleSharing:
        """The sharing that a text such as ``16xI`` stands for.

        Raises
        ------
        InputError
            Where the text is no such thing.
        """
        match = re.fullmatch(r"(O|[1-9][0-9]{0,8})x(I|[1-9][0-9]{0,8})", text)
        if match is None:
            raise InputError(
                f"a scale grid is written FILTERSxCHANNELS, numbers or O and I for all, such as "
                f"16xI, 1x8 or OxI; found {text!r}"
            )
        filters, channels = match.groups()
        return cls(
            None if filters == ALL_FILTERS else int(filters),
            None if channels == ALL_CHANNELS else int(channels),
        )

    @classmethod
    def of(cls, sharing: str | ScaleSharing) -> ScaleSharing:
        """A sharing, or the one that a text stands for; `InputError` where it is neither."""
        if isinstance(sharing, cls):
            return sharing
        if not isinstance(sharing, str):
            raise InputError(f"scale takes a text such as '16xI', found {sharing!r}")
        return cls.parse(sharing)

    def __str__(self) -> str:
        return f"{self.filters or ALL_FILTERS}x{self.channels or ALL_CHANNELS}"

    def steps(self, filters: int, channels: int) -> tuple[int, int]:
        """Filters and channels that share a scale in a layer of so many, at most all of them."""
        return min(self.filters or filters, filters), min(self.channels or channels, channels)

    def grid_shape(self, filters: int, channels: int) -> tuple[int, int]:
        """Shape of the grid of scales of a layer of so many filters and channels."""
        down, across = self.steps(filters, channels)
        return -(-filters // down), -(-channels // across)


@dataclass(frozen=True, eq=False)
class ScaleGrid:
    """Scales of a weight ``W ≈ α ⊙ sign(W)`` with O filters of I input channels.

    ``α[o // filters_per_scale, i // channels_per_scale]`` scales the slice of filter o that
    belongs to input channel i. I counts the channels of one convolution group.

    Attributes
    ----------
    values : float32 array of shape (ceil(O / filters_per_scale), ceil(I / channels_per_scale))
        Finite; copied and read-only.
    filters_per_scale, channels_per_scale : int
        Adjacent filters, and adjacent input channels of a filter, that share one scale. ``(1, I)``
        is XNOR-Net's scale a filter, ``(s, I)`` shares it among s filters, ``(O, I)`` is one scale
        for the layer. They need not divide O or I.
    """

    values: NDArray[np.float32]
    filters_per_scale: int
    channels_per_scale: int

    def __post_init__(self) -> None:
        values = finite_float32(self.values, "scale")
        if values.ndim != 2 or 0 in values.shape:
            raise GraphError(f"scales need a non-empty 2-D grid, found shape {values.shape}")
        object.__setattr__(self, "values", values)
        for name in ("filters_per_scale", "channels_per_scale"):
            object.__setattr__(self, name, _at_least_one(getattr(self, name), name))

    @classmethod
    def from_weight(
        cls, weight: ArrayLike, filters_per_scale: int = 1, channels_per_scale: int | None = None
    ) -> ScaleGrid:
        """The grid that approximates `weight` best: the mean of |W| over each group.

        Parameters
        ----------
        weight : float array of shape (O, ..., I)
        filters_per_scale : int
        channels_per_scale : int, optional
            All I channels when not given.
        """
        magnitude = np.abs(np.asarray(weight, dtype=np.float64))
        if magnitude.ndim < 2 or not magnitude.size:
            raise GraphError(f"weight takes the shape (O, ..., I), found {magnitude.shape}")
        filters, channels = magnitude.shape[0], magnitude.shape[-1]
        down = _at_least_one(filters_per_scale, "filters_per_scale")
        across = channels if channels_per_scale is None else channels_per_scale
        across = _at_least_one(across, "channels_per_scale")
        totals = magnitude.reshape(filters, -1, channels).sum(axis=1)
        counts = np.full((filters, channels), magnitude.size // totals.size)
        for axis, step in ((0, down), (1, across)):
            starts = np.arange(0, totals.shape[axis], step)
            totals = np.add.reduceat(totals, starts, axis=axis)
            counts = np.add.reduceat(counts, starts, axis=axis)
        return cls(totals / counts, down, across)

    @classmethod
    def per_filter(cls, values: ArrayLike, channels: int) -> ScaleGrid:
        """One scale a filter, for filters of `channels` input channels.

        Parameters
        ----------
        values : array of O numbers
        channels : int
        """
        return cls(finite_float32(values, "scale").reshape(-1, 1), 1, channels)

    def check(self, filters: int, channels: int) -> None:
        """Raise `GraphError` unless the grid has the shape that O and I ask for."""
        expected = (-(-filters // self.filters_per_scale), -(-channels // self.channels_per_scale))
        if self.values.shape != expected:
            raise GraphError(
                f"scales shared by ({self.filters_per_scale}, {self.channels_per_scale}) among "
                f"{filters} filters of {channels} channels need the grid {expected}, found "
                f"{self.values.shape}"
            )

    def segments(self, channels: int) -> list[tuple[int, int]]:
        """The runs (first, end) of input channels that share a scale."""
        step = self.channels_per_scale
        return [(first, min(first + step, channels)) for first in range(0, channels, step)]

    def by_filter(self, filters: int) -> NDArray[np.float32]:
        """Scales of every filter, shape (O, ceil(I / channels_per_scale))."""
        repeats = min(self.filters_per_scale, filters)  # a group may claim more than there are
        return np.repeat(self.values, repeats, axis=0)[:filters]


def _at_least_one(value: int, what: str) -> int:
    number = plain_integer(value, what)
    if number < 1:
        raise GraphError(f"{what} must be at least 1, found {number}")
    return number
