"""The shared scale of binary weights (cross-filter compression, arXiv 2005.09034)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitconv.errors import GraphError


@dataclass(frozen=True, eq=False)
class ScaleGrid:
    """Scales of a weight ``W ≈ α ⊙ sign(W)`` with O filters of I input channels.

    ``α[o // filters_per_scale, i // channels_per_scale]`` scales the slice of filter o that
    belongs to input channel i. I counts the channels of one convolution group.

    Attributes
    ----------
    values : float32 array of shape (ceil(O / filters_per_scale), ceil(I / channels_per_scale))
        Finite; read-only.
    filters_per_scale, channels_per_scale : int
        Adjacent filters, and adjacent input channels of a filter, that share one scale. ``(1, I)``
        is XNOR-Net's scale a filter, ``(s, I)`` shares it among s filters, ``(O, I)`` is one scale
        for the layer. They need not divide O or I.
    """

    values: NDArray[np.float32]
    filters_per_scale: int
    channels_per_scale: int

    def __post_init__(self) -> None:
        values = np.array(self.values, dtype=np.float32)
        if values.ndim != 2 or 0 in values.shape:
            raise GraphError(f"scales need a non-empty 2-D grid, found shape {values.shape}")
        if not np.isfinite(values).all():
            raise GraphError("scales must be finite")
        if min(self.filters_per_scale, self.channels_per_scale) < 1:
            raise GraphError(
                "a scale is shared among at least one filter and one channel, found "
                f"({self.filters_per_scale}, {self.channels_per_scale})"
            )
        values.flags.writeable = False
        object.__setattr__(self, "values", values)

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
        filters, channels = magnitude.shape[0], magnitude.shape[-1]
        across = channels_per_scale or channels
        totals = magnitude.reshape(filters, -1, channels).sum(axis=1)
        for axis, step in ((0, filters_per_scale), (1, across)):
            starts = np.arange(0, totals.shape[axis], step)
            totals = np.add.reduceat(totals, starts, axis=axis)
        taps = magnitude[0, ..., 0].size
        rows = np.diff(np.append(np.arange(0, filters, filters_per_scale), filters))
        columns = np.diff(np.append(np.arange(0, channels, across), channels))
        mean = totals / (np.outer(rows, columns) * taps)
        return cls(mean.astype(np.float32), filters_per_scale, across)

    @classmethod
    def per_filter(cls, values: ArrayLike, channels: int) -> ScaleGrid:
        """One scale a filter, for filters of `channels` input channels."""
        return cls(np.asarray(values, np.float32).reshape(-1, 1), 1, channels)

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
        return np.repeat(self.values, self.filters_per_scale, axis=0)[:filters]
