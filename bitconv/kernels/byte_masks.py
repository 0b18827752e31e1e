"""Taking the zeros out of eight bytes at a time, and putting them back.

A mask has one bit a byte of a word, set where the byte is not zero. It is looked up where each byte
moves to; where the processor has an instruction that moves bytes by such a list, one does it all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from bitconv.kernels.instructions import instruction
from bitconv.kernels.jit import subroutine
from bitconv.kernels.microkernel import I8, I16, I64, call_llvm
from bitconv.kernels.target import byte_shuffle

_BYTES = 8
_NONE = 0x80  # in place of the number of a byte: zero


def _places() -> NDArray[np.uint64]:
    """For each mask, which byte comes where: of `compress`, and of `expand`."""
    places = np.full((2**_BYTES, 2, _BYTES), _NONE, np.uint8)
    for mask in range(2**_BYTES):
        named = [byte for byte in range(_BYTES) if mask >> byte & 1]
        places[mask, 0, : len(named)] = named
        places[mask, 1, named] = range(len(named))
    return places.view("<u8")[:, :, 0].astype(np.uint64)


PLACES = _places()


@instruction
def mask_of(_context: Any, word: Any) -> Any:
    """The mask of a word's bytes."""

    def codegen(_context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> Any:
        octets = _in_vector(builder, values[0])
        zeros = ir.Constant(octets.type, [0] * 2 * _BYTES)
        mask = builder.bitcast(builder.icmp_unsigned("!=", octets, zeros), I16)
        return builder.zext(mask, I64)

    return types.uint64(types.uint64), codegen


@instruction
def _moved(_context: Any, word: Any, places: Any) -> Any:
    """Byte i of the result is the one that byte i of `places` names, or zero for `_NONE`."""

    def codegen(_context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> Any:
        name = byte_shuffle()
        return _move_one_by_one(builder, *values) if name is None else _move(builder, name, *values)

    return types.uint64(types.uint64, types.uint64), codegen


def _in_vector(builder: ir.IRBuilder, word: ir.Value) -> ir.Value:
    """Sixteen bytes, as registers have them, of which the upper eight are zero."""
    words = builder.insert_element(ir.Constant(ir.VectorType(I64, 2), [0, 0]), word, I64(0))
    return builder.bitcast(words, ir.VectorType(I8, 2 * _BYTES))


def _move(builder: ir.IRBuilder, name: str, word: ir.Value, places: ir.Value) -> ir.Value:
    octets = _in_vector(builder, word)
    moved = call_llvm(builder, name, octets.type, octets, _in_vector(builder, places))
    return builder.extract_element(builder.bitcast(moved, ir.VectorType(I64, 2)), I64(0))


def _move_one_by_one(builder: ir.IRBuilder, word: ir.Value, places: ir.Value) -> ir.Value:
    result = I64(0)
    for index in range(_BYTES):
        place = builder.and_(builder.lshr(places, I64(8 * index)), I64(0xFF))
        named = builder.icmp_unsigned("<", place, I64(_BYTES))
        shift = builder.shl(builder.and_(place, I64(_BYTES - 1)), I64(3))
        octet = builder.and_(builder.lshr(word, shift), I64(0xFF))
        octet = builder.select(named, builder.shl(octet, I64(8 * index)), I64(0))
        result = builder.or_(result, octet)
    return result


@subroutine
def compress(word, mask):
    """The bytes that the mask names, moved together to the low end; the rest is zero."""
    return _moved(word, PLACES[mask, 0])


@subroutine
def expand(word, mask):
    """The inverse of `compress`: the lowest bytes of a word, moved to where the mask has ones."""
    return _moved(word, PLACES[mask, 1])
