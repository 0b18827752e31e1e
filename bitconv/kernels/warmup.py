"""Compiling kernels into the cache on disk, on two cores.

Numba compiles one function at a time in a process. So a second process takes half of the work:

    python -m bitconv.kernels.warmup FUNCTION ...

It imports nothing of the program that started it, so no program needs to be written for that.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from bitconv.kernels.cache_folder import cache_directory, is_writable
from bitconv.kernels.registry import PROGRAM, address, compile_function, is_ready
from bitconv.kernels.threads import usable_threads

# Called with the number of functions done, the number of all, and the name of the next.
Report = Callable[[int, int, str], None]

# How long the functions take that take longest, in seconds on some machine; all others take less.
_SECONDS = {
    "binary_conv2d": 3.3,
    PROGRAM: 2.7,
    "binary_weight_conv2d": 1.6,
    "pool2d": 1.4,
    "pointwise": 1.0,
    "conv2d": 0.9,
}
_OTHERS = 0.4
_START = 0.4  # until a second process has come as far as this one

_one_helper = threading.Lock()  # threads that compile at once start one between them


def make_ready(functions: Sequence[str], report: Report | None = None) -> None:
    """Load functions; compile those first that are not in the cache on disk.

    Parameters
    ----------
    functions : sequence of str
        See `bitconv.kernels.registry.compile_function`.
    report : callable, optional
        Told of every function that is compiled, but for those of the other process.
    """
    missing = [name for name in functions if not is_ready(name)]
    half, other_half = _halves(missing)
    with _helper(other_half) as helped:
        own = half if helped else missing
        for index, name in enumerate(own):
            if report is not None:
                report(index * len(missing) // len(own), len(missing), name)
            address(name)
    for name in functions:  # what the other process made, or failed to make
        address(name)


def _halves(functions: Sequence[str]) -> tuple[list[str], list[str]]:
    """Two parts that take about as long, each from the longest on."""
    halves: tuple[list[str], list[str]] = ([], [])
    totals = [0.0, _START]
    for name in sorted(functions, key=_seconds, reverse=True):
        lighter = 0 if totals[0] < totals[1] else 1
        halves[lighter].append(name)
        totals[lighter] += _seconds(name)
    return halves


def _seconds(name: str) -> float:
    return _SECONDS.get(name, _OTHERS)


@contextmanager
def _helper(functions: Sequence[str]) -> Iterator[bool]:
    """A process that compiles functions into the cache meanwhile; False where there can be none."""
    if not functions or not _can_help() or not _one_helper.acquire(blocking=False):
        yield False
        return
    try:
        with _start(functions) or nullcontext() as process:
            yield process is not None
    finally:
        _one_helper.release()


def _can_help() -> bool:
    """Whether another process can be started, and compile into the same cache on another core.

    In a frozen application or one that embeds Python, the interpreter's file is the application.
    """
    interpreter = Path(sys.executable or "").name.lower()
    if getattr(sys, "frozen", False) or not interpreter.startswith("python"):
        return False
    folder = cache_directory()
    return folder is not None and is_writable(folder) and usable_threads() > 1


def _start(functions: Sequence[str]) -> subprocess.Popen[bytes] | None:
    """The process, which finds modules where this one does; None where none can be started."""
    search_path = os.pathsep.join(map(os.path.abspath, sys.path))
    with suppress(OSError):
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "bitconv.kernels.warmup", *functions],
            env=os.environ | {"PYTHONPATH": search_path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # on Windows, no console
        )
    return None


if __name__ == "__main__":
    for function in sys.argv[1:]:
        compile_function(function)
