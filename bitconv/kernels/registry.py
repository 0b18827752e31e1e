"""All kernels by name, with the record each takes; a kernel's module is imported when needed."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.kernels import records

Octets = NDArray[np.uint8]
Floats = NDArray[np.float32]


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
SPREAD = "spread"  # the loop over threads
PROGRAM = "run_program"  # what follows a kernel
ENCODE, DECODE = "encode_strips", "decode_strips"  # maps in no arena


@dataclass(frozen=True)
class Coder:
    """A way to write bytes in fewer, without loss, strip by strip: ``pack_NAME``, ``unpack_NAME``.

    Both have the signature ``(symbols, count, data, constants, tables, scratch)``. Packing writes
    `count` bytes from `symbols`, which has room to the end of a word, to `data`; it may write to
    all of `data`. It returns the number of bytes written, or −1 where `data` is too short.
    Unpacking returns the number of bytes used, where `data` may go on, or −1 where they are nothing
    that was packed; then `symbols` is undefined. It touches nothing else, whatever the data.

    Attributes
    ----------
    module : str
    scratch_bytes : callable
        What both need to pack so many bytes.
    write_tables, read_tables : int
        Bytes of the tables that `PREPARE_WRITING` or `PREPARE_READING` make beforehand, with the
        signature ``(constants, tables, scratch)``; 0 where there are none.
    """

    module: str
    scratch_bytes: Callable[[int], int] = lambda _count: 0
    write_tables: int = 0
    read_tables: int = 0


def _masked_scratch(count: int) -> int:
    """Bytes to keep and a word, masks in whole words, and two int64 for each of four streams.

    Or, before, what sorting the symbols of a code takes.
    """
    words = -(-count // 8)
    sorting = 8 * (records.LONGEST_CODE + 1) + 2 * records.CODE_SYMBOLS
    return max(8 * (words + 1) + -(-words // 8) * 8 + 2 * 4 * 8, sorting)


CODERS = {
    "masked": Coder(
        "masked_bytes", _masked_scratch, write_tables=2 * 2 * 257 * 4, read_tables=2 * 1024 * 4
    ),
    "plain": Coder("plain_bytes"),
    "zero_mask": Coder("zero_mask"),
}
# What makes bytes of a strip: ``quantize_NAME`` and ``restore_NAME``, by the module that holds
# them. Both have the signature ``(values, symbols, channels, constants, scratch)``.
TRANSFORMS = {"components": "transform_coding", "dct_cm": "dct_cm", "levels": "levels"}
PREPARE_WRITING, PREPARE_READING = "prepare_writing", "prepare_reading"


@cache
def address(name: str) -> int:
    """Where the code of a function begins; compiles or loads it if need be."""
    from bitconv.kernels.linking import address_of

    return address_of(_dispatcher(name), _signature(name))


@cache
def walker() -> Callable[[Octets, int, Octets, Octets, int, int], None]:
    """The loop over steps as ``(calls, spread, arena, constants, images, shares)``."""
    function: Callable[[Octets, int, Octets, Octets, int, int], None] = _compiled(WALK)
    return function


@cache
def strip_coder(name: str) -> Callable[[Floats, Octets, Octets, Octets, Octets], int]:
    """ENCODE or DECODE as ``(values, data, constants, coding, memory)``; see their module."""
    function: Callable[[Floats, Octets, Octets, Octets, Octets], int] = _compiled(name)
    return function


def encoding_functions(transform: str, coder: str) -> dict[str, str]:
    """What encodes, by the fields of a record that take the addresses."""
    functions = {"transform": f"quantize_{transform}", "code": f"pack_{coder}"}
    if CODERS[coder].write_tables:
        functions["prepare"] = PREPARE_WRITING
    return functions


def decoding_functions(transform: str, coder: str) -> dict[str, str]:
    """What decodes, by the fields of a record that take the addresses."""
    functions = {"transform": f"restore_{transform}", "code": f"unpack_{coder}"}
    if CODERS[coder].read_tables:
        functions["prepare"] = PREPARE_READING
    return functions


def link(record: NDArray[np.void], functions: Mapping[str, str]) -> None:
    """Put the addresses of functions, which are those of this process, into a record's fields."""
    for field, name in functions.items():
        record[field] = address(name)


def needed_functions(name: str, functions: Iterable[str], in_parallel: bool) -> list[str]:
    """What must be compiled before WALK can call a kernel that calls some functions of codecs."""
    program = [PROGRAM] if KERNELS[name].runs_program else []
    return [name, *functions, *program, *([SPREAD] if in_parallel else [])]


def compile_function(name: str) -> None:
    """Compile a kernel, a part of a codec or one of the loops, or take it from the disk."""
    _compiled(name)


def is_ready(name: str) -> bool:
    """Whether `compile_function` has nothing to compile: done in this process, or on disk."""
    from bitconv.kernels.cache import is_compiled

    return is_compiled(_dispatcher(name), _signature(name))


def is_stored(name: str) -> bool:
    """Whether a later process will find the function on disk."""
    from bitconv.kernels import cache

    return cache.is_stored(_dispatcher(name), _signature(name))


def _compiled(name: str) -> Any:
    dispatcher = _dispatcher(name)
    dispatcher.compile(_signature(name))
    return dispatcher


def _dispatcher(name: str) -> Any:
    home = _HOMES[name] if name in _HOMES else KERNELS[name].module
    return getattr(importlib.import_module(f"bitconv.kernels.{home}"), name)


_HOMES = {
    WALK: "walk",
    SPREAD: "spread",
    PROGRAM: "program",
    ENCODE: "map_coding",
    DECODE: "map_coding",
    PREPARE_WRITING: "huffman_tables",
    PREPARE_READING: "huffman_tables",
    **{f"pack_{name}": coder.module for name, coder in CODERS.items()},
    **{f"unpack_{name}": coder.module for name, coder in CODERS.items()},
    **{f"quantize_{name}": module for name, module in TRANSFORMS.items()},
    **{f"restore_{name}": module for name, module in TRANSFORMS.items()},
}


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
    if name == WALK:
        return (octets, int64, octets, octets, int64, int64)
    if name == SPREAD:
        return (int64, octets, octets, octets, octets, int64, int64, int64)
    if name == PROGRAM:
        return (
            octets, octets, octets, floats, int64, int64, int64, int64,
            integers, integers, integers, int64,
        )  # fmt: skip
    return (octets, octets, octets, octets, int64, int64, int64, int64)
