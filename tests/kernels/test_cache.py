"""Compiled kernels on disk."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba import prange, typeof
from numba.core import config

import bitconv
from bitconv.kernels import cache
from bitconv.kernels.cache import is_cached, kernel

PACKAGE = Path(bitconv.__file__).parent
VALUES = np.arange(10.0)
SIGNATURE = (typeof(VALUES),)


def total(values):
    result = 0.0
    for index in prange(values.size):
        result += values[index]
    return result


def reciprocal(value):
    return 1.0 / value


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache for the kernels that a test makes."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    cache.cache_directory.cache_clear()
    yield cache.cache_directory()
    cache.cache_directory.cache_clear()


def hits(dispatcher):
    return sum(dispatcher.stats.cache_hits.values())


def test_the_folder_of_numba_is_honoured(folder, tmp_path):
    assert folder.is_relative_to(tmp_path)


def test_a_kernel_is_compiled_once(folder):
    first, second = kernel(total), kernel(total)
    assert not is_cached(first, SIGNATURE)
    assert first(VALUES) == 45
    assert hits(first) == 0
    assert is_cached(second, SIGNATURE)
    assert second(VALUES) == 45
    assert hits(second) == 1
    assert len(list(folder.iterdir())) == 1


def test_every_signature_has_its_own_code(folder):
    single = VALUES.astype(np.float32)
    kernel(total)(VALUES)
    assert not is_cached(kernel(total), (typeof(single),))
    assert kernel(total)(single) == 45
    assert len(list(folder.iterdir())) == 2


def test_serial_and_parallel_code_are_kept_apart(folder):
    kernel(total)(VALUES)
    parallel = kernel(parallel=True)(total)
    assert not is_cached(parallel, SIGNATURE)
    assert parallel(VALUES) == 45
    assert len(list(folder.iterdir())) == 2


@pytest.mark.usefixtures("folder")
def test_checked_and_unchecked_code_are_kept_apart(monkeypatch):
    kernel(total)(VALUES)
    monkeypatch.setattr(config, "BOUNDSCHECK", not config.BOUNDSCHECK)
    assert not is_cached(kernel(total), SIGNATURE)


@pytest.mark.parametrize("content", [b"", b"no code at all", None], ids=["empty", "text", "cut"])
def test_a_damaged_file_is_replaced(folder, content):
    kernel(total)(VALUES)
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if content is None else content)
    again = kernel(total)
    assert again(VALUES) == 45
    assert hits(again) == 0
    mended = kernel(total)
    assert mended(VALUES) == 45
    assert hits(mended) == 1


def test_what_a_closure_encloses_is_not_mixed_up(folder):
    def times(factor):
        return kernel(lambda value: value * factor)

    assert [times(2)(10), times(3)(10)] == [20, 30]
    assert not list(folder.iterdir())


def test_without_a_folder_kernels_are_compiled_and_not_kept(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "file" / "folder"))
    cache.cache_directory.cache_clear()
    try:
        assert cache.cache_directory() is None
        lone = kernel(total)
        assert not is_cached(lone, SIGNATURE)
        assert lone(VALUES) == 45
        assert is_cached(lone, SIGNATURE)
    finally:
        cache.cache_directory.cache_clear()


def test_a_folder_that_vanishes_does_no_harm(folder):
    lone = kernel(total)
    shutil.rmtree(folder)
    assert lone(VALUES) == 45


@pytest.mark.usefixtures("folder")
def test_division_by_zero_follows_numpy():
    assert kernel(reciprocal)(0.0) == np.inf


COUNT = """
import numpy as np
from bitconv.kernels import tiles
from bitconv.kernels.cache import kernel

@kernel
def count(activations, offsets, weights, counts):
    tiles.xnor_tile(activations, offsets, weights, 0, 1, 0, 1, 0, 1, counts, 0)

counts = np.zeros(tiles.BIT_PIXELS * tiles.BIT_FILTERS, np.int32)
count(
    np.full(1, 2**64 - 1, np.uint64),
    np.zeros(tiles.BIT_PIXELS, np.int64),
    np.zeros(tiles.BIT_FILTERS, np.uint64),
    counts,
)
assert np.all(counts == 64)
print(sum(count.stats.cache_hits.values()))
"""

FOLDER = "from bitconv.kernels import cache; print(cache.cache_directory())"


def start(script, package=PACKAGE, **environment):
    """A process that runs a Python file with bitconv from the folder of a package."""
    inherited = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    return subprocess.Popen(
        [sys.executable, script],
        env=inherited | {"PYTHONPATH": str(package.parent)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(process):
    printed, errors = process.communicate()
    assert process.returncode == 0, errors
    return printed.strip()


def test_processes_that_compile_at_once_share_what_they_make(tmp_path):
    script, folder = tmp_path / "count.py", tmp_path / "cache"
    script.write_text(COUNT)
    for process in [start(script, NUMBA_CACHE_DIR=str(folder)) for _ in range(2)]:
        output(process)
    assert output(start(script, NUMBA_CACHE_DIR=str(folder))) == "1"
    assert len([path for path in folder.rglob("*") if path.is_file()]) == 1


def test_an_edit_to_any_kernel_file_begins_another_folder(tmp_path):
    script, package = tmp_path / "folder.py", tmp_path / "copy" / "bitconv"
    script.write_text(FOLDER)
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__", "data"))
    before = output(start(script, package, NUMBA_CACHE_DIR=str(tmp_path)))
    with (package / "kernels" / "microkernel.py").open("a") as source:
        source.write("# an edit\n")
    assert output(start(script, package, NUMBA_CACHE_DIR=str(tmp_path))) != before


@pytest.mark.skipif(sys.platform != "linux", reason="where the cache lies depends on the system")
def test_the_cache_lies_in_the_users_cache_folder(tmp_path):
    script = tmp_path / "folder.py"
    script.write_text(FOLDER)
    folder = Path(output(start(script, XDG_CACHE_HOME=str(tmp_path))))
    assert folder.parent == tmp_path / "bitconv"
