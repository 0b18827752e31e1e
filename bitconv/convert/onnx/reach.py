"""Which numbers a value of the graph can take, as far as that can be told without an image.

A sum of signs is one of few numbers, and so is what affine operators make of it: an arithmetic
progression in each channel. That tells whether a number can lie on the threshold of a sign, which
decides whether ONNX's three-valued ``Sign`` is two-valued where it stands, and whether numbers are
whole, so that rounding them or casting them to integers changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitconv.operators import (
    Add,
    AvgPool2d,
    BatchNorm,
    BinaryConv2d,
    BinaryDense,
    Clip,
    Concat,
    Conv2d,
    Dense,
    Flatten,
    GlobalAvgPool2d,
    MaxPool2d,
    Multiply,
    Normalize,
    Operator,
    Pad,
    PRelu,
    Relu,
    Reshape,
    Sign,
    Slice,
    Transpose,
)
from bitconv.operators.window import sides

FEW = 2.0**10  # units that make up a weight or another unit at most, else it is any float
MAX_POINTS = 16
NEAR = 1e-6  # of a number, by which rounding may have moved it
Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Reach:
    """The numbers that each channel can take; every array has one entry, or one a channel.

    They are those of ``offset + unit · integer`` within the bounds, and the points.

    Attributes
    ----------
    low, high : array
        Bounds, which may be infinite.
    unit, offset : array
        Where `unit` is 0 the steps are unknown: floats, which hit no number on purpose.
    points : tuple of arrays
        Numbers beside the steps, which a clip, a ReLU or a pad puts there.
    """

    low: Numbers
    high: Numbers
    unit: Numbers
    offset: Numbers
    points: tuple[Numbers, ...] = ()

    def __post_init__(self) -> None:
        distinct: list[Numbers] = []
        for point in self.points:
            if not any(np.array_equal(point, other) for other in distinct):
                distinct.append(point)
        object.__setattr__(self, "points", tuple(distinct[:MAX_POINTS]))

    @property
    def has_steps(self) -> bool:
        """Whether the steps of all channels are known."""
        return bool((self.unit != 0).all())

    @property
    def is_whole(self) -> bool:
        """Whether all numbers are integers."""
        numbers = (self.unit, self.offset, *self.points)
        return self.has_steps and all((each == np.rint(each)).all() for each in numbers)

    def within(self, low: float, high: float) -> bool:
        """Whether no number lies outside."""
        return bool((self.low >= low).all() and (self.high <= high).all())

    def meets(self, number: Numbers) -> NDArray[np.bool_]:
        """In which channels `number` can be hit exactly."""
        hits = self._steps_on(number)
        for point in self.points:
            hits = hits | (point == number)
        return hits

    def _steps_on(self, number: Numbers) -> NDArray[np.bool_]:
        with np.errstate(all="ignore"):
            steps = (number - self.offset) / self.unit
            largest = np.maximum(np.abs(self.offset), np.abs(number))
            allowed = NEAR * np.maximum(1.0, largest / self.unit)
            near = np.abs(steps - np.rint(steps)) <= allowed
        hits: NDArray[np.bool_] = (
            (self.unit != 0) & near & (self.low <= number) & (number <= self.high)
        )
        return hits

    def affine(self, factor: ArrayLike, offset: ArrayLike) -> Reach:
        """``x · factor + offset``, each rounded to float32."""
        by, plus = (np.atleast_1d(np.asarray(each, np.float64)) for each in (factor, offset))

        def image(numbers: Numbers) -> Numbers:
            product = np.where(by == 0, 0.0, numbers * by)
            return (product.astype(np.float32) + plus.astype(np.float32)).astype(np.float64)

        with np.errstate(all="ignore"):
            ends = image(self.low), image(self.high)
            constant = [image(np.zeros(1))] if (by == 0).any() else []
            return Reach(
                np.minimum(*ends),
                np.maximum(*ends),
                np.abs(self.unit * by),
                self.offset * by + plus,
                (*map(image, self.points), *constant),
            )

    def clipped(self, low: float, high: float) -> Reach:
        """What lies below and above set to the limits."""
        limits = [_single(limit) for limit in (low, high)]
        lowest, highest, *points = (
            np.clip(each, *limits) for each in (self.low, self.high, *self.points)
        )
        points += [limit for limit in limits if np.isfinite(limit).all()]
        return replace(self, low=lowest, high=highest, points=tuple(points))

    def with_point(self, number: float) -> Reach:
        """The same numbers and one more."""
        point = _single(number)
        low, high = np.minimum(self.low, point), np.maximum(self.high, point)
        return replace(self, low=low, high=high, points=(*self.points, point))

    def without_points(self) -> Reach:
        """The points as steps, which may take finer ones."""
        if all(self._steps_on(point).all() for point in self.points):
            return replace(self, points=())
        unit = shared_unit(self.unit, self.offset, *self.points)
        return replace(self, unit=unit, offset=np.zeros(1), points=())

    def mapped(self, change: Callable[[Numbers], Numbers]) -> Reach:
        """Every array changed alike."""
        return Reach(
            change(self.low),
            change(self.high),
            change(self.unit),
            change(self.offset),
            tuple(map(change, self.points)),
        )


def _single(number: float) -> Numbers:
    """A parameter of an operator, which counts in float32."""
    return np.full(1, np.float32(number), np.float64)


def steps_of(unit: float, low: float = -np.inf, high: float = np.inf) -> Reach:
    """The multiples of a unit within bounds; with the unit 0, all floats."""
    first, last, step, zero = (np.full(1, number) for number in (low, high, unit, 0.0))
    return Reach(first, last, step, zero)


def dyadic_unit(numbers: Numbers) -> float:
    """The largest power of two that divides all of the numbers; infinite where all are 0."""
    mantissa, exponent = np.frexp(numbers[numbers != 0])
    whole = (mantissa * 2.0**53).astype(np.int64)
    lowest = (whole & -whole).astype(np.float64)
    return float(np.ldexp(lowest, exponent - 53).min(initial=np.inf))


def shared_unit(unit: Numbers, *others: Numbers) -> Numbers:
    """One unit for the steps of all channels from 0 on; 0 where that would be many steps."""
    shared = dyadic_unit(np.concatenate([unit, *(each.reshape(-1) for each in others)]))
    few = (unit != 0).all() and unit.max() <= FEW * shared
    return np.full(1, shared if few else 0.0)


def reach_after(
    operator: Operator, inputs: Sequence[Reach | None], shapes: Sequence[tuple[int, ...]]
) -> Reach | None:
    """What an operator makes of the numbers that it takes.

    Parameters
    ----------
    operator : Operator
    inputs : sequence of Reach or None
        None for signs.
    shapes : sequence of tuple of int
        Of the inputs, channels last.

    Returns
    -------
    Reach or None
        None for signs.
    """
    if isinstance(operator, Sign):
        return None
    numbers = [each for each in inputs if each is not None]
    if numbers:
        return _of_numbers(operator, numbers, shapes)
    return _of_signs(operator) if isinstance(operator, BinaryConv2d | BinaryDense) else None


def _of_signs(layer: BinaryConv2d | BinaryDense) -> Reach:
    """Sums of n signs: n, n − 2, ... −n. Where taps count as 0 there are fewer signs, too."""
    taps = prod(layer.weight.shape[1:])
    if layer.scale is not None and layer.scale.values.shape[1] > 1:
        return _of_products(layer, steps_of(1.0))
    if (
        isinstance(layer, BinaryConv2d)
        and any(sides(layer.padding, "padding"))
        and layer.pad_value == 0
    ):
        reach = steps_of(1.0, -taps, taps)
    else:
        reach = replace(steps_of(2.0, -taps, taps), offset=np.full(1, float(taps)))
    if layer.scale is not None:
        reach = reach.affine(layer.scale.by_filter(layer.weight.shape[0])[:, 0], 0.0)
    reach = reach.affine(layer.activation_scale, 0.0)
    return reach if layer.bias is None else reach.affine(1.0, layer.bias)


def _of_products(layer: Conv2d | Dense | BinaryConv2d | BinaryDense, reach: Reach) -> Reach:
    """Sums of steps times weights, where both are multiples of few numbers, such as −1, 0 and 1."""
    if isinstance(layer, BinaryConv2d | BinaryDense):
        weight = np.ones(1) if layer.scale is None else layer.scale.values.astype(np.float64)
    else:
        weight = layer.weight.astype(np.float64)
    plain = reach.without_points()
    by = dyadic_unit(weight)
    unit = by * float(shared_unit(plain.unit, plain.offset)[0])
    if np.abs(weight).max() > FEW * by or not np.isfinite(unit):
        return steps_of(0.0)
    steps = steps_of(unit)
    return steps if layer.bias is None else steps.affine(1.0, layer.bias)


def _of_numbers(
    operator: Operator, inputs: list[Reach], shapes: Sequence[tuple[int, ...]]
) -> Reach:
    first, shape = inputs[0], shapes[0]
    match operator:
        case Conv2d() | Dense() | BinaryConv2d() | BinaryDense():
            return _of_products(operator, first)
        case Multiply():
            return first.affine(operator.factor, 0.0)
        case BatchNorm():
            return first.affine(*operator.factors())
        case Normalize():
            shifted = first.affine(1.0, -operator.mean)
            return shifted.affine(1.0 / operator.std.astype(np.float64), 0.0)
        case Relu():
            return first.clipped(0.0, np.inf)
        case Clip():
            return first.clipped(operator.minimum, operator.maximum)
        case PRelu():
            return _sloped(first, operator.slope.astype(np.float64))
        case Add():
            return _sum(*inputs)
        case MaxPool2d():
            return first
        case GlobalAvgPool2d():
            return _mean(first, shape[0] * shape[1])
        case AvgPool2d() if not any(sides(operator.padding, "padding")):
            return _mean(first, prod(operator.window.kernel))
        case Pad():
            return first.with_point(operator.value)
        case Flatten():
            return first.mapped(lambda each: _tiled(each, shape[-1], prod(shape[:-1])))
        case Reshape() if operator.shape[-1] % shape[-1] == 0:
            repeats = operator.shape[-1] // shape[-1]
            return first.mapped(lambda each: _tiled(each, shape[-1], repeats))
        case Reshape() | Transpose():
            return _mixed(first)
        case Slice():
            run = slice(operator.start[-1], operator.stop[-1], operator.step[-1])
            return first.mapped(lambda each: each[run] if len(each) > 1 else each)
        case Concat():
            return _concatenated(inputs, [each[-1] for each in shapes])
    return steps_of(0.0)


def _sloped(reach: Reach, slope: Numbers) -> Reach:
    """Steps below and above 0 have units of their own."""

    def image(numbers: Numbers) -> Numbers:
        below = np.where(slope == 0, 0.0, numbers * slope)
        return np.where(numbers < 0, below, numbers)

    with np.errstate(all="ignore"):
        ends = image(reach.low), image(reach.high)
    low, high = np.minimum(*ends), np.maximum(*ends)
    crosses = (reach.low < 0) & (reach.high > 0)
    unit = shared_unit(reach.unit, reach.offset, reach.unit * slope, reach.offset * slope)
    points = tuple(map(image, reach.points))
    low = np.where(crosses, np.minimum(low, 0.0), low)
    sloped = Reach(low, high, unit, np.zeros(1), points)
    return sloped if slope.all() else sloped.with_point(0.0)


def _sum(left: Reach, right: Reach) -> Reach:
    zero = np.zeros(1)
    both_zero = left.meets(zero).any() and right.meets(zero).any()
    one, other = left.without_points(), right.without_points()
    return Reach(
        one.low + other.low,
        one.high + other.high,
        _common(one.unit, other.unit),
        one.offset + other.offset,
        (zero,) if both_zero else (),
    )


def _common(left: Numbers, right: Numbers) -> Numbers:
    """The smaller of two units where it divides the larger, else 0."""
    small, large = (choose(np.abs(left), np.abs(right)) for choose in (np.minimum, np.maximum))
    with np.errstate(all="ignore"):
        ratio = large / small
        divides = np.abs(ratio - np.rint(ratio)) <= NEAR * ratio
    return np.where((small > 0) & divides, small, 0.0)


def _mean(reach: Reach, taps: int) -> Reach:
    plain = reach.without_points()
    return replace(plain, unit=plain.unit / taps, points=reach.points)


def _tiled(array: Numbers, channels: int, repeats: int) -> Numbers:
    return np.tile(np.broadcast_to(array, (channels,)), repeats) if len(array) > 1 else array


def _mixed(reach: Reach) -> Reach:
    """One reach for all channels, which are no channels any more."""
    if all(len(each) == 1 for each in (reach.low, reach.high, reach.unit, reach.offset)):
        return reach
    plain = reach.without_points()
    unit = float(shared_unit(plain.unit, plain.offset)[0])
    return steps_of(unit, float(plain.low.min()), float(plain.high.max()))


def _concatenated(parts: list[Reach], channels: list[int]) -> Reach:
    def join(arrays: Sequence[Numbers]) -> Any:
        pairs = zip(arrays, channels, strict=True)
        return np.concatenate([np.broadcast_to(each, (count,)) for each, count in pairs])

    count = max(len(part.points) for part in parts)
    points = [[*part.points, *[np.full(1, np.nan)] * (count - len(part.points))] for part in parts]
    return Reach(
        join([part.low for part in parts]),
        join([part.high for part in parts]),
        join([part.unit for part in parts]),
        join([part.offset for part in parts]),
        tuple(map(join, zip(*points, strict=True))),
    )
