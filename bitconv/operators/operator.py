"""What all operators share: parameters, arrays, a shape rule and a reference."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from bitconv.bits import BitArray
from bitconv.errors import GraphError
from bitconv.graph import TensorType
from bitconv.scales import ScaleGrid

Parameter = bool | int | float | str | tuple[int, ...]
StoredArray = NDArray[Any] | BitArray


# How a dataclass field of an operator is stored; a field without is a parameter.
FLOAT32 = {"stored": "float32"}
BITS = {"stored": "bits"}
SCALE = {"stored": "scale"}


@dataclass(frozen=True, eq=False)
class Operator(ABC):
    """What a node means.

    Subclasses are frozen dataclasses whose fields are parameters (numbers, text, tuples of
    integers) and arrays, which are copied, checked to be finite and made read-only.
    """

    name: ClassVar[str]

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if item.metadata.get("stored") == "float32" and value is not None:
                array = np.array(value, dtype=np.float32)
                if not np.isfinite(array).all():
                    raise GraphError(f"{self.name}: {item.name} must be finite")
                array.flags.writeable = False
                object.__setattr__(self, item.name, array)
            elif isinstance(value, list):
                object.__setattr__(self, item.name, tuple(value))
        self.check()

    def check(self) -> None:
        """Raise `GraphError` where parameters and arrays do not fit each other."""

    # The open signatures let each operator name its own inputs.
    @abstractmethod
    def infer(self, *inputs: Any, **named: Any) -> TensorType:
        """The type of the result, or a `GraphError` that says what does not fit."""

    @abstractmethod
    def reference(self, *inputs: Any, **named: Any) -> NDArray[Any]:
        """The result in plain NumPy; this is the definition of the operator.

        Arrays have a leading batch axis. Values of kind ``bits`` are int8 arrays of −1 and +1.
        """

    def parameters(self) -> dict[str, Parameter]:
        """Everything but the arrays, by name."""
        found: dict[str, Parameter] = {}
        for item in fields(self):
            value, stored = getattr(self, item.name), item.metadata.get("stored")
            if stored == "scale" and value is not None:
                found["filters_per_scale"] = value.filters_per_scale
                found["channels_per_scale"] = value.channels_per_scale
            elif stored is None:
                found[item.name] = value
        return found

    def arrays(self) -> dict[str, StoredArray]:
        """The arrays that are present, by name."""
        found: dict[str, StoredArray] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if "stored" in item.metadata and value is not None:
                found[item.name] = value.values if isinstance(value, ScaleGrid) else value
        return found

    @classmethod
    def build(cls, parameters: Mapping[str, Any], arrays: Mapping[str, StoredArray]) -> Self:
        """The operator of what `parameters` and `arrays` returned; nothing may be left over."""
        rest, given = dict(parameters), dict(arrays)
        values: dict[str, Any] = {}
        for item in fields(cls):
            stored = item.metadata.get("stored")
            if stored is None:
                if item.name in rest:
                    values[item.name] = rest.pop(item.name)
            elif item.name in given:
                array = given.pop(item.name)
                if isinstance(array, BitArray) != (stored == "bits"):
                    raise GraphError(f"{cls.name}: {item.name} must be stored as {stored}")
                if stored == "scale":
                    names = ("filters_per_scale", "channels_per_scale")
                    missing = [name for name in names if name not in rest]
                    if missing:
                        raise GraphError(f"{cls.name}: scale needs the parameter {missing[0]}")
                    array = ScaleGrid(array, *(rest.pop(name) for name in names))
                values[item.name] = array
        if rest or given:
            raise GraphError(f"{cls.name} does not take {sorted([*rest, *given])}")
        try:
            return cls(**values)
        except TypeError as error:
            raise GraphError(f"{cls.name}: {error}") from error


def expect_kind(value: TensorType, *kinds: str) -> None:
    """Raise `GraphError` unless the value has one of the kinds."""
    if value.kind not in kinds:
        raise GraphError(f"takes {' or '.join(kinds)}, found {value}")
    if value.planes != 1:
        raise GraphError(f"takes one bit plane, found {value}")


def expect_map(value: TensorType) -> tuple[int, int, int]:
    """Height, width and channels, or a `GraphError`."""
    if len(value.shape) != 3:
        raise GraphError(f"takes a map (height, width, channels), found {value}")
    height, width, channels = value.shape
    return height, width, channels


def expect_channels(array: NDArray[Any], value: TensorType, what: str) -> None:
    """Raise `GraphError` unless `array` holds one number a channel of `value`."""
    if array.shape != value.shape[-1:]:
        raise GraphError(
            f"{what} has shape {array.shape}, but the input {value} has {value.shape[-1]} channels"
        )


def as_float(values: NDArray[Any]) -> NDArray[np.float32]:
    """The values as float32; exact for every kind up to 2**24."""
    return values.astype(np.float32, copy=False)
