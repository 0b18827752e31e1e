"""What a network is: operators joined by names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from types import MappingProxyType, NoneType
from typing import TYPE_CHECKING, Any, Literal, get_args

from bitconv.errors import GraphError
from bitconv.parameters import plain, plain_integer, plain_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bitconv.feature_maps.map_codec import MapCodec
    from bitconv.operators.operator import Operator

ValueKind = Literal["bits", "uint8", "int32", "float32", "bytes"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
MAX_ELEMENTS = 2**31  # of one value; beyond it a shape is taken for damage
MAX_SIDE = 2**15  # of a picture, in pixels


@dataclass(frozen=True)
class TensorType:
    """Shape and kind of a value, for one image.

    Attributes
    ----------
    shape : tuple of int
        Without the batch axis; maps are (height, width, channels).
    kind : {"bits", "uint8", "int32", "float32", "bytes"}
        ``bits`` are signs, ``bytes`` an encoded map.
    planes : int
        Bit planes of ``bits``; 1 for a sign.
    """

    shape: tuple[int, ...]
    kind: ValueKind = "float32"
    planes: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", plain_shape(self.shape, "shape"))
        object.__setattr__(self, "kind", plain(self.kind, (str,), "kind"))
        object.__setattr__(self, "planes", plain_integer(self.planes, "planes"))
        if self.kind not in get_args(ValueKind):
            raise GraphError(f"unknown kind {self.kind!r}; known are {get_args(ValueKind)}")
        if not self.shape or min(self.shape) < 1 or self.size > MAX_ELEMENTS:
            raise GraphError(f"shape {self.shape} is empty or larger than {MAX_ELEMENTS} elements")
        if self.planes < 1 or (self.planes > 1 and self.kind != "bits"):
            raise GraphError(f"{self.kind} in {self.planes} planes does not exist")

    @property
    def size(self) -> int:
        """Elements."""
        return prod(self.shape)

    @property
    def dtype(self) -> str:
        """The NumPy dtype of the value in memory: int8 for signs, uint8 for encoded bytes."""
        return {"bits": "int8", "bytes": "uint8"}.get(self.kind, self.kind)

    def __str__(self) -> str:
        planes = f" in {self.planes} planes" if self.planes > 1 else ""
        return f"{' × '.join(map(str, self.shape))} {self.kind}{planes}"


@dataclass(frozen=True)
class Node:
    """One operator at its place in a network.

    Attributes
    ----------
    name : str
        Unique in the graph; also the name of the value that the node computes.
    operator : Operator
    inputs : tuple of str
        Names of graph inputs or earlier nodes.
    """

    name: str
    operator: Operator
    inputs: tuple[str, ...]

    def __post_init__(self) -> None:
        from bitconv.operators.operator import Operator  # which imports this module

        object.__setattr__(self, "name", plain(self.name, (str,), "the name of a node"))
        if not isinstance(self.operator, Operator):
            raise GraphError(f"node {self.name!r}: {self.operator!r} is no operator")
        object.__setattr__(self, "inputs", _names(self.inputs, f"node {self.name!r}: inputs"))


@dataclass(frozen=True)
class Preparation:
    """How a picture becomes the input of a network.

    Attributes
    ----------
    resize : tuple of int, optional
        (height, width) to resize to, or (side,) for the shorter side. By default the input's size.
    crop : tuple of int, optional
        (height, width) of the centre crop after resizing.
    interpolation : {"nearest", "bilinear", "bicubic", "lanczos"}
        Antialiased when shrinking, except ``nearest``.
    """

    resize: tuple[int, ...] | None = None
    crop: tuple[int, int] | None = None
    interpolation: Interpolation = "bilinear"

    def __post_init__(self) -> None:
        for name, lengths in (("resize", (1, 2)), ("crop", (2,))):
            value = plain(getattr(self, name), (tuple, NoneType), f"preparation: {name}")
            object.__setattr__(self, name, value)
            if value is not None and (
                len(value) not in lengths or not all(1 <= side <= MAX_SIDE for side in value)
            ):
                raise GraphError(f"preparation: {name} {value} is not a size in pixels")
        interpolation = plain(self.interpolation, (str,), "preparation: interpolation")
        if interpolation not in get_args(Interpolation):
            raise GraphError(f"preparation: unknown interpolation {self.interpolation!r}")


@dataclass(frozen=True)
class Metadata:
    """What travels with a network besides its nodes; all of it optional.

    Attributes
    ----------
    name, licence, source, training_data, accuracy : str
        Free text; `accuracy` is a measured figure with its test set.
    labels : tuple of str
        One a class score.
    preparation : Preparation
    """

    name: str = ""
    labels: tuple[str, ...] = ()
    licence: str = ""
    source: str = ""
    training_data: str = ""
    accuracy: str = ""
    preparation: Preparation = field(default_factory=Preparation)

    def __post_init__(self) -> None:
        for name in ("name", "licence", "source", "training_data", "accuracy"):
            text = plain(getattr(self, name), (str,), f"metadata: {name}")
            object.__setattr__(self, name, text)
        object.__setattr__(self, "labels", _names(self.labels, "metadata: labels"))


@dataclass(frozen=True, eq=False)
class Graph:
    """A network: inputs, nodes in an order in which they can be computed, outputs.

    Construction checks everything that can be known without running: names, order, shapes, kinds.

    Attributes
    ----------
    inputs : mapping of str to TensorType
    nodes : tuple of Node
    outputs : tuple of str
        The last node when not given.
    metadata : Metadata
    codecs : mapping of str to MapCodec
        How maps may be kept encoded, by the name of the node that computes them. The network itself
        computes the same with and without; see `bitconv.feature_maps.compression.compress`.
    types : mapping of str to TensorType
        The type of every input and node, inferred.

    Raises
    ------
    GraphError
        Naming the node and the reason.
    """

    inputs: Mapping[str, TensorType]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...] = ()
    metadata: Metadata = field(default_factory=Metadata)
    codecs: Mapping[str, MapCodec] = field(default_factory=dict)
    types: Mapping[str, TensorType] = field(init=False)

    def __post_init__(self) -> None:
        inputs, nodes = dict(self.inputs), tuple(self.nodes)
        if not inputs or not nodes:
            raise GraphError("a graph needs at least one input and one node")
        outputs = _names(self.outputs, "outputs") or (nodes[-1].name,)
        types = infer_types(inputs, nodes)
        for name in outputs:
            if name not in types:
                raise GraphError(f"output {name!r} is no node or input of the graph")
        if len(set(outputs)) < len(outputs):
            raise GraphError(f"outputs {outputs} name a value twice")
        labels = self.metadata.labels
        if labels and types[outputs[0]].shape[-1] != len(labels):
            raise GraphError(
                f"{len(labels)} labels do not fit the output {outputs[0]!r} of shape "
                f"{types[outputs[0]].shape}"
            )
        codecs = dict(self.codecs)
        _check_codecs(codecs, {node.name: types[node.name] for node in nodes})
        object.__setattr__(self, "inputs", MappingProxyType(inputs))
        object.__setattr__(self, "nodes", nodes)
        object.__setattr__(self, "outputs", outputs)
        object.__setattr__(self, "codecs", MappingProxyType(codecs))
        object.__setattr__(self, "types", MappingProxyType(types))

    def consumers(self) -> dict[str, list[Node]]:
        """For every value, the nodes that read it, in order."""
        readers: dict[str, list[Node]] = {name: [] for name in self.types}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                readers[name].append(node)
        return readers

    def reference(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Every value, those of the inputs included, through the operators' NumPy definitions."""
        values = dict(inputs)
        for node in self.nodes:
            values[node.name] = node.operator.reference(*(values[name] for name in node.inputs))
        return values


def needed_nodes(nodes: Sequence[Node], names: Iterable[str]) -> tuple[Node, ...]:
    """Those of the nodes that the named values depend on, in the same order."""
    needed, found = set(names), []
    for node in reversed(nodes):
        if node.name in needed:
            found.append(node)
            needed.update(node.inputs)
    return tuple(reversed(found))


def infer_types(inputs: Mapping[str, TensorType], nodes: Iterable[Node]) -> dict[str, TensorType]:
    """The type of every value, or a `GraphError` that names the first node that does not fit."""
    for name, value in inputs.items():
        if not plain(name, (str,), "the name of an input"):
            raise GraphError("the name of an input is empty")
        if not isinstance(value, TensorType):
            raise GraphError(f"input {name!r} takes a TensorType, found {value!r}")
    types = dict(inputs)
    for node in nodes:
        if not node.name or node.name in types:
            raise GraphError(f"node {node.name!r}: the name is empty or already taken")
        for name in node.inputs:
            if name not in types:
                raise GraphError(
                    f"node {node.name!r}: its input {name!r} is neither a graph input nor a node "
                    "before it"
                )
        try:
            _check_arity(node)
            types[node.name] = node.operator.infer(*(types[name] for name in node.inputs))
        except GraphError as error:
            raise GraphError(f"node {node.name!r} ({node.operator.name}): {error}") from error
    return types


def _check_codecs(codecs: Mapping[str, MapCodec], computed: Mapping[str, TensorType]) -> None:
    for name, codec in codecs.items():
        if name not in computed:
            raise GraphError(f"there is a codec for {name!r}, which is no node of the graph")
        try:
            codec.check(computed[name])
        except GraphError as error:
            raise GraphError(f"the codec of {name!r}: {error}") from error


def _check_arity(node: Node) -> None:
    least, most = node.operator.arity()
    found = len(node.inputs)
    if found < least or (most is not None and found > most):
        expected = f"{least}" if least == most else f"{least} to {most or 'any number of'}"
        raise GraphError(f"takes {expected} input(s), found {found}")


def _names(values: Iterable[str] | str, what: str) -> tuple[str, ...]:
    """Texts as a tuple; one text stands for itself."""
    if isinstance(values, str):
        return (values,)
    return tuple(plain(value, (str,), what) for value in values)
