"""How long does a fresh process take, with kernels on disk and without?"""

from __future__ import annotations

import compileall
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import BLAS_THREADS, Record
from pytest_benchmark.fixture import BenchmarkFixture

import bitconv
from bitconv.shipped import SAMPLE_PICTURE

PROGRAMS = {
    "python": "",
    "import": "import bitconv",
    "label": f"import bitconv; print(bitconv.run({str(SAMPLE_PICTURE)!r}).label)",
    "command": "import sys; sys.argv[1:] = ['run']; from bitconv.cli import main; main()",
}


@pytest.fixture(scope="module")
def warm_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all kernels of the shipped model; modules are compiled, as installed ones."""
    compileall.compile_dir(Path(bitconv.__file__).parent, quiet=2)
    folder = tmp_path_factory.mktemp("warm")
    run(PROGRAMS["command"], folder)
    return folder


def run(program: str, cache: Path) -> str:
    """What a Python program prints, with its kernels kept in `cache`."""
    unset = (*BLAS_THREADS, "PYTHONDONTWRITEBYTECODE")
    environment = {name: text for name, text in os.environ.items() if name not in unset}
    environment["NUMBA_CACHE_DIR"] = str(cache)
    environment["PYTHONPATH"] = str(Path(bitconv.__file__).parent.parent)
    process = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    return process.stdout


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: f"program={program}")
@pytest.mark.usefixtures("turn")
def test_with_kernels_on_disk(
    benchmark: BenchmarkFixture,
    record: Record,
    warm_cache: Path,
    program: str,
) -> None:
    printed = benchmark.pedantic(run, (PROGRAMS[program], warm_cache))
    assert bool(printed) == (program in ("label", "command"))
    record("process", "warm", program)


@pytest.mark.usefixtures("turn")
def test_compiling_everything(
    benchmark: BenchmarkFixture,
    record: Record,
    tmp_path: Path,
) -> None:
    assert benchmark.pedantic(run, (PROGRAMS["label"], tmp_path))
    record("process", "cold", "label")
