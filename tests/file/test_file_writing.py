"""How a file comes to be: at once or not at all, small, and only what can be read again."""

from __future__ import annotations

import os
import resource
import stat
from dataclasses import fields
from pathlib import Path

import h5py
import numpy as np
import pytest

from bitconv.bits import BitArray
from bitconv.errors import FileError
from bitconv.file import read, write
from bitconv.file.format import NODE_ATTRIBUTES
from bitconv.graph import Graph, Metadata, Node, TensorType
from bitconv.operators import (
    OPERATORS,
    Add,
    BatchNorm,
    BinaryConv2d,
    Conv2d,
    Dense,
    GlobalAvgPool2d,
    PRelu,
    Sign,
)
from bitconv.scales import ScaleGrid


def simple(name: str = "relu", **metadata: object) -> Graph:
    nodes = (Node(name, OPERATORS["relu"](), "x"),)
    return Graph({"x": TensorType((2, 2, 3))}, nodes, metadata=Metadata(**metadata))


def information(graph: Graph) -> int:
    """Bytes of all arrays and of all texts of the metadata."""
    arrays = [array for node in graph.nodes for array in node.operator.arrays().values()]
    texts = [value for value in vars(graph.metadata).values() if isinstance(value, str)]
    return sum(a.stream.nbytes if isinstance(a, BitArray) else a.nbytes for a in arrays) + sum(
        len(text.encode()) for text in (*texts, *graph.metadata.labels)
    )


def residual_network(blocks: int, width: int) -> Graph:
    """Binary residual blocks between a float convolution and a thousand classes."""
    random = np.random.default_rng(4)

    def numbers(*shape: int) -> np.ndarray:
        return random.standard_normal(shape).astype(np.float32)

    nodes, last = [Node("stem", Conv2d(numbers(width, 3, 3, 3), padding=1), "picture")], "stem"
    for block in range(blocks):
        weight = BitArray.from_signs(numbers(width, 3, 3, width))
        grid = ScaleGrid(numbers(-(-width // 8), 1), 8, width)
        statistics = np.abs(numbers(4, width))
        nodes += [
            Node(f"sign {block}", Sign(numbers(width)), last),
            Node(f"convolution {block}", BinaryConv2d(weight, grid, padding=1), f"sign {block}"),
            Node(f"norm {block}", BatchNorm(statistics), f"convolution {block}"),
            Node(f"slope {block}", PRelu(numbers(width)), f"norm {block}"),
            Node(f"sum {block}", Add(), (f"slope {block}", last)),
        ]
        last = f"sum {block}"
    nodes += [
        Node("mean", GlobalAvgPool2d(), last),
        Node("scores", Dense(numbers(1000, width), numbers(1000)), "mean"),
    ]
    labels = tuple(f"class {number}{', long' * (number % 9)}" for number in range(1000))
    picture = {"picture": TensorType((32, 32, 3), "uint8")}
    return Graph(picture, tuple(nodes), metadata=Metadata(labels=labels))


@pytest.mark.parametrize(("blocks", "width"), [(1, 8), (20, 16), (18, 128), (60, 3)])
def test_a_file_is_hardly_larger_than_what_it_holds(blocks: int, width: int, tmp_path: Path):
    graph = residual_network(blocks, width)
    write(graph, tmp_path / "graph.h5")
    allowed = 1.1 * information(graph) + 1024 * len(graph.nodes) + 8192
    assert (tmp_path / "graph.h5").stat().st_size <= allowed


def test_a_file_of_every_operator_is_hardly_larger_than_what_it_holds(
    every_operator: Graph, tmp_path: Path
):
    write(every_operator, tmp_path / "every.h5")
    allowed = 1.1 * information(every_operator) + 1024 * len(every_operator.nodes) + 8192
    assert (tmp_path / "every.h5").stat().st_size <= allowed


def test_signs_take_one_bit_each(tmp_path: Path):
    graph = residual_network(1, 7)
    write(graph, tmp_path / "graph.h5")
    with h5py.File(tmp_path / "graph.h5") as file:
        assert file["nodes/00002/weight"].shape == (-(-7 * 3 * 3 * 7 // 8),)


def test_a_file_is_laid_out_with_check_sums(tmp_path: Path):
    write(simple(), tmp_path / "graph.h5")
    assert (tmp_path / "graph.h5").read_bytes()[8] == 3


def test_a_file_takes_the_place_of_another(tmp_path: Path):
    for name in ("first", "second"):
        write(simple(name), tmp_path / "graph.h5")
    assert read(tmp_path / "graph.h5").nodes[0].name == "second"
    assert os.listdir(tmp_path) == ["graph.h5"]


def test_a_path_may_be_a_text(tmp_path: Path):
    write(simple(), f"{tmp_path}/graph.h5")
    assert read(f"{tmp_path}/graph.h5").outputs == ("relu",)


def test_a_graph_that_the_format_has_no_room_for_leaves_what_was_there(tmp_path: Path):
    write(simple("first"), tmp_path / "graph.h5")
    with pytest.raises(FileError, match="line break"):
        write(simple("two\nlines"), tmp_path / "graph.h5")
    assert read(tmp_path / "graph.h5").nodes[0].name == "first"
    assert os.listdir(tmp_path) == ["graph.h5"]


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path):
    write(simple("first"), tmp_path / "graph.h5")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # as a full disk would be
    try:
        with pytest.raises(FileError, match="File too large"):
            write(simple("second"), tmp_path / "graph.h5")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tmp_path) == ["graph.h5"]
    assert read(tmp_path / "graph.h5").nodes[0].name == "first"


def test_an_interrupted_write_leaves_nothing_behind(tmp_path: Path, monkeypatch):
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(simple(), tmp_path / "graph.h5")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("target", ["missing/graph.h5", "folder", "pipe", "circle", "a\0b"])
def test_a_path_that_cannot_be_written_is_refused(target: str, tmp_path: Path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "circle").symlink_to("circle")
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(FileError, match="cannot be written"):
        write(simple(), tmp_path / target)
    assert sorted(os.listdir(tmp_path)) == before


def test_a_new_file_has_the_permissions_that_the_user_gives_files(tmp_path: Path):
    (tmp_path / "other").touch()
    write(simple(), tmp_path / "graph.h5")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path: Path):
    write(simple("first"), tmp_path / "graph.h5")
    (tmp_path / "graph.h5").chmod(0o640)
    write(simple("second"), tmp_path / "graph.h5")
    assert stat.S_IMODE((tmp_path / "graph.h5").stat().st_mode) == 0o640


def test_a_link_stays_a_link(tmp_path: Path):
    write(simple("first"), tmp_path / "graph.h5")
    (tmp_path / "link.h5").symlink_to("graph.h5")
    write(simple("second"), tmp_path / "link.h5")
    assert (tmp_path / "link.h5").is_symlink()
    assert read(tmp_path / "graph.h5").nodes[0].name == "second"


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (simple("a\0b"), "node .* the character 0"),
        (simple("\ud800"), "node .* not valid Unicode"),
        (simple(labels=("a", "b\nc", "d")), "labels: .* line break"),
        (simple(licence="\0"), "licence: .* the character 0"),
        (simple(source="s" * 64_001), "'source' has 64001 bytes"),
    ],
)
def test_what_could_not_be_read_again_is_refused(graph: Graph, expected: str, tmp_path: Path):
    with pytest.raises(FileError, match=expected):
        write(graph, tmp_path / "graph.h5")
    assert os.listdir(tmp_path) == []


def test_no_operator_has_a_parameter_with_the_name_of_a_nodes_own_attribute():
    for operator in OPERATORS.values():
        assert not {item.name for item in fields(operator)} & set(NODE_ATTRIBUTES)
