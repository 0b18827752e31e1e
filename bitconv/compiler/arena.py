"""Placing buffers in one block of memory by the time they live."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

    @property
    def room(self) -> int:
        """Bytes of whole cache lines."""
        return -(-self.size // ALIGNMENT) * ALIGNMENT


def place(buffers: Sequence[Buffer]) -> int:
    """Give every buffer a start such that no two that live at once overlap; the bytes needed.

    The least memory is hard to find, so several orders are tried: largest first, which suits maps
    that shrink as a network goes on, longest-lived first, and in the order of time. Each is tried
    from the lowest free offset up, and with what is written by every other step at the upper end,
    which suits chains, of which only neighbours live at once. The best one counts.
    """
    bound = most_alive(buffers)
    best, starts = -1, [buffer.start for buffer in buffers]
    for order in _ORDERS:
        ordered = sorted(buffers, key=order)
        for both_ends in (False, True):
            total = _place_in_order(ordered, bound, both_ends)
            if best < 0 or total < best:
                best, starts = total, [buffer.start for buffer in buffers]
            if best == bound:
                return best
    for buffer, start in zip(buffers, starts, strict=True):
        buffer.start = start
    return best


def most_alive(buffers: Sequence[Buffer]) -> int:
    """Bytes that live at once where most do, in whole cache lines: no arena is smaller."""
    return max(
        (
            sum(buffer.room for buffer in buffers if buffer.first <= step <= buffer.last)
            for step in {buffer.first for buffer in buffers}
        ),
        default=0,
    )


_ORDERS: tuple[Callable[[Buffer], tuple[int, int]], ...] = (
    lambda buffer: (-buffer.size, buffer.first),
    lambda buffer: (buffer.first - buffer.last, -buffer.size),
    lambda buffer: (buffer.first, -buffer.size),
)


def _place_in_order(buffers: Sequence[Buffer], bound: int, both_ends: bool) -> int:
    """Place each buffer in the lowest free gap, or those of odd steps in the highest below `bound`.

    Where no gap is left below `bound`, a buffer goes behind all others.
    """
    placed: list[Buffer] = []
    total = 0
    for buffer in buffers:
        from_above = both_ends and buffer.first % 2 == 1
        gaps = _gaps(buffer, placed, bound)
        first, end = gaps[-1 if from_above else 0]
        buffer.start = end - buffer.room if from_above else first
        placed.append(buffer)
        total = max(total, buffer.start + buffer.room)
    return total


def _gaps(buffer: Buffer, placed: Sequence[Buffer], bound: int) -> list[tuple[int, int]]:
    """Where the buffer fits beside those that live with it, as (first, end), in order."""
    beside = sorted(
        (other.start, other.start + other.room)
        for other in placed
        if other.first <= buffer.last and buffer.first <= other.last
    )
    gaps, first = [], 0
    for start, end in beside:
        if first + buffer.room <= start:
            gaps.append((first, start))
        first = max(first, end)
    if first + buffer.room <= bound or not gaps:
        gaps.append((first, max(bound, first + buffer.room)))
    return gaps
