"""Operators that only move elements; they take values of every kind, bits included."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.errors import GraphError
from bitconv.graph import TensorType
from bitconv.operators.operator import Operator, expect_kind

ANY = ("bits", "float32", "int32", "uint8")


def _expect_rank(numbers: tuple[int, ...], value: TensorType, what: str) -> None:
    if len(numbers) != len(value.shape):
        raise GraphError(f"{what} {numbers} needs {len(value.shape)} entries for {value}")


@dataclass(frozen=True, eq=False)
class Concat(Operator):
    """Values joined along their last axis, the channels."""

    name = "concat"

    def infer(self, *values: TensorType) -> TensorType:
        if not values:
            raise GraphError("takes at least one input")
        first = values[0]
        for value in values:
            expect_kind(value, *ANY)
            if value.kind != first.kind or value.shape[:-1] != first.shape[:-1]:
                raise GraphError(
                    f"takes values that differ only in channels, found {first} and {value}"
                )
        return TensorType((*first.shape[:-1], sum(v.shape[-1] for v in values)), first.kind)

    def reference(self, *values: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate(values, axis=-1)


@dataclass(frozen=True, eq=False)
class Pad(Operator):
    """A value surrounded by a constant.

    Attributes
    ----------
    before, after : tuple of int
        Elements added at the start and end of each axis, batch excluded.
    value : float
        −1 or +1 for bits, an integer for uint8 and int32.
    """

    name = "pad"
    before: tuple[int, ...]
    after: tuple[int, ...]
    value: float = 0.0

    def check(self) -> None:
        if min(*self.before, *self.after, 0, 0) < 0:
            raise GraphError(f"padding must not be negative, found {self.before} and {self.after}")
        if not isfinite(self.value):
            raise GraphError(f"value must be finite, found {self.value}")

    def infer(self, value: TensorType) -> TensorType:
        expect_kind(value, *ANY)
        _expect_rank(self.before, value, "before")
        _expect_rank(self.after, value, "after")
        if value.kind == "bits" and self.value not in (-1, 1):
            raise GraphError(f"bits are padded with -1 or 1, found {self.value}")
        if value.kind == "uint8" and self.value not in range(256):
            raise GraphError(f"uint8 is padded with 0 to 255, found {self.value}")
        if value.kind == "int32" and (self.value != round(self.value) or abs(self.value) > 2**24):
            raise GraphError(f"int32 is padded with an integer up to 2**24, found {self.value}")
        lengths = zip(value.shape, self.before, self.after, strict=True)
        return TensorType(tuple(map(sum, lengths)), value.kind)

    def reference(self, values: NDArray[Any]) -> NDArray[Any]:
        widths = [(0, 0), *zip(self.before, self.after, strict=True)]
        return np.pad(values, widths, constant_values=np.asarray(self.value, values.dtype))


@dataclass(frozen=True, eq=False)
class Flatten(Operator):
    """All elements as one vector, in (height, width, channels) order."""

    name = "flatten"

    def infer(self, value: TensorType) -> TensorType:
        expect_kind(value, *ANY)
        return TensorType((value.size,), value.kind)

    def reference(self, values: NDArray[Any]) -> NDArray[Any]:
        return values.reshape(len(values), prod(values.shape[1:]))


@dataclass(frozen=True, eq=False)
class Reshape(Operator):
    """The same elements in another shape (batch excluded), last axis fastest."""

    name = "reshape"
    shape: tuple[int, ...]

    def infer(self, value: TensorType) -> TensorType:
        expect_kind(value, *ANY)
        result = TensorType(self.shape, value.kind)
        if result.size != value.size:
            raise GraphError(f"{value} has {value.size} elements, {self.shape} has {result.size}")
        return result

    def reference(self, values: NDArray[Any]) -> NDArray[Any]:
        return values.reshape(len(values), *self.shape)


@dataclass(frozen=True, eq=False)
class Slice(Operator):
    """The elements from `start` up to but without `stop`, every `step`-th, along each axis.

    Attributes
    ----------
    start, stop, step : tuple of int
        One entry an axis, batch excluded; ``0 <= start < stop <= length`` and ``step >= 1``.
    """

    name = "slice"
    start: tuple[int, ...]
    stop: tuple[int, ...]
    step: tuple[int, ...]

    def infer(self, value: TensorType) -> TensorType:
        expect_kind(value, *ANY)
        for what in ("start", "stop", "step"):
            _expect_rank(getattr(self, what), value, what)
        for axis, length in enumerate(value.shape):
            if not 0 <= self.start[axis] < self.stop[axis] <= length or self.step[axis] < 1:
                raise GraphError(
                    f"axis {axis} of {value} cannot be sliced from {self.start[axis]} to "
                    f"{self.stop[axis]} by {self.step[axis]}"
                )
        runs = map(range, self.start, self.stop, self.step)
        return TensorType(tuple(map(len, runs)), value.kind)

    def reference(self, values: NDArray[Any]) -> NDArray[Any]:
        return values[(slice(None), *map(slice, self.start, self.stop, self.step))]


@dataclass(frozen=True, eq=False)
class Transpose(Operator):
    """Axes in another order.

    Attributes
    ----------
    order : tuple of int
        Axis of the input that becomes each axis of the result, batch excluded.
    """

    name = "transpose"
    order: tuple[int, ...]

    def infer(self, value: TensorType) -> TensorType:
        expect_kind(value, *ANY)
        if sorted(self.order) != list(range(len(value.shape))):
            raise GraphError(f"order {self.order} is no permutation of the axes of {value}")
        return TensorType(tuple(value.shape[axis] for axis in self.order), value.kind)

    def reference(self, values: NDArray[Any]) -> NDArray[Any]:
        return values.transpose(0, *(axis + 1 for axis in self.order))
