"""A compiled network: a flat list of steps over one arena. Plain data, no closures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitconv.bits import WORD_BITS, words_for

Ring = tuple[int, int, int, int]
NO_RING: Ring = (0, 0, 0, 0)
NO_FUNCTIONS: Mapping[str, str] = {}
ITEM_BYTES = {"uint8": 1, "float32": 4, "bits": 8}


class Steps(NamedTuple):
    """Where the pixels of a map lie that is a part of another one, in elements.

    Attributes
    ----------
    first : int
        From the start of the memory to the first inner pixel of the first image.
    image, row, pixel : int
        To the next one.
    """

    first: int
    image: int
    row: int
    pixel: int


@dataclass(frozen=True)
class Layout:
    """How a map lies in memory: images, rows, pixels, channels, with a ring of zeros around it.

    Attributes
    ----------
    stored : {"uint8", "float32", "bits"}
        The element: a byte, a float, or a word of 64 signs. int32 values are kept as float32.
    height, width, channels : int
    ring : tuple of int
        Pixels above, left, below and right that a window may reach into.
    segments : tuple of int
        For bits, the channels of each run that starts on a word of its own.
    part : Steps, optional
        For a part of another map.
    """

    stored: Literal["uint8", "float32", "bits"]
    height: int
    width: int
    channels: int
    ring: Ring = NO_RING
    segments: tuple[int, ...] = ()
    part: Steps | None = None

    @property
    def depth(self) -> int:
        """Elements of a pixel."""
        if self.stored == "bits":
            return sum(words_for(channels) for channels in self.segments)
        return self.channels

    @property
    def pixel(self) -> int:
        """Elements from a pixel to the next."""
        return self.part.pixel if self.part else self.depth

    @property
    def row(self) -> int:
        """Elements from a row to the next."""
        return (
            self.part.row if self.part else (self.ring[1] + self.width + self.ring[3]) * self.depth
        )

    @property
    def image(self) -> int:
        """Elements from an image to the next."""
        return (
            self.part.image if self.part else (self.ring[0] + self.height + self.ring[2]) * self.row
        )

    @property
    def first(self) -> int:
        """Elements before the first inner pixel of an image."""
        return self.part.first if self.part else self.ring[0] * self.row + self.ring[1] * self.pixel

    def run(self, first: int, channels: int) -> Layout:
        """The part that holds some channels, which start on a word if they are bits."""
        skipped = first // WORD_BITS if self.stored == "bits" else first
        return replace(
            self,
            channels=channels,
            segments=(channels,) if self.stored == "bits" else (),
            part=Steps(self.first + skipped, self.image, self.row, self.pixel),
        )

    def pixels(self, rows: range, columns: range) -> Layout:
        """The part that holds some rows and columns; it has no ring."""
        return replace(
            self,
            height=len(rows),
            width=len(columns),
            ring=NO_RING,
            part=Steps(
                self.first + rows.start * self.row + columns.start * self.pixel,
                self.image,
                rows.step * self.row,
                columns.step * self.pixel,
            ),
        )

    def with_channels(self, channels: int) -> Layout:
        """A float map of the same pixels, without a ring."""
        return Layout("float32", self.height, self.width, channels)

    @property
    def item_bytes(self) -> int:
        """Bytes of an element."""
        return ITEM_BYTES[self.stored]

    @property
    def inner_bytes(self) -> int:
        """Bytes of an image's pixels, without the ring."""
        return self.height * self.width * self.depth * self.item_bytes

    @property
    def dense(self) -> bool:
        """Whether the elements of an image follow each other without gaps, bits included."""
        return (
            self.part is None
            and self.ring == NO_RING
            and (self.stored != "bits" or all(channels % 64 == 0 for channels in self.segments))
        )


@dataclass(frozen=True)
class Place:
    """A value in the arena.

    Attributes
    ----------
    layout : Layout
    start : int
        Byte offset of its memory, ring included.
    """

    layout: Layout
    start: int


@dataclass(frozen=True, eq=False)
class Step:
    """One call of a kernel.

    Attributes
    ----------
    kernel : str
        A name of `bitconv.kernels.registry.KERNELS`.
    nodes : tuple of str
        The nodes whose work the step does.
    reads, writes : tuple of str
        The values it takes from the arena and leaves there.
    parameters, program : record arrays
        See `bitconv.kernels.records`.
    functions : mapping of str to str
        Functions that the kernel calls, by the fields of its record that take their addresses when
        the plan is about to run.
    shares : int
        How many parts the work is divided into for several threads; 1 where one does it alone.
    bytes_read, bytes_written : int
        Of the maps of one image, each counted once, and of the constants, which are read.
    """

    kernel: str
    nodes: tuple[str, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    parameters: NDArray[np.void]
    program: NDArray[np.void]
    functions: Mapping[str, str]
    shares: int
    bytes_read: int
    bytes_written: int

    @property
    def parallel(self) -> bool:
        """Whether the work is worth several threads."""
        return self.shares > 1

    @cached_property
    def records(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Parameters and program as the bytes that kernels take."""
        return self.parameters.view(np.uint8), self.program.view(np.uint8)


@dataclass(frozen=True, eq=False)
class Plan:
    """What running a graph on at most `images` images takes.

    Attributes
    ----------
    steps : tuple of Step
    constants : uint8 array
        Packed weights and vectors, aligned to 64 bytes.
    arena_bytes : int
    places : mapping of str to Place
        Where each value that is not fused away lies while it lives.
    images, threads : int
    """

    steps: tuple[Step, ...]
    constants: NDArray[np.uint8]
    arena_bytes: int
    places: Mapping[str, Place]
    images: int
    threads: int

    @property
    def has_parallel_steps(self) -> bool:
        """Whether any step is worth several threads."""
        return any(step.parallel for step in self.steps)

    def __str__(self) -> str:
        lines = [
            f"plan of {len(self.steps)} steps for {self.images} image(s), {self.threads} "
            f"thread(s): arena {self.arena_bytes} bytes, constants {len(self.constants)} bytes"
        ]
        for step in self.steps:
            twin = "parallel" if step.parallel else "serial"
            lines.append(
                f"  {step.kernel:20} {twin:8} {', '.join(step.reads)} -> "
                f"{', '.join(step.writes)}  [{' + '.join(step.nodes)}]"
            )
        return "\n".join(lines)


def aligned_bytes(count: int) -> NDArray[np.uint8]:
    """Zeroed memory that starts on a multiple of 64 bytes, a cache line."""
    memory = np.zeros(count + 64, np.uint8)
    skip = -memory.ctypes.data % 64
    return memory[skip : skip + count]
