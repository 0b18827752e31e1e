"""Graphs as the tree of a file."""

from __future__ import annotations

from collections.abc import Iterable

from bitconv.encodings import encode
from bitconv.errors import FileError
from bitconv.file.format import FORMAT, MAX_GROUPS, TEXTS, VERSION, group_name
from bitconv.file.tree import DIGEST, Dataset, Group, Value, digest
from bitconv.graph import Graph, Metadata, Node, TensorType


def to_tree(graph: Graph) -> Group:
    """The tree that keeps a graph, its digest included.

    Raises
    ------
    FileError
        Where the format has no room for something, such as a name with a line break.
    """
    groups = {
        "metadata": _metadata(graph.metadata),
        "inputs": _numbered([_input(name, value) for name, value in graph.inputs.items()]),
        "nodes": _numbered([_node(node) for node in graph.nodes]),
    }
    attributes: dict[str, Value] = {
        "format": FORMAT,
        "version": VERSION,
        "outputs": _lines(graph.outputs, "outputs"),
    }
    signed = {**attributes, DIGEST: digest(Group(attributes, groups=groups))}
    return Group(signed, groups=groups)


def _numbered(groups: list[Group]) -> Group:
    if len(groups) > MAX_GROUPS:
        raise FileError(f"a file holds at most {MAX_GROUPS} nodes, found {len(groups)}")
    return Group(groups={group_name(number): group for number, group in enumerate(groups)})


def _input(name: str, value: TensorType) -> Group:
    place = f"input {name!r}"
    return Group(
        {
            "name": _line(name, place),
            "kind": value.kind,
            "planes": value.planes,
            "shape": value.shape,
        }
    )


def _node(node: Node) -> Group:
    place = f"node {node.name!r}"
    attributes: dict[str, Value] = {
        "name": _line(node.name, place),
        "operator": node.operator.name,
        "inputs": _lines(node.inputs, place),
    }
    for name, value in node.operator.parameters().items():
        attributes[name] = _text(value, place) if isinstance(value, str) else value
    arrays = node.operator.arrays()
    return Group(attributes, {name: Dataset(*encode(array)) for name, array in arrays.items()})


def _metadata(metadata: Metadata) -> Group:
    given = {name: getattr(metadata, name) for name in TEXTS}
    attributes: dict[str, Value] = {name: _text(text, name) for name, text in given.items() if text}
    preparation = metadata.preparation
    attributes["interpolation"] = preparation.interpolation
    if preparation.resize is not None:
        attributes["resize"] = preparation.resize
    if preparation.crop is not None:
        attributes["crop"] = preparation.crop
    labels = {"labels": Dataset(_lines(metadata.labels, "labels"))} if metadata.labels else {}
    return Group(attributes, labels)


def _lines(values: Iterable[str], place: str) -> str:
    return "".join(f"{_line(value, place)}\n" for value in values)


def _line(value: str, place: str) -> str:
    if "\n" in _text(value, place):
        raise FileError(f"{place}: {value!r} holds a line break")
    return value


def _text(value: str, place: str) -> str:
    if "\0" in value:
        raise FileError(f"{place}: {value!r} holds the character 0")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise FileError(f"{place}: {value!r} is not valid Unicode") from error
    return value
