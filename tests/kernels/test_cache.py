"""Compiled kernels on disk."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from numba import prange, typeof
from numba.core import config

import bitconv
from bitconv.kernels import cache_folder
from bitconv.kernels.cache import is_compiled, is_stored, kernel
from bitconv.kernels.cache_folder import cache_directory

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
    cache_directory.cache_clear()
    yield cache_directory()
    cache_directory.cache_clear()


def hits(dispatcher):
    return sum(dispatcher.stats.cache_hits.values())


def test_the_folder_of_numba_is_honoured(folder, tmp_path):
    assert folder.is_relative_to(tmp_path)


def test_a_kernel_is_compiled_once(folder):
    first, second = kernel(total), kernel(total)
    assert not is_compiled(first, SIGNATURE)
    assert first(VALUES) == 45
    assert hits(first) == 0
    assert is_compiled(second, SIGNATURE)
    assert second(VALUES) == 45
    assert hits(second) == 1
    assert len(list(folder.iterdir())) == 1


def test_every_signature_has_its_own_code(folder):
    single = VALUES.astype(np.float32)
    kernel(total)(VALUES)
    assert not is_compiled(kernel(total), (typeof(single),))
    assert kernel(total)(single) == 45
    assert len(list(folder.iterdir())) == 2


def test_serial_and_parallel_code_are_kept_apart(folder):
    kernel(total)(VALUES)
    parallel = kernel(parallel=True)(total)
    assert not is_compiled(parallel, SIGNATURE)
    assert parallel(VALUES) == 45
    assert len(list(folder.iterdir())) == 2


@pytest.mark.usefixtures("folder")
def test_checked_and_unchecked_code_are_kept_apart(monkeypatch):
    kernel(total)(VALUES)
    monkeypatch.setattr(config, "BOUNDSCHECK", not config.BOUNDSCHECK)
    assert not is_compiled(kernel(total), SIGNATURE)


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
    cache_directory.cache_clear()
    try:
        assert cache_directory() is None
        lone = kernel(total)
        assert not is_compiled(lone, SIGNATURE)
        assert lone(VALUES) == 45
        assert is_compiled(lone, SIGNATURE)
    finally:
        cache_directory.cache_clear()


def test_a_folder_that_vanishes_is_made_again(folder):
    lone = kernel(total)
    shutil.rmtree(folder)
    assert lone(VALUES) == 45
    assert is_stored(kernel(total), SIGNATURE)


def test_what_is_in_memory_only_is_compiled_and_not_stored(folder):
    lone = kernel(total)
    lone(VALUES)
    shutil.rmtree(folder)
    assert is_compiled(lone, SIGNATURE)
    assert not is_stored(lone, SIGNATURE)


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
def test_others_may_read_what_was_compiled_where_the_umask_lets_them(folder):
    before = os.umask(0o022)
    try:
        kernel(total)(VALUES)
    finally:
        os.umask(before)
    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o644


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
"""

SYMBOL = """
from llvmlite import binding
from numba.core.registry import cpu_target
from bitconv.kernels.cache import _provide

known = lambda: binding.address_of_symbol("_numba_hashsecret_djbx33a_suffix") is not None
before = known()
_provide(["_numba_hashsecret_djbx33a_suffix"], [], cpu_target.target_context)
print(before, known())
"""

FOLDER = "from bitconv.kernels.cache_folder import cache_directory; print(cache_directory())"


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
    script.write_text(COUNT + "print(sum(count.stats.cache_hits.values()))")
    for process in [start(script, NUMBA_CACHE_DIR=str(folder)) for _ in range(2)]:
        output(process)
    assert output(start(script, NUMBA_CACHE_DIR=str(folder))) == "1"
    assert len([path for path in folder.rglob("*") if path.is_file()]) == 1


def test_loading_a_kernel_leaves_out_most_of_numba(tmp_path):
    script = tmp_path / "count.py"
    script.write_text(COUNT + "import sys; print('numba.np.linalg' in sys.modules)")
    outputs = [output(start(script, NUMBA_CACHE_DIR=str(tmp_path))) for _ in range(2)]
    assert outputs == ["True", "False"]


def test_a_symbol_that_is_not_known_brings_in_all_of_numba(tmp_path):
    script = tmp_path / "symbol.py"
    script.write_text(SYMBOL)
    assert output(start(script, NUMBA_CACHE_DIR=str(tmp_path))) == "False True"


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


# --- Which folders stay --------------------------------------------------------------------------


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
    kernel(total)(VALUES)
    age(folder, 400)
    next_process()
    assert is_stored(kernel(total), SIGNATURE)
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
    kernel(total)(VALUES)
    folder.chmod(0o555)
    try:
        assert next_process() == folder
        assert not cache_folder.is_writable(folder)
        reader = kernel(total)
        assert reader(VALUES) == 45
        assert hits(reader) == 1
        assert kernel(reciprocal)(0.5) == 2  # compiled, and not kept
    finally:
        folder.chmod(0o755)


def test_the_contents_are_the_compiled_functions(folder):
    kernel(total)(VALUES)
    (file,) = folder.iterdir()
    (folder / "half-written.1234").write_bytes(b"half")
    found = cache_folder.contents(folder)
    assert (found.folder, found.files, found.bytes) == (folder, 1, file.stat().st_size)
    assert str(folder) in str(found)
