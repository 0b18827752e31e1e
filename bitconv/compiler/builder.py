"""Collecting steps while the memory is not yet laid out, then linking them to their addresses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.compiler.arena import Buffer, place
from bitconv.compiler.constants import ConstantPool
from bitconv.compiler.plan import NO_FUNCTIONS, NO_RING, Layout, Place, Plan, Ring, Step
from bitconv.kernels.records import INSTRUCTION
from bitconv.kernels.registry import KERNELS
from bitconv.kernels.scratch import SCRATCH_BYTES

PARALLEL_SECONDS = 500e-6  # estimated work from which a plan is worth several threads
SHARE_SECONDS = 5e-6  # estimated work of a share at least
SHARES_OF_A_THREAD = 8  # at most


@dataclass(frozen=True, eq=False)
class Value:
    """A value that exists in memory while the plan runs.

    Attributes
    ----------
    layout : Layout
    buffer : Buffer
    clears_ring : bool
        Whether who writes the value has to zero the ring: of the parts of a map, only one does.
    """

    layout: Layout
    buffer: Buffer
    clears_ring: bool = True

    @property
    def ring(self) -> Ring:
        """The ring to zero when the value is written."""
        return self.layout.ring if self.clears_ring else NO_RING

    def run(self, first: int, channels: int) -> Value:
        """The part that holds some channels."""
        clears_ring = self.clears_ring and first == 0
        return Value(self.layout.run(first, channels), self.buffer, clears_ring)


@dataclass(frozen=True, eq=False)
class Address:
    """An element of a value, known once the arena is laid out.

    Attributes
    ----------
    buffer : Buffer
    item_bits : int
        Size of what the offset counts.
    element : int
        Offset from the start of the buffer.
    """

    buffer: Buffer
    item_bits: int
    element: int = 0

    def resolve(self) -> int:
        return self.buffer.start * 8 // self.item_bits + self.element


def address(value: Value, element: int = 0) -> Address:
    """The element of `value` at that distance from its first inner pixel."""
    layout = value.layout
    return Address(value.buffer, layout.item_bytes * 8, layout.first + element)


def at(name: str, value: Value, element: int = 0) -> dict[str, int | Address]:
    """The fields of a record that say where a map lies."""
    layout = value.layout
    return {
        f"{name}_offset": address(value, element),
        f"{name}_image": layout.image,
        f"{name}_row": layout.row,
        f"{name}_pixel": layout.pixel,
    }


def stored_map(value: Value) -> dict[str, Any]:
    """The fields of an instruction that name a map."""
    layout = value.layout
    top, left, bottom, right = value.ring
    return {
        **at("map", value),
        "height": layout.height,
        "width": layout.width,
        "channels": layout.channels,
        "words": layout.depth,
        "top": top,
        "left": left,
        "bottom": bottom,
        "right": right,
    }


def pointwise_record(source: Value) -> dict[str, Any]:
    """The parameters of the kernel that runs a program on every pixel of a map."""
    layout = source.layout
    return {
        **at("source", source),
        "rows": layout.height,
        "columns": layout.width,
        "channels": layout.channels,
        "source_is_uint8": layout.stored == "uint8",
        "table": -1,
    }


Record = Mapping[str, "int | float | Address"]


class PlanBuilder:
    """The steps, values and constants of a plan in the making.

    Parameters
    ----------
    images, threads : int
        See `Plan`.
    """

    def __init__(self, images: int, threads: int) -> None:
        self.images, self.threads = images, threads
        self.constants = ConstantPool()
        self._steps: list[Step] = []
        self._seconds_divided = 0.0
        self._constants_read = 0  # bytes of the constants of all steps so far
        self._buffers: list[Buffer] = []
        self._links: list[tuple[NDArray[np.void], int, str, Address]] = []

    @property
    def step_count(self) -> int:
        """Steps so far."""
        return len(self._steps)

    def nodes_since(self, step: int) -> list[str]:
        """The nodes whose work is done by the steps from number `step` on."""
        return [name for item in self._steps[step:] for name in item.nodes]

    def new_value(self, layout: Layout) -> Value:
        """Memory for `images` maps, alive from the next step on."""
        size = self.images * layout.image * layout.item_bytes
        return Value(layout, self._buffer(size))

    def new_scratch(self, size: int) -> Buffer:
        """Bytes for the next step alone."""
        return self._buffer(size)

    def add_step(
        self,
        kernel: str,
        *,
        nodes: Sequence[str],
        reads: Iterable[tuple[str, Value]],
        writes: Mapping[str, Value],
        records: Sequence[Record],
        program: Sequence[Record] = (),
        functions: Mapping[str, str] = NO_FUNCTIONS,
        seconds: float = 0.0,
    ) -> None:
        """Append a step; `seconds` estimates its work on one image.

        One name may be read from memory of several layouts; all of it lives until the step is done.
        What was put among the constants since the step before counts as its own.
        """
        shares = self._divide(seconds * self.images) if KERNELS[kernel].divisible else 1
        parameters = self._fill(KERNELS[kernel].parameters, records)
        if "scratch" in (parameters.dtype.names or ()):
            threads = self.threads if shares > 1 else 1
            scratch = self.new_scratch(threads * SCRATCH_BYTES)
            parameters["scratch_step"] = SCRATCH_BYTES
            self._links.append((parameters, 0, "scratch", Address(scratch, 8)))
        sources = list(reads)
        read = dict.fromkeys(value for _, value in sources)
        for value in (*read, *writes.values()):
            value.buffer.last = max(value.buffer.last, len(self._steps))
        constants = self.constants.added - self._constants_read
        self._constants_read = self.constants.added
        self._steps.append(
            Step(
                kernel,
                tuple(nodes),
                tuple(dict.fromkeys(name for name, _ in sources)),
                tuple(writes),
                parameters,
                self._fill(INSTRUCTION, program),
                functions,
                shares,
                bytes_read=sum(v.layout.inner_bytes for v in read) + constants,
                bytes_written=sum(v.layout.inner_bytes for v in writes.values()),
            )
        )

    def finish(self, values: Mapping[str, Value], kept: Iterable[str]) -> Plan:
        """Lay out the arena and resolve all addresses.

        Parameters
        ----------
        values : mapping of str to Value
            All values that have a name.
        kept : iterable of str
            Those that must survive to the end.
        """
        for name in kept:
            values[name].buffer.last = len(self._steps)
        arena_bytes = place(self._buffers)
        for array, index, field, target in self._links:
            array[field][index] = target.resolve()
        steps = self._steps
        if self._seconds_divided < PARALLEL_SECONDS:
            steps = [replace(step, shares=1) for step in steps]
        places = {name: Place(value.layout, value.buffer.start) for name, value in values.items()}
        return Plan(
            tuple(steps),
            self.constants.block(),
            arena_bytes,
            places,
            self.images,
            self.threads,
        )

    def _divide(self, seconds: float) -> int:
        """How many shares some work is divided into, if possible several for every thread.

        A thread that is done takes another share, so one that was slower, or that another program
        kept waiting, does fewer of them.
        """
        if self.threads == 1 or seconds < 2 * SHARE_SECONDS:
            return 1
        self._seconds_divided += seconds
        return min(int(seconds / SHARE_SECONDS), self.threads * SHARES_OF_A_THREAD)

    def _buffer(self, size: int) -> Buffer:
        step = len(self._steps)
        buffer = Buffer(size, step, step)
        self._buffers.append(buffer)
        return buffer

    def _fill(self, dtype: np.dtype[Any], records: Sequence[Record]) -> NDArray[np.void]:
        array = np.zeros(len(records), dtype)
        for index, record in enumerate(records):
            for field, value in record.items():
                if isinstance(value, Address):
                    self._links.append((array, index, field, value))
                else:
                    array[field][index] = value
        return array
