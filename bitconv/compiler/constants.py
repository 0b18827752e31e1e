"""The constants of a plan: one block of bytes that steps point into."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.compiler.arena import ALIGNMENT
from bitconv.compiler.plan import aligned_bytes
from bitconv.kernels.records import BLOCK_CHANNELS
from bitconv.kernels.tile_shapes import row_width


class ConstantPool:
    """Collects arrays, each aligned to a cache line; arrays of the same bytes are kept once.

    Attributes
    ----------
    size : int
        Bytes so far.
    added : int
        Bytes of all arrays that were added, those that were there already included.
    """

    def __init__(self) -> None:
        self._arrays: list[tuple[int, NDArray[Any]]] = []
        self._offsets: dict[bytes, int] = {}
        self.size = self.added = 0

    def add(self, array: NDArray[Any]) -> int:
        """Keep `array`; its offset in elements of its own type."""
        array = np.ascontiguousarray(array)
        room = -(-array.nbytes // ALIGNMENT) * ALIGNMENT
        self.added += room
        digest = sha256(array.data).digest()
        if digest not in self._offsets:
            self._offsets[digest] = self.size
            self._arrays.append((self.size, array))
            self.size += room
        return self._offsets[digest] // array.itemsize

    def add_vector(
        self, values: NDArray[np.float32], width: int, rows: int, beyond: float = 0.0
    ) -> int:
        """Keep one float32 a channel, every `width` of them `rows` times in a row.

        The last ones are filled up with `beyond`, and a block of channels may read it past the end.
        Behind others they are fewer where they fit a narrower row, as kernels then leave one.
        """
        parts = []
        for first in range(0, len(values), width):
            given = values[first : first + width]
            row = np.full(min(width, row_width(len(given))) if first else width, beyond, np.float32)
            row[: len(given)] = given
            parts.append(np.tile(row, rows))
        return self.add(np.concatenate([*parts, np.full(BLOCK_CHANNELS, beyond, np.float32)]))

    def block(self) -> NDArray[np.uint8]:
        """All arrays at their offsets."""
        memory = aligned_bytes(max(self.size, ALIGNMENT))
        for offset, array in self._arrays:
            memory[offset : offset + array.nbytes] = array.reshape(-1).view(np.uint8)
        return memory
