"""The architecture in a Keras file: which layers are called, in which order, on which values.

Models within models are taken apart, and a layer that is used twice is called twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bitconv.convert.keras.fields import Fields, as_list, as_object, shown
from bitconv.convert.keras.identifiers import bare
from bitconv.errors import FileError, UnsupportedError

MODELS = ("Functional", "Sequential")
MAX_ENTRIES = 50_000  # layers and calls, of a model within once for each time it is called
MAX_DEPTH = 8  # of models within models


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer of a model.

    Attributes
    ----------
    path : tuple of str
        The names of the models that it lies in, then its own.
    kind : str
        The name of its class.
    config : Fields
    """

    path: tuple[str, ...]
    kind: str
    config: Fields

    @property
    def name(self) -> str:
        return "/".join(self.path)


@dataclass(frozen=True, eq=False)
class Call:
    """A layer at work.

    Attributes
    ----------
    layer : Layer
    value : str
        What the result is called.
    inputs : tuple of str
    rest : tuple
        What else the layer is called with, by position or by name.
    """

    layer: Layer
    value: str
    inputs: tuple[str, ...]
    rest: tuple[Any, ...] = ()


@dataclass(frozen=True, eq=False)
class Architecture:
    """A model as a list of calls.

    Attributes
    ----------
    name : str
    input_value : str
    input_shape : tuple of int
        Without the batch.
    calls : tuple of Call
        Each after those whose values it takes.
    outputs : tuple of str
    """

    name: str
    input_value: str
    input_shape: tuple[int, ...]
    calls: tuple[Call, ...]
    outputs: tuple[str, ...]


def architecture_of(model: Any) -> Architecture:
    """Read the configuration of a model.

    Raises
    ------
    FileError
        Where it is not what Keras writes, or the model has not one input of a fixed shape.
    UnsupportedError
        Where a model within is called with more than values.
    """
    entry = Fields(as_object(model, "the model's configuration"))
    kind = _kind_of(entry.text("class_name"), entry.get("config"))
    if kind not in MODELS:
        raise FileError(
            f"holds a model of the class {shown(kind)}, expected one of {', '.join(MODELS)}"
        )
    reader = _Reader()
    outputs = reader.model(kind, entry.get("config"), (), None)
    if len(reader.inputs) != 1:
        raise FileError(f"the model takes {len(reader.inputs)} inputs, expected one")
    ((value, shape),) = reader.inputs.items()
    config = entry.get("config")
    name = config.get("name") if isinstance(config, dict) else None
    return Architecture(
        name if isinstance(name, str) else "",
        value,
        _image_shape(shape),
        tuple(reader.calls),
        tuple(outputs),
    )


def _image_shape(shape: Any) -> tuple[int, ...]:
    lengths = shape[1:] if isinstance(shape, list) else []
    if not lengths or not all(type(length) is int and length > 0 for length in lengths):
        raise FileError(
            f"the model's input has the shape {shown(shape)}, expected (batch, height, width, "
            "channels) with all but the batch fixed; build the model again on images of one size"
        )
    return tuple(lengths)


@dataclass
class _Reader:
    """Collects the calls of a model and of the models within it."""

    inputs: dict[str, Any] = field(default_factory=dict)  # shapes by value
    calls: list[Call] = field(default_factory=list)
    values: set[str] = field(default_factory=set)
    repeats: Counter[str] = field(default_factory=Counter)
    entries: int = 0

    def model(
        self, kind: str, config: Any, path: tuple[str, ...], given: list[str] | None
    ) -> list[str]:
        """Append the calls of a model and return its outputs.

        Parameters
        ----------
        kind : str
        config : dict, or list of the very old Sequential
        path : tuple of str
        given : list of str, optional
            The values that a model within a model is called with.
        """
        if len(path) > MAX_DEPTH:
            raise FileError(f"models lie more than {MAX_DEPTH} deep in one another")
        if kind == "Sequential":
            return self._sequential(config, path, given)
        return self._functional(Fields(as_object(config, "config")), path, given)

    def _sequential(self, config: Any, path: tuple[str, ...], given: list[str] | None) -> list[str]:
        listed = config if isinstance(config, list) else Fields(as_object(config, "config"))
        entries = listed if isinstance(listed, list) else as_list(listed.get("layers"), "layers")
        self._count(len(entries) + 1)
        layers = [layer_of(entry, path) for entry in entries]
        values = given
        if values is None:
            built = None if isinstance(listed, list) else listed.get("build_input_shape")
            if not layers:
                raise FileError("the model has no layers")
            first = layers[0]
            name = first.path[-1] if first.kind == "InputLayer" else f"{first.path[-1]}_input"
            values = [self._input(path, name, _shape_in(first.config) or built)]
        for layer in layers:
            if layer.kind != "InputLayer":
                values = self._call(layer, values, ())
        return values

    def _functional(
        self, config: Fields, path: tuple[str, ...], given: list[str] | None
    ) -> list[str]:
        entries = [
            Fields(as_object(entry, "a layer")) for entry in as_list(config.get("layers"), "layers")
        ]
        layers = {entry.text("name"): layer_of(entry.values, path) for entry in entries}
        if len(layers) != len(entries):
            raise FileError("two layers have one name")
        values: dict[_Place, list[str]] = {}
        for index, (name, number, _) in enumerate(
            _places(config.get("input_layers"), "input_layers")
        ):
            shape = _shape_in(layers[name].config) if name in layers else None
            if given is not None and index >= len(given):
                raise FileError(f"the model {path[-1]!r} takes more inputs than it is given")
            value = given[index] if given is not None else self._input(path, name, shape)
            values[name, number] = [value]
        outputs = _places(config.get("output_layers"), "output_layers")
        models = {name: layer.kind for name, layer in layers.items() if layer.kind in MODELS}
        nodes = _nodes(entries)
        self._count(len(entries) + sum(1 + len(node.sources) for node in nodes.values()) + 1)
        nodes, outputs = _numbered(nodes, outputs, models)
        for place, node in _in_order(nodes, values):
            inputs = [_value_of(values, source) for source in node.sources]
            values[place] = self._call(layers[place[0]], inputs, node.rest)
        return [_value_of(values, place) for place in outputs]

    def _call(self, layer: Layer, inputs: list[str], rest: tuple[Any, ...]) -> list[str]:
        if layer.kind in MODELS:
            if rest:
                raise UnsupportedError(f"{layer.name} ({layer.kind}): is called with {shown(rest)}")
            return self.model(layer.kind, layer.config.values, layer.path, inputs)
        value = self._unused(layer.name)
        self.calls.append(Call(layer, value, tuple(inputs), rest))
        return [value]

    def _input(self, path: tuple[str, ...], name: str, shape: Any) -> str:
        value = self._unused("/".join((*path, name)))
        self.inputs[value] = shape
        return value

    def _unused(self, name: str) -> str:
        candidate = name
        while candidate in self.values:
            self.repeats[name] += 1
            candidate = f"{name}:{self.repeats[name] + 1}"
        self.values.add(candidate)
        return candidate

    def _count(self, entries: int) -> None:
        """Bound the work: a small file may say that models call one another thousands of times."""
        self.entries += entries
        if self.entries > MAX_ENTRIES:
            raise FileError(f"the model calls more than {MAX_ENTRIES} layers")


def layer_of(entry: Any, path: tuple[str, ...]) -> Layer:
    """The layer that an entry of a model's ``layers`` describes, in the models of that path."""
    fields = Fields(as_object(entry, "a layer"))
    config = fields.get("config")
    kind = _kind_of(fields.text("class_name"), config)
    if kind == "Sequential" and isinstance(config, list):
        config = {"layers": config}
    inner = Fields(as_object(config, "config"))
    name = fields.get("name") or inner.get("name")
    if not isinstance(name, str) or not name:
        raise FileError(f"a layer of the class {shown(kind)} has no name")
    return Layer((*path, name), kind, inner)


def _kind_of(class_name: str, config: Any) -> str:
    """The class; of a model with inputs, outputs and layers it is functional, whatever its name."""
    name = bare(class_name)
    has_ends = isinstance(config, dict) and {"input_layers", "output_layers"} <= config.keys()
    return "Functional" if has_ends and name != "Sequential" else name


def _shape_in(config: Fields) -> Any:
    """The shape of an input, which each version calls otherwise."""
    return config.get("batch_input_shape") or config.get("batch_shape")


# --- Functional models: nodes and their order ------------------------------------------------

_Place = tuple[str, int]  # a layer's name and the number of the call
_Source = tuple[str, int, int]  # and which of the values of the call


@dataclass(frozen=True, eq=False)
class _Node:
    """One call of a layer: what it takes."""

    sources: tuple[_Source, ...]
    rest: tuple[Any, ...]
    is_keras_3: bool = False


def _nodes(entries: list[Fields]) -> dict[_Place, _Node]:
    return {
        (entry.text("name"), index): _node(given)
        for entry in entries
        for index, given in enumerate(as_list(entry.get("inbound_nodes", []), "inbound_nodes"))
    }


def _numbered(
    nodes: Mapping[_Place, _Node], outputs: list[_Source], models: Mapping[str, str]
) -> tuple[dict[_Place, _Node], list[_Source]]:
    """Nodes and outputs with the calls of models within numbered alike.

    Keras counts the making of a functional model as its first call, though it is not in the file.
    Keras 3 does so where it names the outputs. Keras 2 does so everywhere, but not with every
    model; as all that is in the file leads to an output, the last call has the highest number that
    is named.
    """
    if any(node.is_keras_3 for node in nodes.values()):
        return dict(nodes), [
            (name, number - (models.get(name) == "Functional"), tensor)
            for name, number, tensor in outputs
        ]
    last: dict[str, int] = {}
    for name, number, _ in [*outputs, *(s for node in nodes.values() for s in node.sources)]:
        last[name] = max(number, last.get(name, 0))
    calls = Counter(name for name, _ in nodes)
    shift = {name: last.get(name, 0) + 1 - calls[name] for name in models}
    return {(name, n + shift.get(name, 0)): node for (name, n), node in nodes.items()}, outputs


def _node(given: Any) -> _Node:
    """A node of Keras 3, ``{"args": [...], "kwargs": {...}}``, or of Keras 2, a list."""
    sources: list[_Source] = []
    rest: list[Any] = []
    if isinstance(given, dict):
        entry = Fields(given)
        _collect_tensors(entry.get("args", []), sources, rest)
        for name, value in entry.mapping("kwargs").values.items():
            _collect_argument(name, value, sources, rest, _collect_tensors)
        return _Node(tuple(sources), tuple(rest), is_keras_3=True)
    listed = as_list(given, "an inbound node")
    if listed and isinstance(listed[0], str):  # of a layer that takes one value
        listed = [listed]
    for source in listed:
        if not isinstance(source, list) or not 3 <= len(source) <= 4:
            raise FileError(f"an inbound node is {shown(source)}")
        sources.append(_source(source[:3]))
        for name, value in as_object(source[3] if len(source) == 4 else {}, "kwargs").items():
            _collect_argument(name, value, sources, rest, _collect_keras_2)
    return _Node(tuple(sources), tuple(rest))


def _collect_argument(
    name: str, value: Any, sources: list[_Source], rest: list[Any], collect: Any
) -> None:
    """Named arguments that change nothing are left out."""
    if (name == "training" and value in (False, None)) or value is None or name == "name":
        return
    before = len(rest)
    collect(value, sources, rest)
    if len(rest) > before:
        rest[before:] = [(name, value)]


def _collect_tensors(value: Any, sources: list[_Source], rest: list[Any]) -> None:
    if isinstance(value, list):
        for entry in value:
            _collect_tensors(entry, sources, rest)
    elif isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        sources.append(_source(Fields(value).mapping("config").get("keras_history")))
    elif value is not None:
        rest.append(value)


def _collect_keras_2(value: Any, sources: list[_Source], rest: list[Any]) -> None:
    if isinstance(value, list) and len(value) == 3 and isinstance(value[0], str):
        sources.append(_source(value))
    else:
        rest.append(value)


def _source(value: Any) -> _Source:
    match value:
        case [str(name), int(node), int(tensor)]:
            return name, node, tensor
    raise FileError(f"a value is named by {shown(value)}, expected layer, call and number")


def _places(value: Any, what: str) -> list[_Source]:
    """Inputs or outputs: one place, or a list of them."""
    match value:
        case [str(), int(), int()]:
            return [_source(value)]
    return [_source(place) for place in as_list(value, what)]


def _value_of(values: Mapping[_Place, list[str]], source: _Source) -> str:
    name, node, tensor = source
    found = values.get((name, node))
    if found is None or not 0 <= tensor < len(found):
        raise FileError(f"the value {source} of the layer {name!r} does not exist")
    return found[tensor]


def _in_order(
    nodes: Mapping[_Place, _Node], ready: Mapping[_Place, Any]
) -> Iterator[tuple[_Place, _Node]]:
    """The nodes, each after those that it takes values of; what nothing leads to is an error."""
    missing: dict[_Place, int] = {}
    readers: dict[_Place, list[_Place]] = {}
    for place, node in nodes.items():
        if place not in ready:
            sources = {source[:2] for source in node.sources}
            missing[place] = len(sources - set(ready))
            for source in sources:
                readers.setdefault(source, []).append(place)
    queue = [place for place, count in missing.items() if not count]
    for place in queue:  # which grows
        yield place, nodes[place]
        for reader in readers.get(place, []):
            missing[reader] -= 1
            if not missing[reader]:
                queue.append(reader)
    if len(queue) < len(missing):
        left = next(place for place, count in missing.items() if count)
        raise FileError(f"the layer {left[0]!r} takes values that no layer before it makes")
