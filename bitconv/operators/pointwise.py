"""Operators that look at one element at a time; float32, rounded after every operation."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.errors import GraphError
from bitconv.graph import TensorType
from bitconv.operators.operator import (
    FLOAT32,
    Operator,
    as_float,
    expect_channels,
    expect_kind,
    ieee,
)

REAL = ("float32", "int32", "uint8")


def _one_per_channel(array: NDArray[Any], value: TensorType, what: str) -> None:
    """Raise `GraphError` unless `array` has one number, or one a channel."""
    if array.shape != (1,):
        expect_channels(array, value, what)


def _check_vector(array: NDArray[Any], what: str) -> None:
    if array.ndim != 1 or not array.size:
        raise GraphError(f"{what} takes one number or one a channel, found shape {array.shape}")


@dataclass(frozen=True, eq=False)
class Normalize(Operator):
    """``(x − mean) / std`` of an image.

    Attributes
    ----------
    mean, std : float32 arrays of shape (channels,) or (1,)
        In the units of the image, 0 to 255 for uint8.
    """

    name = "normalize"
    mean: NDArray[np.float32] = field(metadata=FLOAT32)
    std: NDArray[np.float32] = field(metadata=FLOAT32)

    def check(self) -> None:
        _check_vector(self.mean, "mean")
        _check_vector(self.std, "std")
        if (self.std == 0).any():
            raise GraphError("std must not be zero")

    def infer(self, value: TensorType) -> TensorType:
        expect_kind(value, *REAL)
        _one_per_channel(self.mean, value, "mean")
        _one_per_channel(self.std, value, "std")
        return TensorType(value.shape, "float32")

    @ieee
    def reference(self, values: NDArray[Any]) -> NDArray[np.float32]:
        return (as_float(values) - self.mean) / self.std


@dataclass(frozen=True, eq=False)
class BatchNorm(Operator):
    """``x·a + b`` with ``a = γ / √(variance + ε)`` and ``b = β − mean·a``, a channel.

    a and b are computed in float64 and rounded once to float32; then so are x·a and x·a + b.

    Attributes
    ----------
    statistics : float32 array of shape (4, channels)
        Rows γ, β, mean, variance.
    epsilon : float
    """

    name = "batch_norm"
    statistics: NDArray[np.float32] = field(metadata=FLOAT32)
    epsilon: float = 1e-5

    def check(self) -> None:
        if self.statistics.ndim != 2 or len(self.statistics) != 4:
            raise GraphError(
                f"statistics take the shape (4, channels), found {self.statistics.shape}"
            )
        variance = self.statistics[3].astype(np.float64)
        if not isfinite(self.epsilon) or (variance + self.epsilon <= 0).any():
            raise GraphError(f"variance + epsilon must be positive, epsilon is {self.epsilon}")
        if not all(np.isfinite(array).all() for array in self.factors()):
            raise GraphError("gamma / sqrt(variance + epsilon), or its offset, exceeds float32")

    def factors(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """a and b."""
        gamma, beta, mean, variance = self.statistics.astype(np.float64)
        factor = gamma / np.sqrt(variance + self.epsilon)
        with np.errstate(over="ignore"):
            return factor.astype(np.float32), (beta - mean * factor).astype(np.float32)

    def infer(self, value: TensorType) -> TensorType:
        expect_kind(value, *REAL)
        expect_channels(self.statistics[0], value, "statistics, a row,")
        return TensorType(value.shape, "float32")

    @ieee
    def reference(self, values: NDArray[Any]) -> NDArray[np.float32]:
        factor, offset = self.factors()
        return as_float(values) * factor + offset


@dataclass(frozen=True, eq=False)
class Sign(Operator):
    """−1 where x is below the threshold, +1 elsewhere.

    Attributes
    ----------
    threshold : float32 array of shape (channels,) or (1,)
    zero_is_positive : bool
        Whether x equal to the threshold gives +1 (``x >= t``) or −1 (``x > t``).
    """

    name = "sign"
    threshold: NDArray[np.float32] = field(metadata=FLOAT32)
    zero_is_positive: bool = True

    def check(self) -> None:
        _check_vector(self.threshold, "threshold")

    def infer(self, value: TensorType) -> TensorType:
        expect_kind(value, *REAL)
        _one_per_channel(self.threshold, value, "threshold")
        return TensorType(value.shape, "bits")

    def reference(self, values: NDArray[Any]) -> NDArray[np.int8]:
        below = np.less if self.zero_is_positive else np.less_equal
        return np.where(below(as_float(values), self.threshold), np.int8(-1), np.int8(1))


@dataclass(frozen=True, eq=False)
class Relu(Operator):
    """``x`` where x > 0, else 0."""

    name = "relu"

    def infer(self, value: TensorType) -> TensorType:
        expect_kind(value, *REAL)
        return TensorType(value.shape, "float32")

    def reference(self, values: NDArray[Any]) -> NDArray[np.float32]:
        x = as_float(values)
        return np.where(x > 0, x, np.float32(0))


@dataclass(frozen=True, eq=False)
class PRelu(Operator):
    """``x`` where x > 0, else ``slope · x``.

    Attributes
    ----------
    slope : float32 array of shape (channels,) or (1,)
    """

    name = "prelu"
    slope: NDArray[np.float32] = field(metadata=FLOAT32)

    def check(self) -> None:
        _check_vector(self.slope, "slope")

    def infer(self, value: TensorType) -> TensorType:
        expect_kind(value, *REAL)
        _one_per_channel(self.slope, value, "slope")
        return TensorType(value.shape, "float32")

    @ieee
    def reference(self, values: NDArray[Any]) -> NDArray[np.float32]:
        x = as_float(values)
        return np.where(x > 0, x, x * self.slope)


@dataclass(frozen=True, eq=False)
class Clip(Operator):
    """x limited to [minimum, maximum]; −0 becomes 0.

    Attributes
    ----------
    minimum, maximum : float
        May be infinite.
    """

    name = "clip"
    minimum: float = 0.0
    maximum: float = 1.0

    def check(self) -> None:
        if not self.minimum <= self.maximum:
            raise GraphError(f"clip from {self.minimum} to {self.maximum} is empty")

    def infer(self, value: TensorType) -> TensorType:
        expect_kind(value, *REAL)
        return TensorType(value.shape, "float32")

    def reference(self, values: NDArray[Any]) -> NDArray[np.float32]:
        x, low, high = as_float(values), np.float32(self.minimum), np.float32(self.maximum)
        return np.where(x < low, low, np.where(x > high, high, x)) + np.float32(0)


@dataclass(frozen=True, eq=False)
class Add(Operator):
    """The sum of two values of one shape."""

    name = "add"

    def infer(self, left: TensorType, right: TensorType) -> TensorType:
        expect_kind(left, *REAL)
        expect_kind(right, *REAL)
        if left.shape != right.shape:
            raise GraphError(f"takes two values of one shape, found {left} and {right}")
        return TensorType(left.shape, "float32")

    @ieee
    def reference(self, left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float32]:
        return as_float(left) + as_float(right)


@dataclass(frozen=True, eq=False)
class Multiply(Operator):
    """``x · factor``.

    Attributes
    ----------
    factor : float32 array of shape (channels,) or (1,)
    """

    name = "multiply"
    factor: NDArray[np.float32] = field(metadata=FLOAT32)

    def check(self) -> None:
        _check_vector(self.factor, "factor")

    def infer(self, value: TensorType) -> TensorType:
        expect_kind(value, *REAL)
        _one_per_channel(self.factor, value, "factor")
        return TensorType(value.shape, "float32")

    @ieee
    def reference(self, values: NDArray[Any]) -> NDArray[np.float32]:
        return as_float(values) * self.factor


@dataclass(frozen=True, eq=False)
class Softmax(Operator):
    """``exp(x − max) / Σ exp(x − max)`` over the last axis, in float64, rounded once at the end."""

    name = "softmax"

    def infer(self, value: TensorType) -> TensorType:
        expect_kind(value, "float32", "int32")
        return TensorType(value.shape, "float32")

    @ieee
    def reference(self, values: NDArray[Any]) -> NDArray[np.float32]:
        x = values.astype(np.float64)
        power = np.exp(x - x.max(axis=-1, keepdims=True))
        share: NDArray[np.float64] = power / power.sum(axis=-1, keepdims=True)
        return share.astype(np.float32)
