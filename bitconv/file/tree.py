"""The content of a file as plain data: groups with attributes and datasets, and their SHA-256."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Value = bool | int | float | str | tuple[int, ...]

DIGEST = "sha256"  # the attribute of the root that holds the digest of all the rest


@dataclass(frozen=True, eq=False)
class Dataset:
    """An array of float32 or uint8, or a text, with the attributes that describe it."""

    data: NDArray[Any] | str
    attributes: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Group:
    """What stands under one name: attributes, datasets and further groups."""

    attributes: dict[str, Value] = field(default_factory=dict)
    datasets: dict[str, Dataset] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)


def as_array(value: Value) -> NDArray[Any]:
    """A number or a tuple of integers with the type that it has in a file."""
    if isinstance(value, bool):
        return np.array(value, dtype="u1")
    return np.array(value, dtype="<f8" if isinstance(value, float) else "<i8")


def digest(root: Group) -> str:
    """SHA-256 over the canonical walk that docs/format.md specifies, in hexadecimal."""
    attributes = {name: value for name, value in root.attributes.items() if name != DIGEST}
    total = hashlib.sha256()
    for record in _walk(Group(attributes, root.datasets, root.groups), ""):
        total.update(record)
    return total.hexdigest()


def _walk(group: Group, path: str) -> Iterator[bytes]:
    yield f"group {path or '/'}\n".encode()
    yield from _attributes(group.attributes, path or "/")
    for name in sorted({**group.datasets, **group.groups}):
        if name in group.groups:
            yield from _walk(group.groups[name], f"{path}/{name}")
        else:
            dataset = group.datasets[name]
            yield from _record("dataset", f"{path}/{name}", dataset.data)
            yield from _attributes(dataset.attributes, f"{path}/{name}")


def _attributes(attributes: dict[str, Value], path: str) -> Iterator[bytes]:
    for name in sorted(attributes):
        yield from _record("attribute", f"{path}@{name}", attributes[name])


def _record(what: str, path: str, value: Value | NDArray[Any]) -> Iterator[bytes]:
    """A line with type and shape, then the bytes of the value."""
    if isinstance(value, str):
        content, kind, shape = value.encode(), "text", str(len(value.encode()))
    else:
        array = value if isinstance(value, np.ndarray) else as_array(value)
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        content, kind = little.tobytes(), array.dtype.name
        shape = "x".join(map(str, array.shape)) or "scalar"
    yield f"{what} {path} {kind} {shape}\n".encode()
    yield content
