"""Calling parallel kernels from several threads and in forked children, on any threading layer.

Numba starts one pool of threads a process, on TBB, OpenMP or its own work queue. Two of these
have limits that would end the process, so they are respected here: the work queue takes one
parallel region at a time, and a child forked after GNU OpenMP has started must not enter another.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numba

from bitconv.kernels.tbb import provide_tbb

_FORK_SAFE = ("tbb", "workqueue")
_work_queue = threading.Lock()
_inherited: str | None = None  # the layer that had started when this process was forked

provide_tbb()


def usable_threads() -> int:
    """Cores that this process may use, as far as Numba was told."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min(cores, numba.config.NUMBA_NUM_THREADS))


def threading_layer() -> str:
    """The layer that parallel kernels run on: ``tbb``, ``omp`` or ``workqueue``; starts it."""
    numba.get_num_threads()
    return str(numba.threading_layer())


def may_run_parallel() -> bool:
    """Whether this process may enter a parallel kernel."""
    return _inherited is None or _inherited in _FORK_SAFE


@contextmanager
def parallel_region(threads: int) -> Iterator[None]:
    """Kernels inside run on `threads` threads, or on as many as Numba has if that is fewer.

    The calling thread's own setting comes back afterwards.
    """
    before = numba.get_num_threads()  # starts the layer
    during = min(threads, numba.config.NUMBA_NUM_THREADS)
    if during != before:  # each of these calls takes microseconds
        numba.set_num_threads(during)
    try:
        if numba.threading_layer() == "workqueue":
            with _work_queue:
                yield
        else:
            yield
    finally:
        if during != before:
            numba.set_num_threads(before)


def _after_fork() -> None:
    global _inherited, _work_queue
    _work_queue = threading.Lock()  # the parent's may be held by a thread that is not here
    try:
        _inherited = str(numba.threading_layer())
    except ValueError:  # nothing had started
        _inherited = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
