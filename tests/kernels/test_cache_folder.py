"""The folder of the compiled kernels."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from numba.core import config

import bitconv
from bitconv.kernels import cache_folder, store
from bitconv.kernels.cache_folder import cache_directory
from bitconv.kernels.machine_code import MachineCode

PACKAGE = Path(bitconv.__file__).parent
CODE = MachineCode("symbol", (), (), b"code")
FOLDER = "from bitconv.kernels.cache_folder import cache_directory; print(cache_directory())"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    cache_directory.cache_clear()
    yield cache_directory()
    cache_directory.cache_clear()


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


def test_the_folder_of_numba_is_honoured(folder, tmp_path):
    assert folder.is_relative_to(tmp_path)


def test_it_is_the_same_whether_numba_is_imported_or_not(tmp_path):
    script = tmp_path / "folder.py"
    found = []
    for first in ("", "import numba; "):
        script.write_text(first + FOLDER)
        found.append(output(start(script, NUMBA_CACHE_DIR=str(tmp_path))))
    assert found[0] == found[1] != "None"


def test_a_program_may_set_the_folder_of_numba(tmp_path):
    script = tmp_path / "folder.py"
    script.write_text(f"import numba; numba.config.CACHE_DIR = {str(tmp_path)!r}; " + FOLDER)
    assert Path(output(start(script))).parent == tmp_path / "bitconv"


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


def build(folder, number, unused_days=0.0):
    """The folder of another build beside `folder`, with a kernel in it."""
    other = folder.parent / f"{number:016x}"
    other.mkdir()
    (other / "some.kernel").write_bytes(b"code")
    age(other, unused_days)
    return other


def age(folder, days):
    then = time.time() - days * cache_folder.DAY
    os.utime(folder, (then, then))


def next_process():
    """The folder, as a process finds it that starts now."""
    cache_directory.cache_clear()
    return cache_directory()


def test_builds_that_nobody_used_for_a_month_are_pruned_once_a_day(folder):
    recent, old = build(folder, 1, 20), build(folder, 2, 40)
    assert next_process() == folder
    assert old.exists()  # this build was used today already
    age(folder, 2)
    next_process()
    assert recent.exists()
    assert not old.exists()


def test_a_new_build_prunes_at_once(folder):
    old = build(folder, 1, 40)
    folder.rmdir()
    next_process()
    assert not old.exists()


def test_the_build_in_use_stays_however_old_it_is(folder):
    store.write("some", CODE)
    age(folder, 400)
    next_process()
    assert store.is_stored("some")
    assert time.time() - folder.stat().st_mtime < cache_folder.DAY


def test_of_many_builds_those_used_last_stay(folder):
    builds = [build(folder, number, 1 + number / 10) for number in range(20)]
    age(folder, 2)
    next_process()
    kept = cache_folder.MAX_BUILDS - 1
    assert [other.exists() for other in builds] == [True] * kept + [False] * (20 - kept)


def test_only_folders_of_builds_are_pruned(folder):
    parent = folder.parent
    for name in ("notes", "0123456789abcdeg", "0123456789abcdef0"):
        (parent / name).mkdir()
        age(parent / name, 400)
    (parent / "0123456789abcdef").write_text("a file")
    age(parent / "0123456789abcdef", 400)
    before = set(parent.iterdir())
    age(folder, 2)
    next_process()
    assert set(parent.iterdir()) == before


@pytest.mark.skipif(os.name != "posix", reason="not every user may make links elsewhere")
def test_a_link_is_not_followed(folder, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").touch()
    age(elsewhere, 400)
    (folder.parent / "0123456789abcdef").symlink_to(elsewhere)
    age(folder, 2)
    next_process()
    assert (elsewhere / "file").exists()


def test_processes_that_prune_at_once_do_not_disturb_each_other(tmp_path):
    script = tmp_path / "folder.py"
    script.write_text(FOLDER)
    folder = Path(output(start(script, NUMBA_CACHE_DIR=str(tmp_path))))
    others = [build(folder, number, 40 + number) for number in range(200)]
    age(folder, 2)
    processes = [start(script, NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2)]
    assert {output(process) for process in processes} == {str(folder)}
    assert not any(other.exists() for other in others)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is read-only for root"
)
def test_kernels_in_a_folder_that_cannot_be_written_to_are_used(folder):
    store.write("some", CODE)
    folder.chmod(0o555)
    try:
        assert next_process() == folder
        assert not cache_folder.is_writable(folder)
        assert store.read("some") == CODE
        store.write("other", CODE)  # no error, and not kept
        assert not store.is_stored("other")
    finally:
        folder.chmod(0o755)


def test_the_contents_are_the_compiled_functions(folder):
    store.write("some", CODE)
    (file,) = folder.iterdir()
    (folder / "half-written.1234").write_bytes(b"half")
    found = cache_folder.contents(folder)
    assert (found.folder, found.files, found.bytes) == (folder, 1, file.stat().st_size)
    assert str(folder) in str(found)
