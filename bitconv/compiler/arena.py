"""Placing buffers in one block of memory by the time they live."""

from __future__ import annotations

from dataclasses import dataclass

ALIGNMENT = 64  # bytes, a cache line and the widest vector


@dataclass(eq=False)
class Buffer:
    """Memory that some steps use.

    Attributes
    ----------
    size : int
        Bytes.
    first, last : int
        The first step that writes and the last step that reads it.
    start : int
        Byte offset in the arena, once placed.
    """

    size: int
    first: int
    last: int
    start: int = -1


def place(buffers: list[Buffer]) -> int:
    """Give every buffer a start such that no two that live at once overlap; the bytes needed.

    Largest first, each at the lowest free offset: near the lower bound for networks, whose maps
    shrink as they go.
    """
    placed: list[Buffer] = []
    total = 0
    for buffer in sorted(buffers, key=lambda b: (-b.size, b.first)):
        beside = sorted(
            (b for b in placed if b.first <= buffer.last and buffer.first <= b.last),
            key=lambda b: b.start,
        )
        start = 0
        for other in beside:
            if start + buffer.size <= other.start:
                break
            start = max(start, _aligned(other.start + other.size))
        buffer.start = start
        placed.append(buffer)
        total = max(total, start + buffer.size)
    return _aligned(total)


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT
