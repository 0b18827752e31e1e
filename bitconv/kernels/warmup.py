"""Compiling kernels into the cache on disk, on two cores.

Numba compiles one function at a time in a process. So a second process takes every other function:

    python -m bitconv.kernels.warmup FUNCTION ...
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence

from bitconv.kernels.cache import cache_directory
from bitconv.kernels.registry import compile_function
from bitconv.kernels.threads import usable_threads


def compile_side_by_side(
    functions: Sequence[str], report: Callable[[int, str], None] | None = None
) -> None:
    """Compile functions into the cache, half of them in a process of their own.

    What that process does not achieve is compiled by whoever needs it.

    Parameters
    ----------
    functions : sequence of str
        See `bitconv.kernels.registry.compile_function`.
    report : callable, optional
        Called with the number of functions done and the name of the next.
    """
    alone = cache_directory() is None or usable_threads() == 1
    own, others = (functions, ()) if alone else (functions[::2], functions[1::2])
    process = None
    if others:
        command = [sys.executable, "-P", "-m", "bitconv.kernels.warmup", *others]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    for index, name in enumerate(own):
        if report is not None:
            report(index * len(functions) // len(own), name)
        compile_function(name)
    if process is not None:
        process.wait()


if __name__ == "__main__":
    for function in sys.argv[1:]:
        compile_function(function)
