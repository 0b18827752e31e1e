"""Calling parallel kernels from several threads and in forked children, on any threading layer.

Numba starts one pool of threads a process, on TBB, OpenMP or its own work queue. They have limits
that would end the process or make it wait forever, so they are respected here: the work queue takes
one parallel region at a time, and a child must not enter one that was forked after GNU OpenMP had
started, or while other threads were in a region.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from bitconv.kernels.cache_folder import asks_numba
from bitconv.kernels.tbb import provide_tbb

_FORK_SAFE = ("tbb", "workqueue")
_work_queue = threading.Lock()
_inside: set[int] = set()  # the threads that are in a region
_may_run_parallel = True  # until a fork


def usable_threads() -> int:
    """Cores that this process may use, as far as Numba was told."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    if asks_numba():
        return max(1, min(cores, _numba().config.NUMBA_NUM_THREADS))
    told = os.environ.get("NUMBA_NUM_THREADS", "")
    return max(1, min(cores, int(told))) if told.isdecimal() else cores


def threading_layer() -> str:
    """The layer that parallel kernels run on: ``tbb``, ``omp`` or ``workqueue``; starts it."""
    numba = _numba()
    numba.get_num_threads()
    return str(numba.threading_layer())


def may_run_parallel() -> bool:
    """Whether this process may enter a parallel kernel."""
    return _may_run_parallel


@contextmanager
def parallel_region(threads: int) -> Iterator[None]:
    """Kernels inside run on `threads` threads, or on as many as Numba has if that is fewer.

    The calling thread's own setting comes back afterwards.
    """
    numba = _numba()
    with _noted():
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


@cache
def yielding_function() -> int:
    """The address of the system's function that lets another thread or program have the core."""
    if sys.platform == "win32":
        function = ctypes.windll.kernel32.SwitchToThread
    else:
        function = ctypes.CDLL(None).sched_yield
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return address


@contextmanager
def _noted() -> Iterator[None]:
    """Keep this thread among those that are in a region."""
    thread = threading.get_ident()
    _inside.add(thread)
    try:
        yield
    finally:
        _inside.discard(thread)


@cache
def _numba() -> Any:
    """Numba, with the threads that it will start."""
    provide_tbb()
    import numba

    return numba


def _after_fork() -> None:
    global _may_run_parallel, _work_queue
    _work_queue = threading.Lock()  # the parent's may be held by a thread that is not here
    if "numba" not in sys.modules:
        return
    try:
        layer = str(_numba().threading_layer())
    except ValueError:  # nothing had started
        return
    _may_run_parallel &= layer in _FORK_SAFE and not _inside
    _inside.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
