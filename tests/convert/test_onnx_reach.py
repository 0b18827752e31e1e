"""Which numbers a value can take: what is said of it holds for all that the operators compute."""

from __future__ import annotations

from contextlib import suppress
from itertools import product

import numpy as np
import pytest
from onnx_networks import RANDOM, signs

from bitconv.bits import BitArray
from bitconv.convert.onnx.building import Build
from bitconv.convert.onnx.reach import Reach, steps_of
from bitconv.errors import GraphError
from bitconv.graph import TensorType
from bitconv.operators import (
    Add,
    AvgPool2d,
    BatchNorm,
    BinaryConv2d,
    Clip,
    Concat,
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
from bitconv.scales import ScaleGrid

IMAGES = RANDOM.integers(-3, 4, (40, 4, 4, 2)).astype(np.float32)
SHIFT = BatchNorm(np.array([[0.5, -2, 1], [1, 0.25, 0], [0, 0, 0], [1, 1, 1]]), 0.0)
BEHIND_SUMS: list[Operator] = [
    Add(),
    AvgPool2d(2),
    Clip(-1.25, 2.0),
    Concat(),
    Flatten(),
    GlobalAvgPool2d(),
    MaxPool2d(2),
    Multiply(np.array([0.5, -1, 3])),
    Normalize(np.array([1.0]), np.array([2.0])),
    Pad((1, 0, 0), (0, 0, 0), -37.0),
    PRelu(np.array([0.25, -1, 0])),
    Relu(),
    Reshape((2, 4, 6)),
    SHIFT,
    Slice((0, 0, 1), (4, 4, 3), (1, 1, 1)),
    Transpose((2, 0, 1)),
]


def _build(layer: BinaryConv2d) -> tuple[Build, dict[str, np.ndarray]]:
    build = Build({"image": TensorType((4, 4, 2))})
    build.add(Sign(np.zeros(1)), "image")
    build.add(layer, "sign")
    sign = Sign(np.zeros(1)).reference(IMAGES)
    return build, {"image": IMAGES, "sign": sign, "binary_conv2d": layer.reference(sign)}


def _append(
    build: Build, values: dict[str, np.ndarray], operator: Operator, name: str
) -> tuple[str, np.ndarray]:
    inputs = (name, name) if isinstance(operator, Add | Concat) else (name,)
    appended = build.add(operator, *inputs)
    values[appended] = operator.reference(*(values[each] for each in inputs))
    return appended, values[appended]


def _assert_holds(reach: Reach, numbers: np.ndarray) -> None:
    """All numbers are within the bounds, and are said to be hit."""
    rows = numbers.reshape(-1, numbers.shape[-1]).astype(np.float64)
    assert (rows >= reach.low).all()
    assert (rows <= reach.high).all()
    if reach.has_steps:
        for row in rows[:: max(1, len(rows) // 50)]:
            assert reach.meets(row).all()


@pytest.mark.parametrize("first", BEHIND_SUMS, ids=lambda each: each.name)
def test_what_is_said_of_chains_behind_sums_of_signs_is_true(first: Operator) -> None:
    weight = BitArray.from_signs(signs(3, 3, 3, 2))
    for pad_value, second in product((-1, 0, 1), BEHIND_SUMS):
        build, values = _build(BinaryConv2d(weight, padding=1, pad_value=pad_value))
        name, result = _append(build, values, first, "binary_conv2d")
        _assert_holds(build.reach(name), result)
        with suppress(GraphError):  # the two may not fit together
            name, result = _append(build, values, second, name)
            _assert_holds(build.reach(name), result)


def test_sums_of_an_odd_number_of_signs_are_never_zero() -> None:
    weight = BitArray.from_signs(signs(3, 1, 1, 2))
    build, _ = _build(BinaryConv2d(weight))
    assert build.reach("binary_conv2d").meets(np.zeros(1)).all()
    odd = BinaryConv2d(BitArray.from_signs(signs(3, 3, 3, 1)), groups=1)
    build = Build({"image": TensorType((4, 4, 1))})
    build.add(odd, build.add(Sign(np.zeros(1)), "image"))
    assert not build.reach("binary_conv2d").meets(np.zeros(1)).any()


def test_a_scale_for_each_channel_leaves_steps_where_they_are_few() -> None:
    grid = np.array([[0.5, 1.0], [1.0, 2.0], [0.3, 0.7]])
    weight = BitArray.from_signs(signs(3, 1, 1, 2))
    build, _ = _build(BinaryConv2d(weight, ScaleGrid(grid[:2].repeat(2, 0)[:3], 1, 1)))
    assert build.reach("binary_conv2d").has_steps
    build, _ = _build(BinaryConv2d(weight, ScaleGrid(grid, 1, 1)))
    assert not build.reach("binary_conv2d").has_steps


def test_whole_numbers_are_known_as_such() -> None:
    assert steps_of(2.0, -8, 8).is_whole
    assert not steps_of(0.5).is_whole
    assert not steps_of(0.0).is_whole
    assert steps_of(1.0, 0, 4).affine(2.0, -3.0).is_whole
    assert not steps_of(1.0, 0, 4).affine(0.5, 0.0).is_whole
    assert steps_of(1.0, 0, 4).clipped(0.0, 2.0).is_whole
    assert not steps_of(1.0, 0, 4).clipped(0.0, 2.5).is_whole
