"""Graphs as the tree of a file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from bitconv.encodings import encode
from bitconv.errors import FileError
from bitconv.file.format import CODECS_VERSION, FORMAT, MAX_GROUPS, TEXTS, group_name
from bitconv.file.tree import DIGEST, Dataset, Group, Value, digest
from bitconv.graph import Graph, Metadata, Node, TensorType
from bitconv.operators import OPERATORS

if TYPE_CHECKING:
    from bitconv.feature_maps.map_codec import MapCodec


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
    if graph.codecs:
        groups["codecs"] = _numbered([_codec(name, graph.codecs[name]) for name in graph.codecs])
    attributes: dict[str, Value] = {
        "format": FORMAT,
        "version": CODECS_VERSION if graph.codecs else 1,
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
    if node.operator.name not in OPERATORS:
        raise FileError(
            f"{place}: a file has no {node.operator.name}; write the network as it is without "
            "feature_maps, its codecs included"
        )
    attributes: dict[str, Value] = {
        "name": _line(node.name, place),
        "operator": node.operator.name,
        "inputs": _lines(node.inputs, place),
    }
    for name, value in node.operator.parameters().items():
        attributes[name] = _text(value, place) if isinstance(value, str) else value
    arrays = node.operator.arrays()
    return Group(attributes, {name: Dataset(*encode(array)) for name, array in arrays.items()})


def _codec(name: str, stored: MapCodec) -> Group:
    place = f"the codec of {name!r}"
    attributes: dict[str, Value] = {
        "node": _line(name, place),
        "codec": stored.codec.name,
        "largest": stored.largest,
    }
    arrays = {}
    for parameter, value in stored.codec.parameters().items():
        if isinstance(value, np.ndarray):
            arrays[parameter] = Dataset(*encode(value))
        else:
            attributes[parameter] = _text(value, place) if isinstance(value, str) else value
    return Group(attributes, arrays)


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
