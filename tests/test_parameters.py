"""Values from outside made plain Python and NumPy."""

from types import NoneType

import numpy as np
import pytest

from bitconv.errors import GraphError
from bitconv.parameters import finite_float32, plain


@pytest.mark.parametrize(
    ("value", "kinds", "expected"),
    [
        (3, (int,), 3),
        (np.uint8(3), (int,), 3),
        (np.array(3), (int,), 3),
        (3, (float,), 3.0),
        (np.float32(0.5), (float,), 0.5),
        (np.inf, (float,), np.inf),
        (True, (bool,), True),
        (np.bool_(False), (bool,), False),
        (np.str_("a"), (str,), "a"),
        ([1, 2], (tuple,), (1, 2)),
        (np.array([1, 2], np.int16), (int, tuple), (1, 2)),
        ((), (tuple,), ()),
        (None, (tuple, NoneType), None),
    ],
)
def test_a_value_becomes_plain_python(value, kinds, expected):
    found = plain(value, kinds, "stride")
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "kinds"),
    [
        (True, (int,)),
        (1, (bool,)),
        (1.0, (int,)),
        (np.nan, (float,)),
        (1e39, (float,)),
        (None, (int, tuple)),
        ("1", (int, float, tuple)),
        (b"a", (str,)),
        ((1.0,), (tuple,)),
        ((1,) * 17, (tuple,)),
        (np.ones((2, 2), int), (tuple,)),
    ],
)
def test_a_value_of_another_kind_is_refused_by_name(value, kinds):
    with pytest.raises(GraphError, match=r"^stride takes .*, found "):
        plain(value, kinds, "stride")


def test_the_message_shows_even_what_cannot_be_printed():
    with pytest.raises(GraphError, match="found an integer of thousands of digits"):
        plain(10**5000, (int,), "stride")
    with pytest.raises(GraphError) as caught:
        plain("x" * 10**6, (int,), "stride")
    assert len(str(caught.value)) < 200


def test_numbers_become_a_contiguous_read_only_copy_in_float32():
    numbers = np.arange(6.0).reshape(2, 3).T
    array = finite_float32(numbers, "weight")
    numbers[0, 0] = 9
    assert array.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert (array.dtype, array.flags.c_contiguous, array.flags.writeable) == (
        np.float32,
        True,
        False,
    )
