"""Running a plan: walking its steps over an arena."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from statistics import median
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from bitconv.bits import unpack_words
from bitconv.compiler.plan import Place, Plan, aligned_bytes
from bitconv.kernels.backoff import Backoff
from bitconv.kernels.records import CALL, LENGTH_BYTES
from bitconv.kernels.registry import (
    KERNELS,
    PROGRAM,
    WALK,
    WALK_TOGETHER,
    address,
    function,
    link,
    needed_functions,
)
from bitconv.kernels.threads import may_run_parallel, parallel_region, yielding_function

_DTYPES = {"uint8": np.uint8, "float32": np.float32, "bits": np.uint64}


class DoesNotFitError(Exception):
    """An encoded map is larger than its place; compile with room for it, and run again."""


class Workspace:
    """Memory for one run of a plan at a time, and all that a run would otherwise look up.

    Compiles the kernels, or loads them, where that has not been done.

    Parameters
    ----------
    plan : Plan
    arena : uint8 array, optional
        As many bytes as the plan says, from a multiple of 64 on; what they hold does not matter.

    Attributes
    ----------
    plan : Plan
    arena : uint8 array
    """

    def __init__(self, plan: Plan, arena: NDArray[np.uint8] | None = None) -> None:
        self.plan = plan
        self.arena = aligned_bytes(plan.arena_bytes) if arena is None else arena
        self._calls = _calls(plan)
        self._spreads = plan.has_parallel_steps
        self._first_call, _ = _extent(self._calls)
        self._walk_alone = function(WALK)
        if self._spreads:
            self._walk_together = function(WALK_TOGETHER)
        self._backoff = Backoff()
        self._memory = (*_extent(self.arena), *_extent(plan.constants))
        self._maps: dict[str, NDArray[Any]] = {}
        self._rings: dict[str, list[NDArray[Any]]] = {}
        self._encoding = [
            number for number, step in enumerate(plan.steps) if KERNELS[step.kernel].encodes
        ]
        # Bytes of the encoded maps; negative where one does not fit
        self._lengths: dict[str, NDArray[np.int64]] = {
            name: self._map(name)[:, 0, 0, :LENGTH_BYTES].view(np.int64)[:, 0]
            for number in self._encoding
            for name in plan.steps[number].writes
        }

    def run(self, name: str, images: NDArray[Any]) -> None:
        """Compute everything from at most `plan.images` images, the input `name`.

        The values that the plan keeps are in the arena afterwards; see `read`.

        Raises
        ------
        DoesNotFitError
            See `bitconv.feature_maps.compression.with_room`.
        """
        self._put(name, images)
        self.run_steps(slice(None), len(images))

    def run_steps(self, steps: slice, images: int) -> None:
        """Run some of the steps, on what those before them left in the arena.

        Raises
        ------
        DoesNotFitError
            See `run`.
        """
        with self._threads() as threads:
            self._walk(steps, images, threads)

    def run_timed(self, name: str, images: NDArray[Any]) -> list[float]:
        """Do as `run` does; the seconds that every step took."""
        self.run(name, images)
        ticks = self._calls["ended"] - self._calls["begun"]
        # Clocks of two cores may be a tick apart.
        return [float(seconds) for seconds in np.maximum(ticks, 1) * _seconds_of_tick()]

    def read(self, name: str, result: NDArray[Any]) -> None:
        """Copy a kept value of the first images to a C-ordered array; signs as −1 and +1."""
        layout = self.plan.places[name].layout
        found = self._map(name)[: len(result)]
        if name in self._lengths:
            self._read_encoded(name, found[:, 0, 0], result)
            return
        if layout.stored == "bits":
            found = np.where(unpack_words(found, layout.channels), np.int8(-1), np.int8(1))
        # A signed array counts what was stored as bytes or floats; both hold it exactly.
        np.copyto(result.reshape(found.shape), found, casting="unsafe")

    def _read_encoded(self, name: str, found: NDArray[np.uint8], result: NDArray[np.uint8]) -> None:
        """Copy the bytes of encoded maps, and put zeros behind them."""
        for source, target, length in zip(found, result, self._lengths[name], strict=False):
            end = LENGTH_BYTES + length
            target[:end], target[end:] = source[:end], 0

    @contextmanager
    def _threads(self) -> Iterator[int]:
        """What the steps run within; on how many threads."""
        if self._spreads and may_run_parallel() and self._backoff.may_try():
            with parallel_region(self.plan.threads):
                yield self.plan.threads
        else:
            yield 1

    def _walk(self, steps: slice, images: int, threads: int) -> None:
        """Run steps in one call; a call ends behind every step that encodes.

        So what does not fit its place is found before anything reads it.
        """
        numbers = range(len(self._calls))[steps]
        first = numbers.start
        for number in self._encoding:
            if number in numbers:
                self._call(slice(first, number + 1), images, threads)
                self._check_sizes(number, images)
                first = number + 1
        if first < numbers.stop:
            self._call(slice(first, numbers.stop), images, threads)

    def _call(self, steps: slice, images: int, threads: int) -> None:
        first = self._first_call + steps.start * CALL.itemsize
        count = steps.stop - steps.start
        if threads > 1:
            team = threads, yielding_function()
            waited = self._walk_together(first, count, *self._memory, images, *team)
            self._backoff.note(bool(waited))
        else:
            self._walk_alone(first, count, *self._memory, images)

    def _check_sizes(self, number: int, images: int) -> None:
        for name in self.plan.steps[number].writes:
            if (self._lengths[name][:images] < 0).any():
                raise DoesNotFitError(name)

    def _put(self, name: str, images: NDArray[Any]) -> None:
        target = self._map(name)[: len(images)]
        np.copyto(target, images.reshape(target.shape))
        for side in self._ring(name):
            side[: len(images)] = 0

    def _ring(self, name: str) -> list[NDArray[Any]]:
        """The pixels around a map."""
        if name not in self._rings:
            place = self.plan.places[name]
            self._rings[name] = _ring(self.arena, place, self.plan.images)
        return self._rings[name]

    def _map(self, name: str) -> NDArray[Any]:
        if name not in self._maps:
            self._maps[name] = _view(self.arena, self.plan.places[name], self.plan.images)
        return self._maps[name]


@cache
def _seconds_of_tick() -> float:
    """How long a tick of the processor's clock is, measured once."""
    read_clock = function("read_clock")

    def measure() -> float:
        started, first = time.perf_counter(), read_clock()
        time.sleep(0.005)  # some thousand times as long as a reading
        return (time.perf_counter() - started) / (read_clock() - first)

    return median(measure() for _ in range(5))


def functions_of(plan: Plan) -> list[str]:
    """What must be compiled before the plan can run, in order of first use."""
    needed = [
        needed_functions(step.kernel, step.functions.values(), step.parallel) for step in plan.steps
    ]
    return list(dict.fromkeys((WALK, *(name for names in needed for name in names))))


def _calls(plan: Plan) -> NDArray[np.void]:
    """The steps as `walk` takes them; valid in this process as long as the plan is there."""
    calls = np.zeros(len(plan.steps), CALL)
    for call, step in zip(calls, plan.steps, strict=True):
        link(step.parameters, step.functions)
        parameters, program = step.records
        call["kernel"] = address(step.kernel)
        call["run_program"] = address(PROGRAM) if KERNELS[step.kernel].runs_program else 0
        call["parameters"], call["parameter_bytes"] = parameters.ctypes.data, parameters.size
        call["program"], call["program_bytes"] = program.ctypes.data, program.size
        call["shares"] = step.shares
    return calls


def _extent(array: NDArray[Any]) -> tuple[int, int]:
    """Address and length of an array, which must stay alive."""
    return array.ctypes.data, array.size


def _view(arena: NDArray[np.uint8], place: Place, images: int) -> NDArray[Any]:
    """The inner pixels of the images, (images, height, width, elements of a pixel)."""
    layout = place.layout
    return _pixels(arena, place, images, layout.first, layout.height, layout.width)


def _ring(arena: NDArray[np.uint8], place: Place, images: int) -> list[NDArray[Any]]:
    """The pixels around the images: above, below, left and right."""
    layout = place.layout
    top, left, bottom, right = layout.ring
    height, width = top + layout.height + bottom, left + layout.width + right
    whole = _pixels(arena, place, images, 0, height, width)
    sides = [whole[:, :top], whole[:, top + layout.height :], whole[:, :, :left]]
    sides.append(whole[:, :, left + layout.width :])
    return [side for side in sides if side.size]


def _pixels(
    arena: NDArray[np.uint8], place: Place, images: int, first: int, height: int, width: int
) -> NDArray[Any]:
    layout = place.layout
    elements = arena[place.start :].view(_DTYPES[layout.stored])[first:]
    strides = (layout.image, layout.row, layout.pixel, 1)
    return as_strided(
        elements,
        (images, height, width, layout.depth),
        tuple(stride * layout.item_bytes for stride in strides),
    )
