"""What is known of a tensor of the ONNX network on its way into a graph."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOAT32 = np.dtype(np.float32)
MAP = (1, 2, 0)  # a (channels, height, width) tensor lies as (height, width, channels)


def natural_order(rank: int) -> tuple[int, ...]:
    """How the graph keeps a tensor of that rank, the batch not counted."""
    return MAP if rank == 3 else tuple(range(rank))


@dataclass(frozen=True)
class Padding:
    """A constant around a value that the graph does not hold yet.

    Attributes
    ----------
    before, after : tuple of int
        Elements at the ends of each axis of the ONNX tensor, the batch not counted.
    value : float
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    value: float


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the ONNX network in terms of a value of the graph.

    Three kinds: numbers that the graph holds; signs that it holds, which stand for two levels; and
    numbers that are compared with a threshold, and stand for one of three levels below, at and
    above it. Levels carry a binary tensor through arithmetic, so that ``2·(x > 0) − 1`` in any
    arrangement ends in the levels −1, −1 and 1.

    Attributes
    ----------
    node : str
        The value of the graph.
    shape : tuple of int
        Of the ONNX tensor, without the batch.
    order : tuple of int
        The axis of `shape` that each axis of `node` is.
    levels : tuple of arrays
        Empty for numbers; two, for −1 and +1, of signs; three of a comparison. They broadcast
        against `shape`, and may be booleans.
    threshold : array, optional
        Of a comparison; it broadcasts against `shape`.
    padding : Padding, optional
        `shape` counts it; for levels it is in their terms.
    dtype : dtype
        What ONNX counts the numbers in.
    chw : tuple of int, optional
        The vector is a flattened (channels, height, width), which `node` holds in the order
        (height, width, channels).
    """

    node: str
    shape: tuple[int, ...]
    order: tuple[int, ...]
    levels: tuple[NDArray[Any], ...] = ()
    threshold: NDArray[np.float32] | None = None
    padding: Padding | None = None
    chw: tuple[int, int, int] | None = None
    dtype: np.dtype[Any] = FLOAT32

    @property
    def is_numbers(self) -> bool:
        return not self.levels

    @property
    def is_signs(self) -> bool:
        return len(self.levels) == 2

    @property
    def is_comparison(self) -> bool:
        return len(self.levels) == 3

    def same_base(self, other: Value) -> bool:
        """Whether both are levels of the same bits or of the same comparison."""
        if not self.levels or len(self.levels) != len(other.levels):
            return False
        same_threshold = self.threshold is other.threshold or (
            self.threshold is not None
            and other.threshold is not None
            and np.array_equal(self.threshold, other.threshold)
        )
        geometry = (self.node, self.shape, self.order, self.chw)
        return same_threshold and geometry == (other.node, other.shape, other.order, other.chw)

    def feature_order(self) -> NDArray[np.int64] | None:
        """For each element that `node` holds, its place in the ONNX vector; None for the same."""
        if self.chw is None:
            return None
        places = np.arange(prod(self.chw), dtype=np.int64).reshape(self.chw)
        return places.transpose(1, 2, 0).reshape(-1)


def uniform(array: NDArray[Any]) -> Any:
    """The number that all elements are, or None."""
    if array.size == 0:
        return None
    first = array.reshape(-1)[0]
    return first if (array == first).all() else None


def without_batch(constant: NDArray[Any], rank: int) -> NDArray[Any] | None:
    """A constant in a shape that broadcasts against one image; None if it differs by image."""
    if constant.ndim <= rank:
        return constant
    if constant.ndim == rank + 1 and constant.shape[0] == 1:
        first: NDArray[Any] = constant[0]
        return first
    return None
