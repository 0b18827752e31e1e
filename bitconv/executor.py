"""Running a plan: walking its steps over an arena."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from bitconv.bits import unpack_words
from bitconv.compiler.plan import Place, Plan, Step, aligned_bytes
from bitconv.graph import TensorType
from bitconv.kernels.records import LENGTH_BYTES
from bitconv.kernels.registry import KERNELS, needed_functions, parallel, serial

_DTYPES = {"uint8": np.uint8, "float32": np.float32, "bits": np.uint64}


class DoesNotFitError(Exception):
    """An encoded map is larger than its place; compile with room for it, and run again."""


def new_arena(plan: Plan) -> NDArray[np.uint8]:
    """Memory for one run of the plan at a time."""
    return aligned_bytes(plan.arena_bytes)


def execute(plan: Plan, arena: NDArray[np.uint8], name: str, images: NDArray[Any]) -> None:
    """Compute everything from at most `plan.images` images, the input `name`.

    The values that the plan keeps are in the arena afterwards; see `value_of`.

    Raises
    ------
    DoesNotFitError
        See `bitconv.feature_maps.compression.with_room`.
    """
    _put(plan, arena, name, images)
    _walk(plan.steps, plan, arena, len(images))


def execute_timed(
    plan: Plan, arena: NDArray[np.uint8], name: str, images: NDArray[Any]
) -> list[int]:
    """Do as `execute` does; the nanoseconds that every step took."""
    _put(plan, arena, name, images)
    stamps: list[int] = []
    _walk(_stamping(plan.steps, stamps), plan, arena, len(images))
    return [after - before for before, after in pairwise(stamps)]


def value_of(
    plan: Plan, arena: NDArray[np.uint8], name: str, value: TensorType, images: int
) -> NDArray[Any]:
    """A copy of a kept value, (images, ...) in its own kind; bits as −1 and +1."""
    place = plan.places[name]
    if value.kind == "bytes":
        return _encoded_maps(arena, place, value.size, images)
    stored = _view(arena, place, images)
    if value.kind == "bits":
        bits = unpack_words(stored, place.layout.channels)
        stored = np.where(bits, np.int8(-1), np.int8(1))
    return stored.astype(value.dtype).reshape(images, *value.shape)


def _encoded_maps(
    arena: NDArray[np.uint8], place: Place, size: int, images: int
) -> NDArray[np.uint8]:
    """Encoded maps with zeros behind them, (images, size)."""
    result = np.zeros((images, size), np.uint8)
    lengths = _lengths(arena, place, images)
    for slot, row, length in zip(_slots(arena, place, images), result, lengths, strict=True):
        row[: LENGTH_BYTES + length] = slot[: LENGTH_BYTES + length]
    return result


def _lengths(arena: NDArray[np.uint8], place: Place, images: int) -> NDArray[np.int64]:
    """Bytes of each encoded map; negative where it does not fit."""
    numbers: NDArray[np.int64] = _slots(arena, place, images)[:, :LENGTH_BYTES].view(np.int64)
    return numbers[:, 0]


def _slots(arena: NDArray[np.uint8], place: Place, images: int) -> NDArray[np.uint8]:
    """The bytes reserved for each encoded map."""
    size = place.layout.image
    return arena[place.start : place.start + images * size].reshape(images, size)


def _put(plan: Plan, arena: NDArray[np.uint8], name: str, images: NDArray[Any]) -> None:
    place = plan.places[name]
    _view(arena, place, len(images))[:] = images.reshape(len(images), *_pixels(place))


def _walk(steps: Iterable[Step], plan: Plan, arena: NDArray[np.uint8], images: int) -> None:
    """Run the steps, all those of the plan, in order."""
    from bitconv.kernels.threads import may_run_parallel, parallel_region

    spreads = plan.has_parallel_steps and may_run_parallel()
    with parallel_region(plan.threads) if spreads else nullcontext():
        for step in steps:
            memory = (arena, plan.constants, *step.records)
            if step.parallel and spreads:
                parallel(step.kernel)(*memory, images, plan.threads)
            else:
                serial(step.kernel)(*memory, images, 0, 1)
            if KERNELS[step.kernel].encodes:
                _check_sizes(plan, step, arena, images)


def _check_sizes(plan: Plan, step: Step, arena: NDArray[np.uint8], images: int) -> None:
    for name in step.writes:
        if (_lengths(arena, plan.places[name], images) < 0).any():
            raise DoesNotFitError(name)


def _stamping(steps: Iterable[Step], stamps: list[int]) -> Iterator[Step]:
    """The steps; whoever walks them leaves the time before each and after the last."""
    for step in steps:
        stamps.append(time.perf_counter_ns())
        yield step
    stamps.append(time.perf_counter_ns())


def _pixels(place: Place) -> tuple[int, int, int]:
    return place.layout.height, place.layout.width, place.layout.pixel


def _view(arena: NDArray[np.uint8], place: Place, images: int) -> NDArray[Any]:
    """The inner pixels of the images, (images, height, width, elements of a pixel)."""
    layout = place.layout
    elements = arena[place.start :].view(_DTYPES[layout.stored])[layout.first :]
    strides = (layout.image, layout.row, layout.pixel, 1)
    return as_strided(
        elements,
        (images, *_pixels(place)),
        tuple(stride * layout.item_bytes for stride in strides),
    )


def functions_of(plan: Plan) -> list[str]:
    """What must be compiled before the plan can run, in order of first use."""
    needed = [needed_functions(step.kernel, step.parallel) for step in plan.steps]
    return list(dict.fromkeys(name for names in needed for name in names))
