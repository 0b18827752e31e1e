"""Values as they come from a file or a caller: made plain Python and NumPy, or refused."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.errors import GraphError, InputError

MAX_INTEGER = 2**31 - 1
MAX_ENTRIES = 16  # of a tuple; no value has more axes
MAX_FLOAT32 = float(np.finfo(np.float32).max)

EXPECTED: dict[type, str] = {
    bool: "True or False",
    int: f"an integer within ±{MAX_INTEGER}",
    float: "a number of the range of float32",
    str: "a text",
    tuple: f"up to {MAX_ENTRIES} integers within ±{MAX_INTEGER}",
    NoneType: "None",
}


def plain(value: Any, kinds: Iterable[type], what: str) -> Any:
    """A parameter as plain Python.

    Parameters
    ----------
    value
        Python or NumPy; an array or a list stands for a tuple.
    kinds : iterable of type
        What is taken, out of bool, int, float, str, tuple (of int) and None's type. An int is
        taken for a float; a bool is never taken for an int.
    what : str
        The parameter's name, for the message.

    Raises
    ------
    GraphError
        Where the value is of no such kind. NaN is none; infinity is a float.
    """
    plain_value = value
    if isinstance(value, np.generic | np.ndarray) and value.size <= MAX_ENTRIES:
        plain_value = value.tolist()
    for kind in kinds:
        if kind is NoneType and value is None:
            return None
        if kind is bool and isinstance(plain_value, bool):
            return plain_value
        if kind is str and isinstance(plain_value, str):
            return str(plain_value)
        if kind is int and _is_integer(plain_value):
            return int(plain_value)
        if kind is float and _is_real(plain_value):
            return float(plain_value)
        if kind is tuple and _are_integers(plain_value):
            return tuple(map(int, plain_value))
    expected = " or ".join(EXPECTED[kind] for kind in kinds)
    raise GraphError(f"{what} takes {expected}, found {_shown(value)}")


def plain_integer(value: Any, what: str) -> int:
    """A single integer; see `plain`."""
    number: int = plain(value, (int,), what)
    return number


def plain_shape(value: Any, what: str) -> tuple[int, ...]:
    """A tuple of integers; see `plain`."""
    shape: tuple[int, ...] = plain(value, (tuple,), what)
    return shape


def positive_integer(value: Any, what: str) -> int:
    """An argument that counts something, from 1 up; `InputError` where it is none."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < 1:
        raise InputError(f"{what} takes a whole number from 1 up, found {_shown(value)}")
    return int(value)


def finite_float32(value: Any, what: str) -> NDArray[np.float32]:
    """A read-only copy in C order, or a `GraphError` where there are other things than numbers."""
    try:
        numbers = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise GraphError(f"{what} takes an array of numbers: {error}") from error
    if numbers.dtype.kind not in "fiu":
        raise GraphError(f"{what} takes an array of numbers, found the type {numbers.dtype}")
    with np.errstate(over="ignore"):
        array = np.array(numbers, dtype=np.float32, order="C")
    if not np.isfinite(array).all():
        raise GraphError(f"{what} must be finite in float32")
    array.flags.writeable = False
    return array


def _is_integer(value: Any) -> bool:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return is_number and -MAX_INTEGER <= value <= MAX_INTEGER


def _are_integers(value: Any) -> bool:
    is_row = isinstance(value, tuple | list) and len(value) <= MAX_ENTRIES
    return is_row and all(map(_is_integer, value))


def _is_real(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= MAX_FLOAT32 or value in (np.inf, -np.inf)


def _shown(value: Any) -> str:
    try:
        return reprlib.repr(value)
    except ValueError:  # Python prints no integers of thousands of digits
        return "an integer of thousands of digits"
