"""What all operators share: parameters and arrays in and out, and refusals."""

from dataclasses import MISSING, fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitconv.bits import BitArray
from bitconv.errors import GraphError
from bitconv.operators import (
    OPERATORS,
    ActivationScaleMap,
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
    Pad,
    PRelu,
    Relu,
    Reshape,
    Sign,
    Slice,
    Softmax,
    Transpose,
)
from bitconv.scales import ScaleGrid

SIGNS = BitArray.from_signs(np.resize([1, -1, -1], (4, 3, 3, 2)))
EXAMPLES = [
    ActivationScaleMap((3, 3), 2, 1, (0, 1, 2, 3), 2),
    Add(),
    AvgPool2d(3, 2, 1, True),
    BatchNorm(np.ones((4, 3)), 1e-3),
    BinaryConv2d(weight=SIGNS, scale=ScaleGrid(np.ones((2, 1)), 3, 2), bias=np.ones(4), stride=2),
    BinaryDense(BitArray.from_signs(np.ones((4, 3))), activation_scale=0.25),
    Clip(-1, 6),
    Concat(),
    Conv2d(weight=np.ones((4, 3, 3, 2)), groups=2),
    Dense(np.ones((4, 3)), np.ones(4)),
    Flatten(),
    GlobalAvgPool2d(),
    MaxPool2d((2, 3)),
    Multiply([2.0]),
    Normalize([1.0], [2.0]),
    PRelu([0.25]),
    Pad((1, 2), (3, 4), -1),
    Relu(),
    Reshape((3, 4)),
    Sign([0.5], False),
    Slice((0,), (3,), (2,)),
    Softmax(),
    Transpose((1, 0)),
]
EACH = pytest.mark.parametrize("operator", EXAMPLES, ids=lambda operator: operator.name)


def test_there_is_an_example_of_every_operator():
    assert {type(each) for each in EXAMPLES} == set(OPERATORS.values())


@EACH
def test_an_operator_is_rebuilt_from_its_parameters_and_arrays(operator):
    rebuilt = type(operator).build(operator.parameters(), operator.arrays())
    assert rebuilt.parameters() == operator.parameters()
    assert rebuilt.arrays().keys() == operator.arrays().keys()
    for name, array in operator.arrays().items():
        again = rebuilt.arrays()[name]
        if isinstance(array, BitArray):
            assert (again.shape, again.planes) == (array.shape, array.planes)
            array, again = array.stream, again.stream
        np.testing.assert_array_equal(again, array, strict=True)


@EACH
def test_numpy_parameters_become_plain_python(operator):
    as_numpy = {name: np.asarray(value) for name, value in operator.parameters().items()}
    rebuilt = type(operator).build(as_numpy, operator.arrays())
    assert rebuilt.parameters() == operator.parameters()
    for value in rebuilt.parameters().values():
        assert type(value) in (bool, int, float, str, tuple)
        if isinstance(value, tuple):
            assert {type(item) for item in value} <= {int}


@EACH
def test_an_array_is_copied_and_read_only(operator):
    for item in fields(operator):
        if item.metadata.get("stored") == "float32" and getattr(operator, item.name) is not None:
            array = getattr(operator, item.name)
            assert array.dtype == np.float32
            assert array.flags.c_contiguous
            assert not array.flags.writeable
    for name, array in operator.arrays().items():
        if isinstance(array, np.ndarray) and name != "scale":
            given = array.copy()
            rebuilt = type(operator).build(
                operator.parameters(), {**operator.arrays(), name: given}
            )
            given += 1
            np.testing.assert_array_equal(rebuilt.arrays()[name], array)


@EACH
def test_what_an_operator_does_not_take_is_refused(operator):
    for parameters, arrays in (({"colour": 1}, {}), ({}, {"colour": np.ones(1)})):
        with pytest.raises(GraphError, match=rf"{operator.name} does not take \['colour'\]"):
            type(operator).build(
                {**operator.parameters(), **parameters}, {**operator.arrays(), **arrays}
            )


NEEDED = [
    (operator, item.name)
    for operator in EXAMPLES
    for item in fields(operator)
    if item.default is MISSING
]


@pytest.mark.parametrize(
    ("operator", "name"), NEEDED, ids=[f"{operator.name}-{name}" for operator, name in NEEDED]
)
def test_what_an_operator_needs_is_named_when_it_is_missing(operator, name):
    parameters, arrays = operator.parameters(), operator.arrays()
    (parameters if name in parameters else arrays).pop(name)
    with pytest.raises(GraphError, match=f"{operator.name}: {name} is missing"):
        type(operator).build(parameters, arrays)


WRONG = [
    (MaxPool2d, "kernel", "3"),
    (MaxPool2d, "kernel", 3.0),
    (MaxPool2d, "kernel", None),
    (MaxPool2d, "stride", True),
    (MaxPool2d, "padding", (0.5, 0.5)),
    (Conv2d, "stride", b"1"),
    (Conv2d, "stride", (1, "1")),
    (Conv2d, "groups", 1.0),
    (Conv2d, "groups", True),
    pytest.param(Conv2d, "groups", 10**5000, id="an integer that Python does not print"),
    (Conv2d, "groups", 2**31),
    (Conv2d, "groups", np.uint64(2**64 - 1)),
    (Conv2d, "groups", (1,)),
    (Conv2d, "groups", None),
    (Conv2d, "dilation", np.ones((2, 2), int)),
    (Conv2d, "dilation", np.ones(10**6, int)),
    (Conv2d, "dilation", np.array(["1", "1"])),
    (Conv2d, "dilation", np.ones(2)),
    (BinaryConv2d, "pad_value", -1.0),
    (BinaryConv2d, "activation_scale", "1"),
    (BinaryConv2d, "activation_scale", np.nan),
    (BinaryConv2d, "activation_scale", 10**400),
    (BinaryConv2d, "activation_scale", 1j),
    (BatchNorm, "epsilon", np.nan),
    (BatchNorm, "epsilon", np.float64(1e300)),
    (BatchNorm, "epsilon", True),
    (BatchNorm, "epsilon", None),
    (AvgPool2d, "count_padding", 1),
    (AvgPool2d, "count_padding", "yes"),
    (Sign, "zero_is_positive", np.int64(1)),
    (Sign, "zero_is_positive", None),
    (Reshape, "shape", 12),
    (Reshape, "shape", (12.0,)),
    (Reshape, "shape", (True,)),
    (Reshape, "shape", (1,) * 100),
    (Transpose, "order", "10"),
]


@pytest.mark.parametrize(("operator", "name", "value"), WRONG)
def test_a_parameter_of_another_type_is_refused(operator, name, value):
    (example,) = (each for each in EXAMPLES if type(each) is operator)
    with pytest.raises(GraphError, match=f"^{operator.name}: {name} takes .*, found "):
        operator.build({**example.parameters(), name: value}, example.arrays())


@pytest.mark.parametrize(
    "array",
    [
        np.array(["1.0"]),
        np.array([None]),
        np.array([1j]),
        np.array([True]),
        np.array([np.nan]),
        np.array([np.inf]),
        np.array([1e300]),
        [[1.0], [2.0, 3.0]],
        "1.0",
        None,
        10**400,
        object(),
    ],
)
def test_an_array_that_is_not_of_finite_numbers_is_refused(array):
    with pytest.raises(GraphError, match=r"multiply: factor (takes an array of numbers|must be)"):
        Multiply.build({}, {"factor": array})


def test_signs_and_numbers_are_not_taken_for_each_other():
    signs = BitArray.from_signs(np.ones((4, 3)))
    with pytest.raises(GraphError, match="dense: weight takes an array of numbers"):
        Dense.build({}, {"weight": signs})
    with pytest.raises(GraphError, match="binary_dense: weight takes signs, a BitArray, found nd"):
        BinaryDense.build({}, {"weight": np.ones((4, 3))})
    sharing = {"filters_per_scale": 1, "channels_per_scale": 3}
    with pytest.raises(GraphError, match="binary_dense: scale takes an array of numbers"):
        BinaryDense.build(sharing, {"weight": signs, "scale": signs})


def test_an_array_given_as_a_parameter_is_missing():
    with pytest.raises(GraphError, match="multiply: factor is missing"):
        Multiply.build({"factor": [1.0]}, {})


@pytest.mark.parametrize("missing", ["filters_per_scale", "channels_per_scale"])
def test_a_scale_needs_to_know_how_it_is_shared(missing):
    sharing = {"filters_per_scale": 1, "channels_per_scale": 3}
    del sharing[missing]
    arrays = {"weight": BitArray.from_signs(np.ones((4, 3))), "scale": np.ones((4, 1))}
    with pytest.raises(GraphError, match=f"binary_dense: {missing} takes an integer"):
        BinaryDense.build(sharing, arrays)


def test_a_sharing_without_a_scale_is_refused():
    sharing = {"filters_per_scale": 1, "channels_per_scale": 3}
    with pytest.raises(GraphError, match="binary_dense does not take"):
        BinaryDense.build(sharing, {"weight": BitArray.from_signs(np.ones((4, 3)))})


@pytest.mark.parametrize(
    ("operator", "arity"),
    [(Relu, (1, 1)), (Add, (2, 2)), (BinaryConv2d, (1, 2)), (Concat, (1, None))],
)
def test_the_number_of_inputs_is_known_without_running(operator, arity):
    assert operator.arity() == arity


# --- A hostile file: whatever stands in it, only a GraphError comes out ---------------------------

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 40),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.sampled_from([10**400, -(10**400), 2**31, 2**63, 1e300, 1j, np.float32(1), np.int8(3)]),
)
hostile_parameters = st.one_of(
    scalars,
    st.lists(scalars, max_size=5),
    st.lists(st.integers(0, 4), min_size=1, max_size=4).map(tuple),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20).map(lambda row: np.array(row, "i8")),
    st.lists(st.floats(), max_size=4).map(np.array),
)
shapes = st.lists(st.integers(0, 4), max_size=5).map(tuple)
hostile_arrays = st.one_of(
    shapes.map(lambda shape: np.ones(shape, np.float32)),
    shapes.map(lambda shape: BitArray.from_bits(np.zeros(shape, bool))),
    shapes.map(lambda shape: np.full(shape, np.nan)),
    shapes.map(lambda shape: np.full(shape, "text")),
    st.none(),
)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_no_file_makes_an_operator_raise_anything_but_a_graph_error(data):
    operator = data.draw(st.sampled_from(sorted(OPERATORS.values(), key=lambda each: each.name)))
    (example,) = (each for each in EXAMPLES if type(each) is operator)
    parameters, arrays = example.parameters(), example.arrays()
    for name in [*parameters, "filters_per_scale"]:
        if data.draw(st.booleans()):
            parameters[name] = data.draw(hostile_parameters)
    for name in arrays:
        if data.draw(st.integers(0, 2)) == 0:
            arrays[name] = data.draw(hostile_arrays)
    try:
        kept = operator.build(parameters, arrays).parameters()
    except GraphError:
        return
    assert {type(value) for value in kept.values()} <= {bool, int, float, str, tuple}
