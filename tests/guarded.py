"""Memory between forbidden pages, in which a kernel that strays ends the process at once."""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from numpy.typing import NDArray

from bitconv.compiler import Plan, compile_graph
from bitconv.compiler.arena import Buffer
from bitconv.compiler.constants import ConstantPool
from bitconv.graph import Graph

PAGE = mmap.PAGESIZE
WORD = 8  # bytes to which every buffer is aligned here

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="mprotect belongs to POSIX")
at_both_ends = pytest.mark.parametrize("at_end", [False, True], ids=["start", "end"])


class GuardedMemory:
    """Copies arrays to where the memory before their start or after their end is forbidden."""

    def __init__(self, at_end: bool) -> None:
        self.at_end = at_end
        self._maps: list[mmap.mmap] = []  # as long as they are needed

    def copy(self, array: NDArray[Any]) -> NDArray[Any]:
        """The array where it starts, or ends, on the border of a forbidden page."""
        size = pages(array.nbytes)
        memory = self._map(size + 2 * PAGE)
        protect(memory, 0, PAGE)
        protect(memory, PAGE + size, PAGE)
        offset = PAGE + (size - array.nbytes if self.at_end else 0)
        guarded = np.frombuffer(memory, array.dtype, array.size, offset)
        guarded[:] = array
        return guarded

    def islands(self, islands: Islands) -> NDArray[np.uint8]:
        """Bytes that are forbidden but for the pages of the islands."""
        memory = self._map(islands.total)
        protect(memory, 0, islands.total)
        for start, size in islands.used:
            first = start // PAGE * PAGE
            protect(memory, first, pages(start + size - first), mmap.PROT_READ | mmap.PROT_WRITE)
        return np.frombuffer(memory, np.uint8)

    def _map(self, size: int) -> mmap.mmap:
        self._maps.append(mmap.mmap(-1, size))
        return self._maps[-1]


class Islands:
    """Lays buffers out so that each lies on pages of its own, between forbidden ones."""

    def __init__(self, at_end: bool) -> None:
        self.at_end = at_end
        self.used: list[tuple[int, int]] = []
        self.total = PAGE

    def add(self, size: int) -> int:
        """Where a buffer of that size goes."""
        slack = (pages(size) - size) // WORD * WORD if self.at_end else 0
        start = self.total + slack
        self.used.append((start, size))
        self.total += pages(size) + PAGE
        return start

    def place(self, buffers: Sequence[Buffer]) -> int:
        """As `bitconv.compiler.arena.place`."""
        for buffer in buffers:
            buffer.start = self.add(buffer.size)
        return self.total


class SpreadConstants(ConstantPool):
    """Lays constants out so that each lies on pages of its own, between forbidden ones."""

    def __init__(self, islands: Islands) -> None:
        super().__init__()
        self.islands = islands

    def add(self, array: NDArray[Any]) -> int:
        offset = self.islands.add(array.nbytes)
        self.size += array.nbytes
        self._arrays.append((offset, np.ascontiguousarray(array)))
        return offset // array.itemsize

    def block(self) -> NDArray[np.uint8]:
        """Nothing yet: see `guarded`."""
        return np.zeros(0, np.uint8)

    def guarded(self, memory: GuardedMemory) -> NDArray[np.uint8]:
        """All constants at their offsets, between forbidden pages."""
        block = memory.islands(self.islands)
        for offset, array in self._arrays:
            block[offset : offset + array.nbytes] = array.reshape(-1).view(np.uint8)
        return block


def guarded_plan(
    graph: Graph, at_end: bool, **options: Any
) -> tuple[Plan, NDArray[np.uint8], GuardedMemory]:
    """A plan, and an arena for it full of rubbish, in which every buffer has its own pages.

    Constants and the records of every step lie on pages of their own as well. All of it is valid
    as long as the third value is.
    """
    memory, islands = GuardedMemory(at_end), Islands(at_end)
    constants = SpreadConstants(Islands(at_end))
    home = "bitconv.compiler.builder"
    with patch(f"{home}.place", islands.place), patch(f"{home}.ConstantPool", lambda: constants):
        plan = compile_graph(graph, **options)
    arena = memory.islands(islands)
    for start, size in islands.used:
        arena[start : start + size] = 0xA5
    steps = tuple(
        replace(
            step,
            parameters=memory.copy(step.parameters),
            program=memory.copy(step.program) if step.program.size else step.program,
        )
        for step in plan.steps
    )
    return replace(plan, steps=steps, constants=constants.guarded(memory)), arena, memory


def pages(size: int) -> int:
    """Bytes of the whole pages that hold `size` bytes, at least one."""
    return max(1, -(-size // PAGE)) * PAGE


def protect(memory: mmap.mmap, offset: int, size: int, allowed: int = 0) -> None:
    """Set what may be done with some pages; nothing when not said."""
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    mprotect = ctypes.CDLL(None, use_errno=True).mprotect
    if mprotect(ctypes.c_void_p(start + offset), ctypes.c_size_t(size), allowed):
        raise OSError(ctypes.get_errno(), "mprotect failed")
