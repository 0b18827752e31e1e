"""Graphs from the tree of a file; every attribute and dataset must have its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bitconv.encodings import decode
from bitconv.errors import FileError, GraphError
from bitconv.file.format import (
    CODEC_ATTRIBUTES,
    CODECS_VERSION,
    FORMAT,
    NODE_ATTRIBUTES,
    TEXTS,
    VERSION,
    group_name,
)
from bitconv.file.tree import DIGEST, Dataset, Group, Value, digest
from bitconv.graph import Graph, Metadata, Node, Preparation, TensorType
from bitconv.operators import OPERATORS, Operator
from bitconv.operators.operator import StoredArray

if TYPE_CHECKING:
    from bitconv.feature_maps.map_codec import MapCodec

KINDS = {str: "a text", int: "an integer", tuple: "a row of integers"}
UPGRADE = "upgrade it with: pip install --upgrade bitconv"


def check_header(name: Value, version: Value) -> None:
    """Raise `FileError` unless bitconv reads that format and version."""
    if name != FORMAT:
        raise FileError(f"has the format {name!r}, expected {FORMAT!r}")
    if type(version) is not int or version < 1:
        raise FileError(f"has the format version {version!r}, expected 1 to {VERSION}")
    if version > VERSION:
        raise FileError(
            f"has the format version {version}, but this bitconv reads versions up to {VERSION}; "
            f"{UPGRADE}"
        )


def from_tree(tree: Group) -> Graph:
    """The graph that a tree keeps.

    Raises
    ------
    FileError
        Where the digest is wrong, something is missing, left over or of the wrong kind, or the
        graph does not fit together; with the name of the node.
    """
    root = _Attributes(tree.attributes, "the file")
    expected, found = root.take(DIGEST, str), digest(tree)
    if found != expected:
        raise FileError(f"is damaged: its content has the SHA-256 {found}, not {expected}")
    version = root.take("version", int)
    check_header(root.take("format", str), version)
    outputs = _lines(root.take("outputs", str), "outputs")
    root.finish()
    groups = {"inputs", "metadata", "nodes"}
    if version >= CODECS_VERSION:
        groups.add("codecs")
    _expect_names(tree.groups, groups, "the file")
    _expect_names(tree.datasets, set(), "the file")
    inputs = dict(_input(group, place) for place, group in _numbered(tree, "inputs"))
    if len(inputs) < len(tree.groups["inputs"].groups):
        raise FileError("two inputs have one name")
    nodes = tuple(_node(group, place) for place, group in _numbered(tree, "nodes"))
    codecs = _codecs(tree) if "codecs" in groups else {}
    try:
        return Graph(inputs, nodes, outputs, _metadata(tree.groups["metadata"]), codecs)
    except GraphError as error:
        raise FileError(str(error)) from error


class _Attributes:
    """Attributes that are taken one by one, until none may be left."""

    def __init__(self, attributes: Mapping[str, Value], place: str) -> None:
        self._rest = dict(attributes)
        self._place = place

    def take(self, name: str, kind: type) -> Any:
        """The attribute of that name, which must be there."""
        if name not in self._rest:
            raise FileError(f"{self._place} has no attribute {name!r}")
        return self.find(name, kind)

    def find(self, name: str, kind: type) -> Any:
        """The attribute of that name, or None."""
        value = self._rest.pop(name, None)
        if value is not None and type(value) is not kind:
            raise FileError(f"{self._place}: {name!r} takes {KINDS[kind]}, found {value!r}")
        return value

    def finish(self) -> None:
        """Raise `FileError` if anything is left."""
        if self._rest:
            raise FileError(f"{self._place} does not take the attributes {sorted(self._rest)}")


def _expect_names(found: Mapping[str, Any], expected: set[str], place: str) -> None:
    if set(found) != expected:
        raise FileError(f"{place} takes {sorted(expected)}, found {sorted(found)}")


def _numbered(tree: Group, name: str) -> list[tuple[str, Group]]:
    """Paths and groups of the inputs or nodes, in their order."""
    holder = tree.groups[name]
    _expect_bare(holder, f"the group {name}")
    names = [group_name(number) for number in range(len(holder.groups))]
    if sorted(holder.groups) != names:
        raise FileError(
            f"the group {name} takes groups numbered 00000, 00001 and so on, found "
            f"{sorted(set(holder.groups) - set(names))}"
        )
    return [(f"/{name}/{number}", holder.groups[number]) for number in names]


def _expect_bare(group: Group, place: str) -> None:
    _Attributes(group.attributes, place).finish()
    _expect_names(group.datasets, set(), place)


def _lines(text: str, place: str) -> tuple[str, ...]:
    if not text.endswith("\n"):
        raise FileError(f"{place}: every line must end with a line break, found {text!r}")
    return tuple(text[:-1].split("\n"))


def _name(group: Group, path: str) -> str:
    name: str = _Attributes(group.attributes, path).take("name", str)
    return name


def _input(group: Group, path: str) -> tuple[str, TensorType]:
    name = _name(group, path)
    place = f"input {name!r}"
    attributes = _Attributes(group.attributes, place)
    attributes.take("name", str)
    shape, kind = attributes.take("shape", tuple), attributes.take("kind", str)
    planes = attributes.take("planes", int)
    attributes.finish()
    _expect_names({**group.groups, **group.datasets}, set(), place)
    try:
        return name, TensorType(shape, kind, planes)
    except GraphError as error:
        raise FileError(f"{place}: {error}") from error


def _node(group: Group, path: str) -> Node:
    name = _name(group, path)
    place = f"node {name!r}"
    attributes = _Attributes(group.attributes, place)
    kind = attributes.take("operator", str)
    inputs = _lines(attributes.take("inputs", str), place)
    if kind not in OPERATORS:
        raise FileError(
            f"{place}: the operator {kind!r} is unknown; if a newer bitconv has it, {UPGRADE}"
        )
    _expect_names(group.groups, set(), place)
    try:
        return Node(name, _operator(kind, group), inputs)
    except (FileError, GraphError) as error:
        raise FileError(f"{place}: {error}") from error


def _codecs(tree: Group) -> dict[str, MapCodec]:
    codecs = dict(_codec(group, place) for place, group in _numbered(tree, "codecs"))
    if not codecs or len(codecs) < len(tree.groups["codecs"].groups):
        raise FileError("the group codecs is empty, or has two codecs for one node")
    return codecs


def _codec(group: Group, path: str) -> tuple[str, MapCodec]:
    from bitconv.feature_maps import CODECS
    from bitconv.feature_maps.map_codec import MapCodec

    attributes = _Attributes(group.attributes, path)
    node = attributes.take("node", str)
    place = f"the codec of {node!r}"
    kind, largest = attributes.take("codec", str), attributes.take("largest", int)
    if kind not in CODECS:
        raise FileError(
            f"{place}: the codec {kind!r} is unknown; if a newer bitconv has it, {UPGRADE}"
        )
    _expect_names(group.groups, set(), place)
    given = group.attributes.items()
    parameters = {name: value for name, value in given if name not in CODEC_ATTRIBUTES}
    try:
        arrays = {name: _array(name, dataset) for name, dataset in group.datasets.items()}
        both = sorted(parameters.keys() & arrays.keys())
        if both:
            raise FileError(f"has {both} twice, as attributes and as arrays")
        return node, MapCodec(CODECS[kind].from_parameters(parameters | arrays), largest)
    except (FileError, GraphError) as error:
        raise FileError(f"{place}: {error}") from error


def _operator(kind: str, group: Group) -> Operator:
    given = group.attributes.items()
    parameters = {name: value for name, value in given if name not in NODE_ATTRIBUTES}
    arrays = {name: _array(name, dataset) for name, dataset in group.datasets.items()}
    return OPERATORS[kind].build(parameters, arrays)


def _array(name: str, dataset: Dataset) -> StoredArray:
    if isinstance(dataset.data, str):
        raise FileError(f"array {name!r} is a text, expected numbers")
    try:
        return decode(dataset.data, dataset.attributes)
    except FileError as error:
        raise FileError(f"array {name!r}: {error}") from error


def _metadata(group: Group) -> Metadata:
    place = "the group metadata"
    _expect_names(group.groups, set(), place)
    _expect_names(group.datasets, {"labels"} & set(group.datasets), place)
    attributes = _Attributes(group.attributes, place)
    texts = {name: attributes.find(name, str) or "" for name in TEXTS}
    resize, crop = attributes.find("resize", tuple), attributes.find("crop", tuple)
    interpolation = attributes.find("interpolation", str) or Preparation.interpolation
    attributes.finish()
    try:
        preparation = Preparation(resize, crop, interpolation)
    except GraphError as error:
        raise FileError(str(error)) from error
    return Metadata(labels=_labels(group, place), preparation=preparation, **texts)


def _labels(group: Group, place: str) -> tuple[str, ...]:
    if "labels" not in group.datasets:
        return ()
    labels = group.datasets["labels"]
    if not isinstance(labels.data, str) or labels.attributes:
        raise FileError(f"{place}: labels are one text without attributes")
    return _lines(labels.data, "labels")
