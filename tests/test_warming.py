"""Compiling ahead of time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_networks import binary_resnet

import bitconv
from bitconv import Graph, Model, Node, TensorType
from bitconv.kernels.registry import KERNELS, WALK, WALK_TOGETHER
from bitconv.operators import Softmax, Transpose

WARM = """
import bitconv, sys
told = []
found = bitconv.warmup(sys.argv[1], report=lambda *progress: told.append(progress))
assert found.files == len(list(found.folder.glob("*.kernel"))) > 0
print(len(told))
"""

PREDICT = """
import bitconv, numpy as np, sys
for threads in (1, 2):
    model = bitconv.load(sys.argv[1], threads=threads)
    for count in (1, 70):
        for kind in (np.uint8, np.float32):
            model.predict(np.zeros((count, 2, 2, 3), kind))
"""


@pytest.fixture
def model(tmp_path):
    """A file with kernels that compile quickly."""
    nodes = (Node("softmax", Softmax(), "image"), Node("turn", Transpose((1, 0, 2)), "softmax"))
    bitconv.write(Graph({"image": TensorType((2, 2, 3))}, nodes), tmp_path / "small.h5")
    return tmp_path / "small.h5"


def run(script, model, cache):
    done = subprocess.run(
        [sys.executable, "-c", script, str(model)],
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_afterwards_no_call_compiles_anything(model, tmp_path):
    cache = tmp_path / "cache"
    assert int(run(WARM, model, cache)) > 0
    files = {path: path.stat().st_mtime_ns for path in cache.rglob("*.kernel")}
    assert run(WARM, model, cache) == "0"
    run(PREDICT, model, cache)
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*.kernel")} == files


def test_code_for_many_threads_is_part_of_it_on_one_core():
    model = Model(binary_resnet(), threads=1)
    assert WALK_TOGETHER in model.all_functions()
    assert set(model.all_functions()) > set(model._functions())


def test_a_model_whose_kernels_are_never_divided_needs_no_code_for_threads(model):
    functions = bitconv.load(model).all_functions()
    assert WALK_TOGETHER not in functions
    assert "softmax" in functions
    assert set(functions) <= {WALK, *KERNELS}


@pytest.mark.parametrize("place", ["file", "file/folder"])
def test_a_cache_that_cannot_be_made_is_an_error(model, tmp_path, place):
    (tmp_path / "file").write_text("not a folder")
    script = """
import bitconv, sys
from bitconv.errors import CacheError
try:
    bitconv.warmup(sys.argv[1])
except CacheError as error:
    print(error)
"""
    message = run(script, model, tmp_path / place)
    assert message.startswith(str(Path(tmp_path, place, "bitconv")))
    assert "set NUMBA_CACHE_DIR" in message
