"""All kernels by name, with the record each takes; a kernel's module is imported when needed."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.kernels import records

Octets = NDArray[np.uint8]


@dataclass(frozen=True)
class Kernel:
    """One kernel.

    Attributes
    ----------
    module : str
        In `bitconv.kernels`; holds the function of the kernel's name.
    parameters : dtype
        The record of one step.
    runs_program : bool
        Whether a pointwise program follows.
    divisible : bool
        Whether its work is worth dividing among threads.
    encodes : bool
        Whether it writes maps that may turn out too large for their place.
    """

    module: str
    parameters: np.dtype[np.void]
    runs_program: bool = False
    divisible: bool = False
    encodes: bool = False


CODECS = ("dct_cm", "eight_bit", "transform_coding", "zero_mask")
KERNELS = {
    "activation_scale_map": Kernel("activation_scale", records.SCALE_MAP),
    "binary_conv2d": Kernel(
        "binary_conv2d", records.BINARY_CONV2D, runs_program=True, divisible=True
    ),
    "binary_weight_conv2d": Kernel(
        "binary_weight_conv2d", records.BINARY_WEIGHT_CONV2D, runs_program=True, divisible=True
    ),
    "conv2d": Kernel("conv2d", records.CONV2D, runs_program=True, divisible=True),
    "copy_bits": Kernel("copying", records.COPY),
    "copy_bytes": Kernel("copying", records.COPY),
    "copy_floats": Kernel("copying", records.COPY),
    "copy_words": Kernel("copying", records.COPY),
    "max_pool2d_bits": Kernel("pooling", records.POOL_BITS),
    "pointwise": Kernel("pointwise", records.POINTWISE, runs_program=True, divisible=True),
    "pool2d": Kernel("pooling", records.POOL, runs_program=True, divisible=True),
    "softmax": Kernel("softmax", records.SOFTMAX),
    **{
        f"encode_{codec}": Kernel("map_coding", records.ENCODE_MAP, divisible=True, encodes=True)
        for codec in CODECS
    },
    **{
        f"decode_{codec}": Kernel(
            "map_coding", records.DECODE_MAP, runs_program=True, divisible=True
        )
        for codec in CODECS
    },
}

WALK = "walk"  # the loop over the steps of a plan
SPREAD = "spread"  # the loop over threads
PROGRAM = "run_program"  # what follows a kernel


@cache
def address(name: str) -> int:
    """Where the code of a kernel, PROGRAM or SPREAD begins; compiles or loads it if need be."""
    from bitconv.kernels.linking import address_of

    return address_of(_dispatcher(name), _signature(name))


@cache
def walker() -> Callable[[Octets, int, Octets, Octets, int, int], None]:
    """The loop over steps as ``(calls, spread, arena, constants, images, shares)``."""
    compile_function(WALK)
    function: Callable[[Octets, int, Octets, Octets, int, int], None] = _dispatcher(WALK)
    return function


def needed_functions(name: str, in_parallel: bool) -> list[str]:
    """What must be compiled before WALK can call a kernel."""
    program = [PROGRAM] if KERNELS[name].runs_program else []
    return [name, *program, *([SPREAD] if in_parallel else [])]


def compile_function(name: str) -> None:
    """Compile a kernel, PROGRAM, SPREAD or WALK, or take it from the cache on disk."""
    _dispatcher(name).compile(_signature(name))


def is_ready(name: str) -> bool:
    """Whether `compile_function` has nothing to compile: done in this process, or on disk."""
    from bitconv.kernels.cache import is_compiled

    return is_compiled(_dispatcher(name), _signature(name))


def is_stored(name: str) -> bool:
    """Whether a later process will find the function on disk."""
    from bitconv.kernels import cache

    return cache.is_stored(_dispatcher(name), _signature(name))


def _dispatcher(name: str) -> Any:
    homes = {WALK: "walk", SPREAD: "spread", PROGRAM: "program"}
    home = homes[name] if name in homes else KERNELS[name].module
    return getattr(importlib.import_module(f"bitconv.kernels.{home}"), name)


def _signature(name: str) -> tuple[Any, ...]:
    from numba import float32, int64, uint8

    octets, integers = uint8[::1], int64[::1]
    if name == WALK:
        return (octets, int64, octets, octets, int64, int64)
    if name == SPREAD:
        return (int64, octets, octets, octets, octets, int64, int64, int64)
    if name == PROGRAM:
        return (
            octets, octets, octets, float32[::1], int64, int64, int64, int64,
            integers, integers, integers, int64,
        )  # fmt: skip
    return (octets, octets, octets, octets, int64, int64, int64, int64)
