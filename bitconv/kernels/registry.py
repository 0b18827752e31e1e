"""All kernels by name, with the record each takes; a kernel's module is imported when needed."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.kernels import records, store
from bitconv.kernels.codecs import CODERS, PREPARE_READING, PREPARE_WRITING, TRANSFORMS
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
    encodes : bool
        Whether it writes maps that may turn out too large for their place.
    """

    module: str
    parameters: np.dtype[np.void]
    runs_program: bool = False
    divisible: bool = False
    encodes: bool = False


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
    "encode_map": Kernel("map_coding", records.ENCODE_MAP, divisible=True, encodes=True),
    "decode_map": Kernel("map_coding", records.DECODE_MAP, runs_program=True, divisible=True),
}

WALK = "walk"  # the loop over the steps of a plan
WALK_TOGETHER = "walk_together"  # the same on several threads
PROGRAM = "run_program"  # what follows a kernel
ENCODE, DECODE = "encode_strips", "decode_strips"  # maps in no arena

# Functions besides KERNELS: their modules, and for those that Python calls, which of their
# arguments are arrays ("a") and which are integers ("i").
_HOMES: dict[str, tuple[str, str | None]] = {
    WALK: ("walk", 7 * "i"),
    WALK_TOGETHER: ("walk", 9 * "i"),
    PROGRAM: ("program", None),
    ENCODE: ("map_coding", 5 * "a"),
    DECODE: ("map_coding", 5 * "a"),
    PREPARE_WRITING: ("huffman_tables", 3 * "a"),
    PREPARE_READING: ("huffman_tables", 3 * "a"),
    **{f"pack_{name}": (coder.module, None) for name, coder in CODERS.items()},
    **{f"unpack_{name}": (coder.module, None) for name, coder in CODERS.items()},
    **{f"quantize_{name}": (module, None) for name, module in TRANSFORMS.items()},
    **{f"restore_{name}": (module, None) for name, module in TRANSFORMS.items()},
    "read_clock": ("clock", ""),
    "popcount_chains": ("roofline", "ii"),
    "multiply_chains": ("roofline", "ii"),
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
def function(name: str) -> Callable[..., int]:
    """A function for Python to call."""
    _, arguments = _HOMES[name]
    if arguments is None:
        raise KeyError(name)
    return callable_at(address(name), arguments)


def link(record: NDArray[np.void], functions: Mapping[str, str]) -> None:
    """Put the addresses of functions, which are those of this process, into a record's fields."""
    for field, name in functions.items():
        record[field] = address(name)


def needed_functions(name: str, functions: Iterable[str], in_parallel: bool) -> list[str]:
    """What must be compiled before WALK can call a kernel that calls some functions of codecs."""
    program = [PROGRAM] if KERNELS[name].runs_program else []
    return [name, *functions, *program, *([WALK_TOGETHER] if in_parallel else [])]


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

    octets, integers, floats = uint8[::1], int64[::1], float32[::1]
    match name.partition("_")[0]:
        case "pack" | "unpack":
            return (octets, int64, octets, octets, octets, octets)
        case "quantize" | "restore":
            return (floats, octets, int64, octets, octets)
        case "prepare":
            return (octets, octets, octets)
    if name in (ENCODE, DECODE):
        return (floats, octets, octets, octets, octets)
    if name == PROGRAM:
        return (
            octets, octets, octets, floats, int64, int64, int64, int64,
            integers, integers, integers, int64,
        )  # fmt: skip
    if name in _HOMES:
        return (int64,) * len(_HOMES[name][1] or "")
    return (*(octets,) * 4, *(int64,) * 5)


def _after_fork() -> None:
    global _one_loads
    _one_loads = threading.Lock()  # the parent's may be held by a thread that is not here


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
