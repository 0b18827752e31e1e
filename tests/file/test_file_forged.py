"""Files whose digest fits, but that hold anything: a network or an error, nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bitconv.errors import FileError
from bitconv.file.from_tree import from_tree
from bitconv.file.to_tree import to_tree
from bitconv.file.tree import DIGEST, Dataset, Group, digest
from bitconv.graph import Graph

INTEGERS = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 9)
TEXTS = st.text(max_size=5) | st.sampled_from(
    ["sign\n", "norm\n", "K\n", "\n", "bits", "raw", "add", "concat", "conv2d", "binary_conv2d"]
)
VALUES = (
    INTEGERS
    | st.booleans()
    | st.floats()
    | TEXTS
    | st.lists(INTEGERS, min_size=1, max_size=5).map(tuple)
)
SHAPES = st.lists(st.integers(1, 5), min_size=1, max_size=5).map(tuple)
NUMBERS = st.sampled_from([0.0, 1.0, -1.0, 3e38, 1e-45, np.inf, np.nan])
ARRAYS = st.builds(lambda shape, x: np.full(shape, x, np.float32), SHAPES, NUMBERS) | st.builds(
    lambda shape, x: np.full(shape, x, np.uint8), SHAPES, st.integers(0, 255)
)


def copied(group: Group) -> Group:
    return Group(
        dict(group.attributes),
        {name: Dataset(d.data, dict(d.attributes)) for name, d in group.datasets.items()},
        {name: copied(child) for name, child in group.groups.items()},
    )


def all_groups(group: Group) -> list[Group]:
    return [group, *(found for child in group.groups.values() for found in all_groups(child))]


def spoil(draw: st.DataObject, tree: Group) -> None:
    """Change one thing somewhere in the tree."""
    group = draw.draw(st.sampled_from(all_groups(tree)))
    holders: list[dict[str, Any]] = [group.attributes]
    holders += [dataset.attributes for dataset in group.datasets.values()]
    attributes = draw.draw(st.sampled_from(holders))
    kind = draw.draw(st.sampled_from(["change", "change", "remove", "add", "data", "group"]))
    if kind == "change" and attributes:
        attributes[draw.draw(st.sampled_from(sorted(attributes)))] = draw.draw(VALUES)
    elif kind == "remove" and attributes:
        del attributes[draw.draw(st.sampled_from(sorted(attributes)))]
    elif kind == "add":
        names = st.sampled_from(["bias", "scale", "shape", "groups", "name", "planes"])
        attributes[draw.draw(names)] = draw.draw(VALUES)
    elif kind == "data" and group.datasets:
        name = draw.draw(st.sampled_from(sorted(group.datasets)))
        data = draw.draw(ARRAYS | TEXTS)
        group.datasets[name] = Dataset(data, group.datasets[name].attributes)
    elif group.groups:
        del group.groups[draw.draw(st.sampled_from(sorted(group.groups)))]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_spoiled_tree_is_a_network_or_an_error(every_operator: Graph, data: st.DataObject):
    tree = copied(to_tree(every_operator))
    for _ in range(data.draw(st.integers(1, 3))):
        spoil(data, tree)
    tree.attributes[DIGEST] = digest(tree)
    try:
        graph = from_tree(tree)
    except FileError:
        return
    assert isinstance(graph, Graph)
