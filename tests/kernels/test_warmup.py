"""Compiling on two cores."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
from bitconv.kernels.registry import is_ready
from bitconv.kernels.warmup import compile_side_by_side
names = ["copy_bytes", "softmax", "copy_floats"]
assert not any(map(is_ready, names))
told = []
compile_side_by_side(names, lambda done, name: told.append((done, name)))
assert all(map(is_ready, names)), [name for name in names if not is_ready(name)]
print(told)
"""


def test_two_processes_fill_an_empty_cache_together(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("[(0, 'copy_bytes')")
    assert {file.name.partition("-")[0] for file in tmp_path.rglob("*.kernel")} >= {
        "copy_bytes",
        "copy_floats",
        "softmax",
    }
