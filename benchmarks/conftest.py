"""What all benchmarks share: single-threaded BLAS, taking down times, the report at the end.

python -m pytest benchmarks                               prints the report, in 15 minutes
python -m pytest benchmarks --report docs/measured.md --readme README.md        and writes it
python -m pytest benchmarks --benchmark-disable           only runs and checks every side
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from timings import TURNS, Timings

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

# NumPy's BLAS reads them when it is loaded.
BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
if "numpy" in sys.modules:
    raise pytest.UsageError("NumPy is loaded already, so its BLAS cannot be held to one thread")
os.environ.update(dict.fromkeys(BLAS_THREADS, "1"))

TIMINGS = pytest.StashKey[Timings]()

Record = Callable[[str, str, str], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--report", type=Path, metavar="FILE", help="write the report to a file too")
    parser.addoption("--readme", type=Path, metavar="FILE", help="write the aims into a page too")


def pytest_configure(config: pytest.Config) -> None:
    config.option.benchmark_quiet = True  # its table has a row a turn; -v brings it back
    config.stash[TIMINGS] = Timings()


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Generator[None, object, object]:
    """Skip what needs a package that is not installed: peers are optional."""
    from bitconv.errors import MissingPackageError

    try:
        return (yield)
    except MissingPackageError as error:
        pytest.skip(str(error))


@pytest.fixture
def timings(request: pytest.FixtureRequest) -> Timings:
    """The times of this run."""
    return request.config.stash[TIMINGS]


@pytest.fixture(params=range(TURNS), ids=lambda turn: f"turn={turn}")
def turn(request: pytest.FixtureRequest) -> int:
    """Repeats a benchmark in turn with its other sides."""
    number: int = request.param
    return number


@pytest.fixture
def record(benchmark: BenchmarkFixture, timings: Timings) -> Record:
    """Takes down what `benchmark` measured, as (question, subject, side)."""

    def take_down(question: str, subject: str, side: str) -> None:
        if benchmark.stats is not None:  # not under --benchmark-disable
            timings.add((question, subject, side), benchmark.stats.stats.data)

    return take_down


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    timings = config.stash[TIMINGS]
    if not timings.seconds:
        return
    from report import report, write_aims

    text = report(timings)
    terminalreporter.write_line(f"\n{text}")
    if config.option.report is not None:
        config.option.report.write_text(text, encoding="utf-8")
    if config.option.readme is not None:
        write_aims(config.option.readme, timings)
