"""Machine code on disk."""

import os
import shutil
import subprocess
import sys

import pytest
from numba.core import config

from bitconv.kernels import store
from bitconv.kernels.cache_folder import cache_directory
from bitconv.kernels.machine_code import MachineCode

CODE = MachineCode("symbol", ("outside",), ("module:hook",), bytes(range(256)))

SOFTMAX = """
import sys
from bitconv.kernels.registry import address
assert address("softmax")
print("numba" in sys.modules)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    cache_directory.cache_clear()
    yield cache_directory()
    cache_directory.cache_clear()


def test_what_was_written_is_read(folder):
    assert not store.is_stored("some")
    assert store.read("some") is None
    store.write("some", CODE)
    assert store.is_stored("some")
    assert store.read("some") == CODE
    assert len(list(folder.iterdir())) == 1


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", ["BOUNDSCHECK", "LOOP_VECTORIZE"])
def test_code_for_other_settings_of_numba_is_kept_apart(monkeypatch, name):
    store.write("some", CODE)
    monkeypatch.setattr(config, name, not getattr(config, name))
    assert not store.is_stored("some")


@pytest.mark.parametrize("content", [b"", b"no code at all", None], ids=["empty", "text", "cut"])
def test_a_damaged_file_is_none_and_is_replaced(folder, content):
    store.write("some", CODE)
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if content is None else content)
    assert store.read("some") is None
    store.write("some", CODE)
    assert store.read("some") == CODE


def test_without_a_folder_nothing_is_kept(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "file" / "folder"))
    cache_directory.cache_clear()
    try:
        assert cache_directory() is None
        store.write("some", CODE)
        assert not store.is_stored("some")
        assert store.read("some") is None
    finally:
        cache_directory.cache_clear()


def test_a_folder_that_vanishes_is_made_again(folder):
    shutil.rmtree(folder)
    store.write("some", CODE)
    assert store.read("some") == CODE


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
def test_others_may_read_what_was_compiled_where_the_umask_lets_them(folder):
    before = os.umask(0o022)
    try:
        store.write("some", CODE)
    finally:
        os.umask(before)
    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o644


def start(script, folder):
    return subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "NUMBA_CACHE_DIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(process):
    printed, errors = process.communicate()
    assert process.returncode == 0, errors
    return printed.strip()


def kernel_files(folder):
    return list(folder.rglob("*.kernel"))


def test_processes_that_compile_at_once_share_what_they_make(tmp_path):
    compiling = [start(SOFTMAX, tmp_path) for _ in range(2)]
    assert [output(process) for process in compiling] == ["True", "True"]
    assert len(kernel_files(tmp_path)) == 1
    assert output(start(SOFTMAX, tmp_path)) == "False"  # loaded, not compiled


def test_damaged_code_is_compiled_anew(tmp_path):
    output(start(SOFTMAX, tmp_path))
    (file,) = kernel_files(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    assert output(start(SOFTMAX, tmp_path)) == "True"
    assert file.read_bytes() == whole


def test_where_nothing_can_be_kept_a_kernel_is_compiled_all_the_same(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    assert output(start(SOFTMAX, tmp_path / "file" / "folder")) == "True"
