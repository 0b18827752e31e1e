"""The sliding window of convolutions and pools."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from bitconv.errors import GraphError

MAX_EXTENT = 2**15


@dataclass(frozen=True)
class Window:
    """Where a kernel lies on a padded map; all lengths in pixels.

    Attributes
    ----------
    kernel, stride, dilation : tuple of int
        (vertical, horizontal).
    padding : tuple of int
        (top, left, bottom, right).
    """

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)

    def __post_init__(self) -> None:
        for name, count, least in (
            ("kernel", 2, 1),
            ("stride", 2, 1),
            ("dilation", 2, 1),
            ("padding", 4, 0),
        ):
            value = getattr(self, name)
            if len(value) != count or not all(least <= v <= MAX_EXTENT for v in value):
                raise GraphError(
                    f"{name} takes {count} integers from {least} to {MAX_EXTENT}, found {value}"
                )

    @property
    def extent(self) -> tuple[int, int]:
        """Height and width that the dilated kernel covers."""
        (height, width), (down, across) = self.kernel, self.dilation
        return (height - 1) * down + 1, (width - 1) * across + 1

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the result on a map of that size."""
        top, left, bottom, right = self.padding
        rows = (height + top + bottom - self.extent[0]) // self.stride[0] + 1
        columns = (width + left + right - self.extent[1]) // self.stride[1] + 1
        if rows < 1 or columns < 1:
            raise GraphError(
                f"a window of {self.extent[0]} × {self.extent[1]} does not fit a map of "
                f"{height} × {width} with padding {self.padding}"
            )
        return rows, columns

    def slide(self, maps: NDArray[Any], pad_value: float) -> NDArray[Any]:
        """All windows of NHWC maps, shape (N, rows, columns, C, kernel height, kernel width)."""
        top, left, bottom, right = self.padding
        padded = np.pad(
            maps, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=pad_value
        )
        windows = sliding_window_view(padded, self.extent, axis=(1, 2))
        (down, across), (vertical, horizontal) = self.stride, self.dilation
        return windows[:, ::down, ::across, :, ::vertical, ::horizontal]


def pair(value: int | tuple[int, ...]) -> tuple[int, ...]:
    """``n`` as ``(n, n)``; a tuple as it is."""
    return (value, value) if isinstance(value, int) else tuple(value)


def sides(value: int | tuple[int, ...]) -> tuple[int, ...]:
    """Padding ``n`` or ``(vertical, horizontal)`` as (top, left, bottom, right)."""
    both = pair(value)
    return both * 2 if len(both) == 2 else both
