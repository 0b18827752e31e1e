"""Operators that move elements, followed one element at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitconv.errors import GraphError
from bitconv.graph import TensorType
from bitconv.operators import Concat, Flatten, Pad, Reshape, Slice, Transpose

DTYPES = {"bits": np.int8, "float32": np.float32, "int32": np.int32, "uint8": np.uint8}
SHAPE = (3, 4, 5)
KINDS = pytest.mark.parametrize("kind", DTYPES)


def values_of(kind: str, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Two images whose elements can be told apart, as far as the kind allows."""
    numbers = np.arange(2 * np.prod(shape)).reshape(2, *shape)
    return (
        np.where(numbers % 3, 1, -1).astype(np.int8)
        if kind == "bits"
        else numbers.astype(DTYPES[kind])
    )


def checked(operator, kind: str, *values: np.ndarray) -> np.ndarray:
    """The result, once its shape and dtype are seen to be as inferred."""
    result = operator.reference(*values)
    inferred = operator.infer(*(TensorType(value.shape[1:], kind) for value in values))
    assert inferred == TensorType(result.shape[1:], kind)
    assert (len(result), result.dtype) == (2, DTYPES[kind])
    return result


@KINDS
def test_concat_puts_channels_behind_one_another(kind):
    first, second, third = (values_of(kind, (3, 4, channels)) for channels in (1, 64, 5))
    result = checked(Concat(), kind, first, second, third)
    np.testing.assert_array_equal(result[..., :1], first)
    np.testing.assert_array_equal(result[..., 1:65], second)
    np.testing.assert_array_equal(result[..., 65:], third)


@KINDS
def test_concat_of_one_value_is_that_value(kind):
    values = values_of(kind)
    np.testing.assert_array_equal(checked(Concat(), kind, values), values)


@pytest.mark.parametrize(
    "other",
    [
        TensorType((3, 4, 2), "int32"),
        TensorType((3, 5, 2)),
        TensorType((4, 2)),
        TensorType((3, 4, 2), "bytes"),
    ],
)
def test_concat_of_values_that_differ_in_more_than_channels_is_refused(other):
    with pytest.raises(GraphError, match="takes"):
        Concat().infer(TensorType((3, 4, 1)), other)


def test_concat_of_several_bit_planes_is_refused():
    with pytest.raises(GraphError, match="takes one bit plane"):
        Concat().infer(TensorType((3, 4, 1), "bits"), TensorType((3, 4, 1), "bits", 2))


@KINDS
def test_pad_surrounds_with_its_constant(kind):
    values, before, after = values_of(kind), (1, 0, 2), (0, 3, 1)
    result = checked(Pad(before, after, 1.0), kind, values)
    for n, *place in np.ndindex(result.shape):
        source = [at - first for at, first in zip(place, before, strict=True)]
        inside = all(0 <= at < length for at, length in zip(source, SHAPE, strict=True))
        assert result[n, *place] == (values[n, *source] if inside else 1)


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("bits", 0.0, "bits are padded with -1 or 1"),
        ("uint8", -1.0, "uint8 is padded with 0 to 255"),
        ("uint8", 2.5, "uint8 is padded with 0 to 255"),
        ("int32", 0.5, "int32 is padded with an integer"),
        ("int32", 2.0**25, "int32 is padded with an integer"),
    ],
)
def test_a_constant_that_the_kind_does_not_hold_is_refused(kind, value, message):
    with pytest.raises(GraphError, match=message):
        Pad((1,), (1,), value).infer(TensorType((3,), kind))


def test_pad_refuses_negative_lengths_and_infinite_constants():
    with pytest.raises(GraphError, match="pad: padding must not be negative"):
        Pad((1, -1), (1, 1))
    with pytest.raises(GraphError, match="pad: value must be finite"):
        Pad((1,), (1,), np.inf)


def test_pad_to_an_absurd_size_is_refused():
    with pytest.raises(GraphError, match="larger than 2147483648 elements"):
        Pad((0, 2**30), (0, 0)).infer(TensorType((2, 2)))


@KINDS
def test_flatten_keeps_the_order_of_rows_columns_and_channels(kind):
    values = values_of(kind)
    result = checked(Flatten(), kind, values)
    for n, row, column, channel in np.ndindex(values.shape):
        assert result[n, (row * 4 + column) * 5 + channel] == values[n, row, column, channel]


@KINDS
def test_reshape_keeps_the_order_of_elements(kind):
    values = values_of(kind)
    result = checked(Reshape((6, 10)), kind, values)
    for n, row, column in np.ndindex(result.shape):
        index = row * 10 + column
        assert result[n, row, column] == values[n, index // 20, index // 5 % 4, index % 5]


@pytest.mark.parametrize("shape", [(7, 8), (), (-1,), (0, 60), (2**31, 2**31), (1,) * 17])
def test_reshape_to_another_size_is_refused(shape):
    with pytest.raises(GraphError):
        Reshape(shape).infer(TensorType(SHAPE))


runs = st.integers(1, 12).flatmap(
    lambda length: st.tuples(
        st.just(length), st.integers(0, length - 1), st.integers(1, length), st.integers(1, 13)
    )
)


@given(st.lists(runs.filter(lambda run: run[1] < run[2]), min_size=1, max_size=4))
@settings(max_examples=50, deadline=None)
def test_a_slice_takes_every_step_th_element_from_start_to_stop(axes):
    shape, start, stop, step = zip(*axes, strict=True)
    values = values_of("float32", shape)
    result = checked(Slice(start, stop, step), "float32", values)
    for n, *place in np.ndindex(result.shape):
        source = [first + at * by for at, first, by in zip(place, start, step, strict=True)]
        assert all(at < last for at, last in zip(source, stop, strict=True))
        assert result[n, *place] == values[n, *source]


@pytest.mark.parametrize(
    ("start", "stop", "step"),
    [(0, 6, 1), (-1, 3, 1), (3, 3, 1), (4, 2, 1), (0, 3, 0), (0, 3, -1), (0, 2**31 - 1, 1)],
)
def test_a_slice_outside_its_value_is_refused(start, stop, step):
    with pytest.raises(GraphError, match="axis 0 of 5 float32 cannot be sliced"):
        Slice((start,), (stop,), (step,)).infer(TensorType((5,)))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0), (2, 1, 0)])
@KINDS
def test_transpose_renames_axes(kind, order):
    values = values_of(kind)
    result = checked(Transpose(order), kind, values)
    for n, *place in np.ndindex(result.shape):
        source = [0, 0, 0]
        for at, axis in zip(place, order, strict=True):
            source[axis] = at
        assert result[n, *place] == values[n, *source]


@pytest.mark.parametrize("order", [(0, 1), (0, 1, 1), (0, 1, 3), (-1, 0, 1), ()])
def test_an_order_that_is_no_permutation_is_refused(order):
    with pytest.raises(GraphError, match="is no permutation of the axes"):
        Transpose(order).infer(TensorType(SHAPE))


@pytest.mark.parametrize(
    "operator", [Pad((1,), (1,)), Slice((0,), (1,), (1,)), Pad((1,) * 3, (1,) * 2)]
)
def test_a_number_of_axes_that_does_not_fit_is_refused(operator):
    with pytest.raises(GraphError, match="needs 3 entries for 3 × 4 × 5 float32"):
        operator.infer(TensorType(SHAPE))


@pytest.mark.parametrize(
    "operator",
    [Concat(), Flatten(), Pad((0,), (0,)), Reshape((3,)), Slice((0,), (1,), (1,)), Transpose((0,))],
    ids=lambda operator: operator.name,
)
def test_encoded_bytes_cannot_be_moved(operator):
    with pytest.raises(GraphError, match="takes bits or float32 or int32 or uint8"):
        operator.infer(TensorType((3,), "bytes"))
