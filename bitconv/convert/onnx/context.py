"""What the rules share: the graph under construction, and values in the form that a rule needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.bits import BitArray
from bitconv.convert.onnx import affine
from bitconv.convert.onnx.building import Build
from bitconv.convert.onnx.reading import OnnxNode
from bitconv.convert.onnx.values import (
    MAP,
    Padding,
    Value,
    natural_order,
    uniform,
    without_batch,
)
from bitconv.convert.report import LayerReport
from bitconv.errors import UnsupportedError
from bitconv.operators import Add, BinaryConv2d, Multiply, Pad, Sign, Transpose

Operand = Value | NDArray[Any]
Rule = Callable[..., Any]


@dataclass
class Context:
    """The state of a conversion.

    Attributes
    ----------
    build : Build
    batch : int
        The first length of every tensor that differs by image.
    opset : int
    differences : dict of str to tuple
        For a node of the graph that is ``a − b``: a and the node of b.
    layers : list of tuple
        Of every layer the report, without its scales, and the node of the graph that it ends in.
    remarks : dict of str to dict
        The nodes that each remark is about, as keys.
    """

    build: Build
    batch: int
    opset: int
    differences: dict[str, tuple[Value, str]] = field(default_factory=dict)
    layers: list[tuple[LayerReport, str]] = field(default_factory=list)
    remarks: dict[str, dict[str, None]] = field(default_factory=dict)

    def remark(self, text: str) -> None:
        """Note something about the node at hand."""
        self.remarks.setdefault(text, {})[self.build.place] = None

    # --- Values in the form that a rule needs ----------------------------------------------------

    def natural(self, value: Value) -> Value:
        """The value in the order in which the graph keeps tensors of its rank."""
        return self.ordered(value, natural_order(len(value.shape)))

    def ordered(self, value: Value, order: tuple[int, ...]) -> Value:
        """The value with its axes in that order, its padding aside."""
        value = self.unfolded(value) if order != value.order else value
        if value.order == order:
            return value
        moves = tuple(value.order.index(axis) for axis in order)
        shape = self.build.types[value.node].shape
        if [axis for axis in moves if shape[axis] > 1] == sorted(
            axis for axis in moves if shape[axis] > 1
        ):  # only axes of length 1 move
            node = self.build.reshape(value.node, tuple(shape[axis] for axis in moves))
        else:
            node = self.build.add_part(Transpose(moves), value.node)
        return replace(value, node=node, order=order)

    def unfolded(self, value: Value) -> Value:
        """A vector in the order in which ONNX has it."""
        if value.chw is None:
            return value
        channels, height, width = value.chw
        node = self.build.reshape(value.node, (height, width, channels))
        node = self.build.add_part(Transpose((2, 0, 1)), node)
        node = self.build.reshape(node, value.shape)
        return replace(value, node=node, chw=None)

    def unpadded(self, value: Value) -> Value:
        """The value with its padding put around it in the graph."""
        padding = value.padding
        if padding is None:
            return value
        if value.levels:
            value = self.signs(replace(value, padding=None))
        if value.levels:
            level = self.sign_of_level(value, padding.value)
            if level not in (-1, 1):
                return self.unpadded(replace(self.numbers(value), padding=padding))
        else:
            level = padding.value
        before, after = (
            tuple(lengths[axis] for axis in value.order)
            for lengths in (padding.before, padding.after)
        )
        inner = value.node
        if self.build.types[inner].kind == "int32" and level != round(level):
            inner = self.build.add(Multiply(np.ones(1, np.float32)), inner)  # floats from here on
        node = self.build.add_part(Pad(before, after, float(level)), inner)
        return replace(value, node=node, padding=None)

    def signs(self, value: Value) -> Value:
        """A comparison as signs that the graph holds, of three levels as numbers; signs as is."""
        if not value.is_comparison:
            return value
        value = self.settled(value)
        if has_three_levels(value):
            return self.numbers(value)
        below, at, above = np.broadcast_arrays(*value.levels)
        strict = at == below
        loose = at == above
        assert value.threshold is not None
        threshold = value.threshold
        zero_is_positive = True
        if not loose.all():
            if strict.all():
                zero_is_positive = False
            else:  # x > t is x >= t' for the next number t'
                threshold = np.where(loose, threshold, np.nextafter(threshold, np.float32(np.inf)))
        bare = replace(value, levels=(), threshold=None, padding=None)
        bare, vector = self.per_channel(bare, threshold.astype(np.float32))
        sign = Sign(vector, zero_is_positive)
        node = self._same(sign, bare.node) or self.build.add_part(sign, bare.node)
        return replace(
            bare, shape=value.shape, node=node, levels=(below, above), padding=value.padding
        )

    def settled(self, value: Value) -> Value:
        """A comparison without the levels that no number can give.

        Floats do not lie on a threshold, unless by chance; sums of signs do.
        """
        assert value.threshold is not None
        below, at, above = value.levels
        numbers, threshold = self.per_channel(
            replace(value, levels=(), threshold=None, padding=None), value.threshold
        )
        reach = self.build.reach(numbers.node)
        if (reach.low >= threshold).all():
            below = at
        if (reach.high <= threshold).all():
            above = at
        settled = replace(value, levels=(below, at, above))
        if has_three_levels(settled) and not reach.meets(threshold.astype(np.float64)).any():
            if not reach.has_steps:
                level = uniform(at)
                self.remark(
                    "A number equal to the threshold counts as above it; the original gives "
                    f"{'a third value' if level is None else f'{level:g}'} there"
                )
            settled = replace(value, levels=(below, above, above))
        return settled

    def halves(self, value: Value) -> tuple[Value, Value]:
        """A comparison of three levels as the sum of two of two levels each."""
        below, at, above = (level.astype(np.float32) for level in value.levels)
        zero = np.zeros_like(at)
        lower = replace(value, levels=(below, at, at))
        upper = replace(value, levels=(zero, zero, above - at))
        if value.padding is None:
            return lower, upper
        around, middle = value.padding.value, uniform(at)
        if middle is None or around != uniform(above):
            middle = around
        return (  # padded with levels of theirs where the whole is padded with one of its own
            replace(lower, padding=replace(value.padding, value=float(middle))),
            replace(upper, padding=replace(value.padding, value=float(around - middle))),
        )

    def _same(self, sign: Sign, name: str) -> str | None:
        """The node that is this very sign already."""
        for node in self.build.nodes.values():
            other = node.operator
            if node.inputs == (name,) and isinstance(other, Sign):
                equal = np.array_equal(other.threshold, sign.threshold)
                if equal and other.zero_is_positive == sign.zero_is_positive:
                    return node.name
        return None

    def sign_of_level(self, value: Value, level: float) -> float | None:
        """What a level is in terms of −1 and +1; None where it differs by channel."""
        low, high = (array.astype(np.float64) for array in value.levels)
        half, middle = (high - low) / 2, (high + low) / 2
        if (half == 0).any():
            return None
        sign: float | None = uniform((level - middle) / half)
        return sign

    def numbers(self, value: Value) -> Value:
        """The value as float32 numbers that the graph holds, without padding.

        There is no operator from signs to numbers: a convolution of each channel with one weight
        of +1 is one, and its scale and bias are the levels.
        """
        value = self.unpadded(value)
        if value.is_comparison:
            value = self.settled(value)
            if has_three_levels(value):
                lower, upper = (self.natural(self.numbers(each)) for each in self.halves(value))
                return replace(lower, node=self.build.add(Add(), lower.node, upper.node))
            value = self.signs(value)
        if value.is_numbers:
            return value
        low, high = (array.astype(np.float64) for array in value.levels)
        value, half = self.per_channel(value, (high - low) / 2)
        value, middle = self.per_channel(value, (high + low) / 2)
        shape = self.build.types[value.node].shape
        channels = shape[-1]
        as_map = shape if len(shape) == 3 else (prod(shape) // channels, 1, channels)
        node = self.build.reshape(value.node, as_map)
        one = BitArray.from_signs(np.ones((channels, 1, 1, 1)))
        node = self.build.add(BinaryConv2d(one, groups=channels), node)
        node = affine.multiply(self.build, node, half)
        node = affine.add(self.build, node, middle)
        return replace(value, node=self.build.reshape(node, shape), levels=())

    def per_channel(
        self, value: Value, constant: NDArray[Any]
    ) -> tuple[Value, NDArray[np.float32]]:
        """One number, or one for each of the last axis of the value, whose order may change.

        Raises
        ------
        UnsupportedError
            Where the constant differs along more than the channels.
        """
        rank = len(value.shape)
        array = without_batch(np.asarray(constant), rank)
        if array is None:
            raise UnsupportedError(f"a constant of shape {constant.shape} differs by image")
        number = uniform(array)
        if number is not None:
            return value, np.array([number], np.float32)
        array = array.reshape((1,) * (rank - array.ndim) + array.shape)
        (varying, *others) = np.flatnonzero(np.array(array.shape) > 1).tolist()
        if others:
            narrow = np.moveaxis(array, 0, -1)  # it may be equal along the others all the same
            if rank == 3 and (narrow == narrow[:1, :1]).all():
                array, varying = array[:, :1, :1], 0
            else:
                raise UnsupportedError(
                    f"a constant of shape {constant.shape} differs along more than the channels"
                )
        vector = array.reshape(-1).astype(np.float32)
        if value.order[-1] != varying:
            if natural_order(rank)[-1] != varying:
                raise UnsupportedError(
                    f"a constant of shape {constant.shape} differs along axis {varying + 1}, which "
                    "is not that of the channels"
                )
            value = self.natural(value)
        features = value.feature_order()
        return value, vector if features is None else vector[features]

    # --- What rules return -----------------------------------------------------------------

    def held(self, node: str, shape: tuple[int, ...]) -> Value:
        """Numbers that the graph holds in the natural order."""
        return Value(node, shape, natural_order(len(shape)))

    def map_of(self, node: str) -> Value:
        """The map that a node of the graph gives."""
        height, width, channels = self.build.types[node].shape
        return Value(node, (channels, height, width), MAP)

    def option(
        self, node: OnnxNode, inputs: list[Any], name: str, index: int, default: Any = None
    ) -> Any:
        """What was an attribute in old versions of ONNX and is a constant input now."""
        if name in node.attributes:
            return node.attributes[name]
        if index >= len(inputs) or inputs[index] is None:
            return default
        if not isinstance(inputs[index], np.ndarray):
            raise UnsupportedError(f"{name} is not constant")
        return inputs[index].tolist()


def has_three_levels(value: Value) -> bool:
    """Whether a comparison gives something of its own where a number equals the threshold."""
    below, at, above = np.broadcast_arrays(*value.levels)
    two = (at == below) | (at == above)
    return not two.all()


def padded(value: Value, before: tuple[int, ...], after: tuple[int, ...], number: float) -> Value:
    """The value inside a constant that the graph need not hold."""
    lengths = zip(before, value.shape, after, strict=True)
    shape = tuple(map(sum, lengths))
    return replace(value, shape=shape, padding=Padding(before, after, number))
