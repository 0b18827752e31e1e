"""The sliding window of convolutions and pools."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.errors import GraphError
from bitconv.graph import TensorType
from bitconv.operators.operator import expect_map

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

    def output_shape(self, value: TensorType, channels: int) -> tuple[int, int, int]:
        """Shape of a result of so many channels on a map; absurdly wide padding is refused."""
        height, width, depth = expect_map(value)
        rows, columns = self.output_size(height, width)
        top, left, bottom, right = self.padding
        try:
            TensorType((height + top + bottom, width + left + right, depth), value.kind)
        except GraphError as error:
            raise GraphError(f"{value} with padding {self.padding}: {error}") from error
        return rows, columns, channels

    def taps(self, maps: NDArray[Any], pad_value: float) -> Iterator[NDArray[Any]]:
        """For each tap in row-major order, what NHWC maps hold there: (N, rows, columns, C)."""
        rows, columns = self.output_size(*maps.shape[1:3])
        top, left, bottom, right = self.padding
        widths = ((0, 0), (top, bottom), (left, right), (0, 0))
        padded = np.pad(maps, widths, constant_values=pad_value)
        for y in range(0, self.extent[0], self.dilation[0]):
            below = padded[:, y :: self.stride[0]][:, :rows]
            for x in range(0, self.extent[1], self.dilation[1]):
                yield below[:, :, x :: self.stride[1]][:, :, :columns]


def pair(value: tuple[int, ...] | int, what: str) -> tuple[int, int]:
    """``n`` as ``(n, n)``; ``(vertical, horizontal)`` as it is."""
    if isinstance(value, int):
        return value, value
    if len(value) != 2:
        raise GraphError(f"{what} takes one integer or two, found {value}")
    return value[0], value[1]


def sides(value: tuple[int, ...] | int, what: str) -> tuple[int, int, int, int]:
    """Padding ``n`` or ``(vertical, horizontal)`` as (top, left, bottom, right)."""
    if isinstance(value, tuple) and len(value) == 4:
        return value[0], value[1], value[2], value[3]
    if isinstance(value, tuple) and len(value) != 2:
        raise GraphError(f"{what} takes one integer, two or four, found {value}")
    vertical, horizontal = pair(value, what)
    return vertical, horizontal, vertical, horizontal


# Metadata of operator fields that take these short forms.
PAIR = {"complete": pair}
SIDES = {"complete": sides}
