"""A damaged file gives an error of bitconv's own, or loads as the identical network."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitconv.bits import BitArray
from bitconv.errors import FileError
from bitconv.file import hdf5, read, write
from bitconv.file.from_tree import check_header, from_tree
from bitconv.file.to_tree import to_tree
from bitconv.file.tree import digest
from bitconv.graph import Graph, Metadata, Node, TensorType
from bitconv.operators import BinaryConv2d, GlobalAvgPool2d, Sign
from bitconv.scales import ScaleGrid


def small() -> Graph:
    numbers = np.random.default_rng(2)
    weight = BitArray.from_signs(numbers.standard_normal((5, 3, 3, 4)))
    grid = ScaleGrid(numbers.standard_normal((2, 1)), 3, 4)
    nodes = (
        Node("sign", Sign([0.5]), "map"),
        Node("convolution", BinaryConv2d(weight, grid, padding=1), "sign"),
        Node("scores", GlobalAvgPool2d(), "convolution"),
    )
    return Graph({"map": TensorType((4, 4, 4))}, nodes, metadata=Metadata(labels=tuple("abcde")))


SMALL = small()
WHOLE = hdf5.image_of(to_tree(SMALL))
DIGEST = digest(to_tree(SMALL))


def is_identical_or_refused(image: bytes) -> bool:
    """Whether the image loads as the same network (True) or is refused (False)."""
    try:
        graph = from_tree(hdf5.tree_of(image, check_header))
    except FileError:
        return False
    assert digest(to_tree(graph)) == DIGEST
    return True


def test_the_whole_file_is_identical():
    assert is_identical_or_refused(WHOLE)


def test_one_flipped_bit_gives_an_error_or_the_identical_network():
    draw = random.Random(1)
    refused = 0
    for position in draw.sample(range(len(WHOLE)), 400):
        damaged = bytearray(WHOLE)
        damaged[position] ^= 1 << draw.randrange(8)
        refused += not is_identical_or_refused(bytes(damaged))
    assert refused > 300


def test_a_truncated_file_is_refused():
    for length in random.Random(2).sample(range(len(WHOLE)), 200):
        assert not is_identical_or_refused(WHOLE[:length])


SPANS = st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(1, 64))


def overwritten(image: bytes, span: tuple[int, int], content: bytes) -> bytes:
    start, length = span
    return image[:start] + content[:length] + image[start + min(length, len(content)) :]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(SPANS, st.binary(min_size=1, max_size=64)), min_size=1, max_size=4))
def test_overwritten_bytes_give_an_error_or_the_identical_network(changes):
    image = WHOLE
    for span, content in changes:
        image = overwritten(image, span, content)
    is_identical_or_refused(image)


@settings(max_examples=100, deadline=None)
@given(SPANS, st.integers(0, len(WHOLE)))
def test_moved_bytes_give_an_error_or_the_identical_network(span, target):
    start, length = span
    moved = WHOLE[start : start + length]
    rest = WHOLE[:start] + WHOLE[start + length :]
    is_identical_or_refused(rest[:target] + moved + rest[target:])


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_after_the_signature_are_refused(content: bytes):
    assert not is_identical_or_refused(hdf5.SIGNATURE + content)


def test_bytes_after_the_end_change_nothing():
    assert is_identical_or_refused(WHOLE + b"more")


def test_a_damaged_array_beyond_the_headers_is_found_by_the_digest(tmp_path: Path):
    """Contiguous arrays are the one part for which HDF5 keeps no check sum."""
    weight = BitArray.from_signs(np.random.default_rng(3).standard_normal((300, 3, 3, 201)))
    nodes = (Node("sign", Sign([0.0]), "map"), Node("scores", BinaryConv2d(weight), "sign"))
    path = tmp_path / "large.h5"
    write(Graph({"map": TensorType((3, 3, 201))}, nodes), path)
    image = bytearray(path.read_bytes())
    start = bytes(image).index(weight.stream.tobytes())
    image[start + 1000] ^= 4
    path.write_bytes(image)
    with pytest.raises(FileError, match="its content has the SHA-256"):
        read(path)


def test_nothing_is_printed_about_a_damaged_file_read_in_a_thread(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    (tmp_path / "cut.h5").write_bytes(WHOLE[:-1])
    found: list[Exception] = []

    def attempt() -> None:
        try:
            read(tmp_path / "cut.h5")
        except FileError as error:
            found.append(error)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    assert len(found) == 1
    assert capfd.readouterr().err == ""


def test_files_read_at_once_in_several_threads_do_not_mix(tmp_path: Path):
    names = [f"network {number}" for number in range(4)]
    for name in names:
        write(Graph(SMALL.inputs, SMALL.nodes, (), Metadata(name)), tmp_path / name)
    mixed: list[str] = []

    def work(name: str) -> None:
        mixed.extend(
            found
            for found in (read(tmp_path / name).metadata.name for _ in range(10))
            if found != name
        )

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert mixed == []
