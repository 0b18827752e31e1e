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
from bitconv.kernels.registry import needed_functions, parallel, serial

_DTYPES = {"uint8": np.uint8, "float32": np.float32, "bits": np.uint64}


def new_arena(plan: Plan) -> NDArray[np.uint8]:
    """Memory for one run of the plan at a time."""
    return aligned_bytes(plan.arena_bytes)


def execute(plan: Plan, arena: NDArray[np.uint8], name: str, images: NDArray[Any]) -> None:
    """Compute everything from at most `plan.images` images, the input `name`.

    The values that the plan keeps are in the arena afterwards; see `value_of`.
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
    stored = _view(arena, place, images)
    if value.kind == "bits":
        bits = unpack_words(stored, place.layout.channels)
        stored = np.where(bits, np.int8(-1), np.int8(1))
    return stored.astype(value.dtype).reshape(images, *value.shape)


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
