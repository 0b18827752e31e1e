"""A file of every version of the format must still load, and compute what it computed."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from bitconv.file import read, write
from bitconv.graph import Graph
from bitconv.operators import OPERATORS

FIXTURES = Path(__file__).parents[1] / "fixtures"


def test_version_1_loads_and_computes_what_it_did():
    graph = read(FIXTURES / "version_1.h5")
    with np.load(FIXTURES / "version_1.npz") as recorded:
        values = {"picture": recorded["picture"]}
        for node in graph.nodes:
            values[node.name] = node.operator.reference(*(values[name] for name in node.inputs))
        for name in graph.outputs:
            np.testing.assert_allclose(values[name], recorded[name], rtol=1e-5, atol=1e-6)


def test_version_1_has_the_operators_and_metadata_that_it_was_written_with(every_operator: Graph):
    graph = read(FIXTURES / "version_1.h5")
    assert {node.operator.name for node in graph.nodes} <= set(OPERATORS)
    assert [node.name for node in graph.nodes] == [node.name for node in every_operator.nodes]
    assert graph.metadata == every_operator.metadata
    assert graph.types == every_operator.types


def test_version_1_is_what_is_written_today(tmp_path: Path):
    write(read(FIXTURES / "version_1.h5"), tmp_path / "today.h5")
    digests = set()
    for path in (FIXTURES / "version_1.h5", tmp_path / "today.h5"):
        with h5py.File(path) as file:
            digests.add(file.attrs["sha256"])
    assert len(digests) == 1
