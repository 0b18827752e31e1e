"""What all operators share: parameters, arrays, a shape rule and a reference."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from functools import cache
from types import NoneType, UnionType
from typing import Any, ClassVar, Self, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from bitconv.bits import BitArray
from bitconv.errors import GraphError
from bitconv.graph import TensorType
from bitconv.parameters import finite_float32, plain
from bitconv.scales import ScaleGrid

Parameter = bool | int | float | str | tuple[int, ...]
StoredArray = NDArray[Any] | BitArray
Reference = TypeVar("Reference", bound=Callable[..., Any])

# How a dataclass field of an operator is stored; a field without is a parameter.
FLOAT32 = {"stored": "float32"}
BITS = {"stored": "bits"}
SCALE = {"stored": "scale"}
EXPECTED = {"bits": "signs, a BitArray", "scale": "a ScaleGrid", "codec": "a Codec"}
SHARING = ("filters_per_scale", "channels_per_scale")  # the parameters that come with a scale


def ieee(reference: Reference) -> Reference:
    """Let a reference leave the range of float32 as IEEE 754 says, to ±inf and NaN, unwarned."""
    return np.errstate(over="ignore", invalid="ignore")(reference)


@dataclass(frozen=True, eq=False)
class Operator(ABC):
    """What a node means.

    Subclasses are frozen dataclasses. Their fields are parameters, which become what the type hint
    names (bool, int, float, str, tuple of int), and arrays, which are copied, checked to be finite
    and made read-only. A field's metadata may name a function that completes a parameter
    (``complete``). Whatever does not fit raises `GraphError`.
    """

    name: ClassVar[str]

    def __post_init__(self) -> None:
        try:
            for item in fields(self):
                value = _accept(item, getattr(self, item.name), _kinds(type(self))[item.name])
                object.__setattr__(self, item.name, value)
            self.check()
        except GraphError as error:
            raise GraphError(f"{self.name}: {error}") from error

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

    @classmethod
    def arity(cls) -> tuple[int, int | None]:
        """The least and the largest number of inputs; None where there is no largest."""
        _, *inputs = inspect.signature(cls.infer).parameters.values()
        if any(each.kind is each.VAR_POSITIONAL for each in inputs):
            return 1, None
        return sum(each.default is each.empty for each in inputs), len(inputs)

    def parameters(self) -> dict[str, Parameter]:
        """Everything but the arrays, by name."""
        found: dict[str, Parameter] = {}
        for item in fields(self):
            value, stored = getattr(self, item.name), item.metadata.get("stored")
            if stored == "scale" and value is not None:
                found.update({name: getattr(value, name) for name in SHARING})
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
        """The operator of what `parameters` and `arrays` returned; nothing may be left over.

        Raises
        ------
        GraphError
            Where something is missing, left over or not what the operator takes.
        """
        rest, given = dict(parameters), dict(arrays)
        values: dict[str, Any] = {}
        for item in fields(cls):
            source = given if "stored" in item.metadata else rest
            if item.name in source:
                values[item.name] = source.pop(item.name)
            elif item.default is MISSING:
                raise GraphError(f"{cls.name}: {item.name} is missing")
            if item.metadata.get("stored") == "scale" and item.name in values:
                sharing = {name: rest.pop(name, None) for name in SHARING}
                values[item.name] = _scale_grid(cls.name, values[item.name], sharing)
        if rest or given:
            raise GraphError(f"{cls.name} does not take {sorted([*rest, *given])}")
        return cls(**values)


def _scale_grid(operator: str, values: Any, sharing: dict[str, Any]) -> ScaleGrid:
    try:
        return ScaleGrid(values, **sharing)
    except GraphError as error:
        raise GraphError(f"{operator}: {error}") from error


@cache
def _kinds(operator: type[Operator]) -> dict[str, tuple[type, ...]]:
    """The types that each field's hint names, without their type arguments."""
    hints = get_type_hints(operator)
    return {
        item.name: tuple(get_origin(option) or option for option in _options(hints[item.name]))
        for item in fields(operator)
    }


def _options(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if isinstance(hint, UnionType) else (hint,)


def _accept(item: Field[Any], value: Any, kinds: tuple[type, ...]) -> Any:
    """The value of a field as the operator keeps it, or a `GraphError`."""
    stored = item.metadata.get("stored")
    if stored is None:
        parameter = plain(value, dict.fromkeys(kinds), item.name)
        complete = item.metadata.get("complete")
        return parameter if complete is None else complete(parameter, item.name)
    if value is None and NoneType in kinds:
        return None
    if stored == "float32":
        return finite_float32(value, item.name)
    if not isinstance(value, kinds):
        expected = EXPECTED[stored]
        raise GraphError(f"{item.name} takes {expected}, found {type(value).__name__}")
    return value


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


def running_sum(terms: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The float32 sum, one addition after another from zero."""
    total = np.zeros((), np.float32)
    for term in terms:
        total = total + term
    return total
