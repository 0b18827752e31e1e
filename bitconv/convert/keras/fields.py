"""The configuration of a layer, a JSON object of which nothing is known: its types are checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bitconv.errors import FileError
from bitconv.parameters import MAX_FLOAT32, MAX_INTEGER

Pair = tuple[int, int]


@dataclass(frozen=True)
class Fields:
    """A JSON object; every getter raises `FileError` where the entry is of another type.

    An entry that is missing has the default, and where there is none, is an error. Keras writes all
    entries; defaults are for those that some version did not have yet.
    """

    values: Mapping[str, Any]

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def get(self, name: str, default: Any = None) -> Any:
        """An entry of any type."""
        return self.values.get(name, default)

    def flag(self, name: str, default: bool) -> bool:
        value = self.get(name, default)
        return bool(value) if isinstance(value, bool) else _refuse(name, "true or false", value)

    def text(self, name: str, default: str | None = None) -> str:
        value = self.get(name, default)
        return value if isinstance(value, str) else _refuse(name, "a text", value)

    def number(self, name: str, default: float | None = None) -> float:
        value = self.get(name, default)
        return float(value) if is_number(value) else _refuse(name, "a number", value)

    def optional_number(self, name: str) -> float | None:
        return None if self.get(name) is None else self.number(name)

    def integer(self, name: str, default: int | None = None) -> int:
        value = self.get(name, default)
        return int(value) if _is_integer(value) else _refuse(name, "an integer", value)

    def integers(self, name: str) -> tuple[int, ...]:
        value = self.get(name)
        if isinstance(value, list) and all(map(_is_integer, value)):
            return tuple(value)
        raise _refusal(name, "a list of integers", value)

    def pair(self, name: str, default: int | None = None) -> Pair:
        """Two integers, or one that stands for both."""
        value = self.get(name, default)
        if _is_integer(value):
            return value, value
        if isinstance(value, list) and len(value) == 2 and all(map(_is_integer, value)):
            return value[0], value[1]
        raise _refusal(name, "one integer or two", value)

    def sides(self, name: str) -> tuple[Pair, Pair]:
        """((top, bottom), (left, right)), of one integer, two, or two pairs."""
        value = self.get(name)
        if isinstance(value, list) and len(value) == 2:
            rows, columns = (Fields({name: entry}).pair(name) for entry in value)
            return rows, columns
        return self.pair(name), self.pair(name)

    def mapping(self, name: str) -> Fields:
        return Fields(as_object(self.get(name), name))


def as_object(value: Any, what: str) -> dict[str, Any]:
    """A JSON object, or a `FileError`."""
    return value if isinstance(value, dict) else _refuse(what, "an object", value)


def as_list(value: Any, what: str) -> list[Any]:
    """A JSON array, or a `FileError`."""
    return value if isinstance(value, list) else _refuse(what, "a list", value)


def is_number(value: Any) -> bool:
    """Whether the value is a finite number in the range of float32."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and abs(value) <= MAX_FLOAT32


def shown(value: Any) -> str:
    """A value for a message, in a few letters."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _is_integer(value: Any) -> bool:
    is_int = isinstance(value, int) and not isinstance(value, bool)
    return is_int and abs(value) <= MAX_INTEGER


def _refuse(name: str, expected: str, found: Any) -> Any:
    raise _refusal(name, expected, found)


def _refusal(name: str, expected: str, found: Any) -> FileError:
    return FileError(f"{name!r} takes {expected}, found {shown(found)}")
