"""docs/format.md says what the code does: its example is run, its table of operators compared."""

from __future__ import annotations

import hashlib
import re
import runpy
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path

import h5py
import numpy as np
import pytest

from bitconv.file import read, write
from bitconv.graph import Graph
from bitconv.operators import OPERATORS

PAGE = (Path(__file__).parents[2] / "docs" / "format.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
SHARING = {"filters_per_scale", "channels_per_scale"}  # parameters that come with a scale


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a fresh Python ran the page's example."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "example.py").write_text(EXAMPLE, encoding="utf-8")
    subprocess.run([sys.executable, "-I", "example.py"], cwd=folder, check=True, timeout=120)
    return folder


def test_the_example_of_the_page_does_not_use_bitconv():
    assert set(re.findall(r"^(?:import|from) (\w+)", EXAMPLE, flags=re.MULTILINE)) == {
        "hashlib",
        "h5py",
        "numpy",
    }


def test_the_file_of_the_example_computes_what_the_page_describes(example: Path):
    graph = read(example / "small.h5")
    picture = np.random.default_rng(3).integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    value = picture
    for node in graph.nodes:
        value = node.operator.reference(value)

    weight = np.where(np.random.default_rng(1).standard_normal((4, 3, 3, 3)) < 0, -1, 1)
    signs = np.pad(np.where(picture[0] < 127.5, -1, 1), ((1, 1), (1, 1), (0, 0)))
    scores = []
    for number, alpha in enumerate((0.25, 0.25, 0.5, 0.5)):
        pixels = [
            (signs[y : y + 3, x : x + 3] * weight[number]).sum() for y in range(8) for x in range(8)
        ]
        scores.append(alpha * np.mean(pixels))
    np.testing.assert_allclose(value, [scores], rtol=1e-6)
    assert graph.metadata.labels == ("cat", "dog", "frog", "horse")
    assert graph.metadata.licence == "CC0-1.0"


def test_the_walk_of_the_page_gives_the_digest_that_is_written(
    example: Path, every_operator: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    page = runpy.run_path(str(example / "example.py"))
    write(every_operator, tmp_path / "every.h5")
    with h5py.File(tmp_path / "every.h5") as file:
        walked = hashlib.sha256(b"".join(page["walk"](file))).hexdigest()
        assert walked == file.attrs["sha256"].decode()


def test_the_walk_of_the_page_begins_as_the_page_shows(
    example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    page = runpy.run_path(str(example / "example.py"))
    shown = re.search(r"begins like this:\n\n((?:    .*\n)+)", PAGE)
    assert shown is not None
    with h5py.File(tmp_path / "small.h5") as file:
        walked = b"".join(page["walk"](file))
    assert walked.startswith(re.sub(r"^    ", "", shown[1], flags=re.MULTILINE).encode())


def rows() -> dict[str, tuple[dict[str, str], dict[str, str]]]:
    """Parameters and arrays of each operator in the page's table, with what is said of each."""
    found = {}
    for name, parameters, arrays in re.findall(
        r"^\| `(\w+)` \| (?:x|x, y|x, K \(optional\)|one or more) \| (.*) ?\| (.*) ?\|$",
        PAGE,
        flags=re.MULTILINE,
    ):
        found[name] = tuple(
            dict(re.findall(r"`(\w+)` ([^;]+?) *(?:;|$)", cell)) for cell in (parameters, arrays)
        )
    return found


def test_the_page_lists_every_operator():
    assert set(rows()) == set(OPERATORS)


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_the_page_lists_the_parameters_and_arrays_of_an_operator(name: str):
    parameters, arrays = rows()[name]
    items = fields(OPERATORS[name])
    assert set(parameters) - SHARING == {i.name for i in items if "stored" not in i.metadata}
    assert set(arrays) == {i.name for i in items if "stored" in i.metadata}
    assert ("scale" in arrays) == (set(parameters) >= SHARING)


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_the_page_gives_the_defaults_of_an_operator(name: str):
    parameters, arrays = rows()[name]
    for item in fields(OPERATORS[name]):
        if "stored" in item.metadata:
            assert ("optional" in arrays[item.name]) == (item.default is None)
        else:
            _, _, default = parameters[item.name].partition(" = ")
            assert default == shown_default(item.default)


def shown_default(value: object) -> str:
    """A default as the page writes it."""
    if value is MISSING:
        return ""
    if value is None:
        return "kernel"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}"
