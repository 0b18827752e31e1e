"""All kernels by name, with the record each takes; a kernel's module is imported when needed."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from bitconv.kernels import records, store
from bitconv.kernels.machine_code import MachineCode, callable_at, load


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
    """

    module: str
    parameters: np.dtype[np.void]
    runs_program: bool = False
    divisible: bool = False


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
}

WALK = "walk"  # the loop over the steps of a plan
SPREAD = "spread"  # the loop over threads
PROGRAM = "run_program"  # what follows a kernel

# Functions besides KERNELS: their modules, and the number of their int64 arguments if Python calls
# them.
_HOMES = {
    WALK: ("walk", 9),
    SPREAD: ("spread", None),
    PROGRAM: ("program", None),
    "popcount_chains": ("roofline", 2),
    "multiply_chains": ("roofline", 2),
}

_one_loads = threading.Lock()
_addresses: dict[str, int] = {}


def address(name: str) -> int:
    """Where the code of a function begins; loads it, or compiles it, if need be."""
    if name not in _addresses:
        with _one_loads:
            if name not in _addresses:
                _addresses[name] = load(store.read(name) or _compiled(name))
    return _addresses[name]


@cache
def function(name: str) -> Callable[..., None]:
    """A function of integers, for Python to call."""
    _, arguments = _HOMES[name]
    if arguments is None:
        raise KeyError(name)
    return callable_at(address(name), arguments)


def needed_functions(name: str, in_parallel: bool) -> list[str]:
    """What must be compiled before WALK can call a kernel."""
    program = [PROGRAM] if KERNELS[name].runs_program else []
    return [name, *program, *([SPREAD] if in_parallel else [])]


def is_ready(name: str) -> bool:
    """Whether `address` has nothing to compile: done in this process, or on disk."""
    return name in _addresses or store.is_stored(name)


def compile_function(name: str) -> None:
    """Compile a function for later processes, if that has not been done."""
    if not store.is_stored(name):
        _compiled(name)


def _compiled(name: str) -> MachineCode:
    """The code of a function, made anew and kept on disk."""
    from bitconv.kernels.jit import machine_code_of

    home = _HOMES[name][0] if name in _HOMES else KERNELS[name].module
    dispatcher = getattr(importlib.import_module(f"bitconv.kernels.{home}"), name)
    code = machine_code_of(dispatcher, _signature(name))
    store.write(name, code)
    return code


def _signature(name: str) -> tuple[Any, ...]:
    from numba import float32, int64, uint8

    octets, integers = uint8[::1], int64[::1]
    if name == SPREAD:
        return (int64, octets, octets, octets, octets, int64, int64, int64)
    if name == PROGRAM:
        return (
            octets, octets, octets, float32[::1], int64, int64, int64, int64,
            integers, integers, integers, int64,
        )  # fmt: skip
    if name in _HOMES:
        return (int64,) * (_HOMES[name][1] or 0)
    return (octets, octets, octets, octets, int64, int64, int64, int64)


def _after_fork() -> None:
    global _one_loads
    _one_loads = threading.Lock()  # the parent's may be held by a thread that is not here


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
