"""Independent ways to compute what the references compute, and random cases to compare on."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.signal import correlate2d


@dataclass(frozen=True)
class Geometry:
    """A convolution of a map: sizes in pixels, channels and filters of one group."""

    height: int
    width: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1
    group_channels: int = 1
    group_filters: int = 1

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        return self.groups * self.group_filters, *self.kernel, self.group_channels

    @property
    def map_shape(self) -> tuple[int, int, int]:
        return self.height, self.width, self.groups * self.group_channels

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of a convolution besides its arrays."""
        return {
            "stride": self.stride,
            "dilation": self.dilation,
            "padding": self.padding,
            "groups": self.groups,
        }


GRID = (
    Geometry(5, 7, (3, 3), padding=(1, 1, 1, 1), group_channels=1, group_filters=2),
    Geometry(6, 5, (3, 3), (2, 2), padding=(1, 1, 1, 1), group_channels=63, group_filters=3),
    Geometry(4, 6, (1, 1), group_channels=64, group_filters=5),
    Geometry(7, 4, (1, 3), (1, 2), padding=(0, 2, 0, 1), group_channels=65, group_filters=2),
    Geometry(8, 9, (3, 2), (2, 3), (2, 3), (2, 0, 1, 3), group_channels=130, group_filters=2),
    Geometry(9, 8, (5, 4), (3, 1), padding=(4, 3, 2, 1), groups=3, group_channels=7),
    Geometry(6, 6, (3, 3), padding=(1, 1, 1, 1), groups=8, group_channels=1, group_filters=1),
    Geometry(6, 6, (3, 3), padding=(1, 1, 1, 1), groups=5, group_channels=1, group_filters=3),
    Geometry(1, 1, (3, 3), padding=(4, 4, 4, 4), group_channels=33, group_filters=2),
    Geometry(5, 5, (2, 2), (4, 4), groups=2, group_channels=66, group_filters=2),
)


@st.composite
def geometries(draw: st.DrawFn, most_channels: int = 130) -> Geometry:
    """Any small convolution that fits its map."""
    kernel, stride, dilation = (
        draw(st.tuples(st.integers(1, most), st.integers(1, most))) for most in (4, 3, 3)
    )
    padding = draw(st.tuples(*[st.integers(0, 4)] * 4))
    groups = draw(st.sampled_from((1, 1, 2, 3)))
    size = []
    for axis in (0, 1):
        extent = (kernel[axis] - 1) * dilation[axis] + 1
        least = max(1, extent - padding[axis] - padding[axis + 2])
        size.append(draw(st.integers(least, max(least, 8))))
    return Geometry(
        *size,
        kernel,
        stride,
        dilation,
        padding,
        groups,
        draw(st.integers(1, most_channels // groups)),
        draw(st.integers(1, 4)),
    )


def random_signs(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.int8]:
    return rng.choice(np.array([-1, 1], np.int8), shape)


def random_float32(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return rng.standard_normal(shape, dtype=np.float32)


def padded(maps: NDArray[Any], geometry: Geometry, value: float) -> NDArray[np.float64]:
    top, left, bottom, right = geometry.padding
    n, height, width, channels = maps.shape
    result = np.full((n, top + height + bottom, left + width + right, channels), value, np.float64)
    result[:, top : top + height, left : left + width] = maps
    return result


def correlate(
    maps: NDArray[Any], weight: NDArray[Any], geometry: Geometry, pad_value: float = 0
) -> NDArray[np.float64]:
    """Convolution by SciPy, one channel and filter at a time: the kernel spread by zeros to its
    dilation, every place computed, those of the stride taken."""
    filters, height, width, channels = weight.shape
    down, across = geometry.dilation
    spread = np.zeros((filters, (height - 1) * down + 1, (width - 1) * across + 1, channels))
    spread[:, ::down, ::across] = weight
    source = padded(maps, geometry, pad_value)
    results = []
    for image, filter_ in product(range(len(maps)), range(filters)):
        first = filter_ // geometry.group_filters * channels
        results.append(
            sum(
                correlate2d(source[image, :, :, first + i], spread[filter_, :, :, i], mode="valid")
                for i in range(channels)
            )
        )
    everywhere = np.moveaxis(np.reshape(results, (len(maps), filters, *results[0].shape)), 1, -1)
    return everywhere[:, :: geometry.stride[0], :: geometry.stride[1]]
