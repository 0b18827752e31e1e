"""Compiling on two cores."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import bitconv
from bitconv import Graph, Node, TensorType
from bitconv.kernels import warmup
from bitconv.operators import Softmax, Transpose

COMPILE = """
import sys
sys.executable = {executable!r}
from bitconv.kernels.registry import is_ready
from bitconv.kernels.warmup import make_ready
names = ["copy_bytes", "softmax"]
assert not any(map(is_ready, names))
told = []
make_ready(names, lambda *progress: told.append(progress))
assert all(map(is_ready, names))
print(told)
"""

# In an empty folder, so only the search path of this process leads to bitconv.
PREDICT = """
import sys
started = []

def hook(event, values):
    if event == "subprocess.Popen" and "bitconv.kernels.warmup" in values[1]:
        started.extend(values[1][4:])

sys.addaudithook(hook)
sys.path.insert(0, {folder!r})
import bitconv, numpy as np
model = bitconv.load({model!r}, threads=1)
assert len(model.uncompiled()) == 3  # with the loop over steps
assert not started
model.predict(np.zeros((1, 2, 2, 3), np.uint8))
model.predict(np.zeros((1, 2, 2, 3), np.uint8))
print(*started)
"""

two_cores = pytest.mark.skipif(
    warmup.usable_threads() < 2, reason="one core is used by one process"
)


def run(script: str, cache: Path, **environment: str) -> str:
    """What a script prints that starts with an empty cache."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache), **environment},
        capture_output=True,
        text=True,
        check=False,
        cwd=cache,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def stored(cache: Path) -> set[str]:
    """The names of the functions on disk."""
    return {file.name.partition("-")[0] for file in cache.rglob("*.kernel")}


@two_cores
def test_two_processes_fill_an_empty_cache_together(tmp_path: Path) -> None:
    told = run(COMPILE.format(executable=sys.executable), tmp_path)
    assert told == "[(0, 2, 'copy_bytes')]"  # the other process does the rest
    assert stored(tmp_path) >= {"copy_bytes", "softmax"}


@pytest.mark.skipif(os.name != "posix", reason="the interpreter is a shell script")
def test_what_the_other_process_does_not_achieve_is_compiled_here(tmp_path: Path) -> None:
    interpreter, cache = tmp_path / "python3", tmp_path / "cache"
    interpreter.write_text("#!/bin/sh\nexit 1\n")
    interpreter.chmod(0o755)
    cache.mkdir()
    assert run(COMPILE.format(executable=str(interpreter)), cache) == "[(0, 2, 'copy_bytes')]"
    assert stored(cache) >= {"copy_bytes", "softmax"}


@pytest.mark.parametrize(
    ("name", "frozen"),
    [("application", False), ("python3", True), ("python-that-is-not-there", False)],
)
def test_only_an_interpreter_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, frozen: bool
) -> None:
    application, mark = tmp_path / name, tmp_path / "mark"
    if "not-there" not in name:
        application.write_text(f"#!/bin/sh\ntouch {mark}\n")
        application.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(application))
    monkeypatch.setattr(sys, "frozen", frozen, raising=False)
    with warmup._helper(["softmax"]) as helped:
        assert not helped
    assert not mark.exists()


def test_an_interpreter_that_is_unknown_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", None)  # as in some programs that embed Python
    with warmup._helper(["softmax"]) as helped:
        assert not helped


@two_cores
def test_the_first_prediction_compiles_in_two_processes(tmp_path: Path) -> None:
    nodes = (Node("softmax", Softmax(), "image"), Node("turn", Transpose((1, 0, 2)), "softmax"))
    bitconv.write(Graph({"image": TensorType((2, 2, 3))}, nodes), tmp_path / "small.h5")
    folder = str(Path(bitconv.__file__).parents[1])
    script = PREDICT.format(folder=folder, model=str(tmp_path / "small.h5"))
    assert run(script, tmp_path, PYTHONPATH="") == "softmax"  # beside the loop over steps
    assert stored(tmp_path) >= {"softmax", "copy_floats"}


@two_cores
def test_threads_that_compile_at_once_start_one_process_between_them() -> None:
    with warmup._helper(["softmax"]) as first, warmup._helper(["softmax"]) as second:
        assert (first, second) == (True, False)
    with warmup._helper(["softmax"]) as again:
        assert again
