"""Running a plan: walking its steps over an arena."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from bitconv.bits import unpack_words
from bitconv.compiler.plan import Place, Plan, aligned_bytes
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
    from bitconv.kernels.threads import may_run_parallel, parallel_region

    _view(arena, plan.places[name], len(images))[:] = images.reshape(
        len(images), *_pixels(plan.places[name])
    )
    spreads = plan.has_parallel_steps and may_run_parallel()
    with parallel_region(plan.threads) if spreads else nullcontext():
        for step in plan.steps:
            memory = (arena, plan.constants, *step.records)
            if step.parallel and spreads:
                parallel(step.kernel)(*memory, len(images), plan.threads)
            else:
                serial(step.kernel)(*memory, len(images), 0, 1)


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
