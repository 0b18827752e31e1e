"""Eight adjacent bytes as one word, from anywhere in an array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from bitconv.kernels.instructions import instruction
from bitconv.kernels.jit import subroutine
from bitconv.kernels.microkernel import I16, I64

WORD_BYTES = 8


def _pointer(
    context: Any, builder: ir.IRBuilder, kind: Any, array: Any, first: Any, element: ir.Type
) -> ir.Value:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [first]), element.as_pointer())


def _store(element: ir.IntType) -> Callable[..., Any]:
    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        array, first, word = values
        place = _pointer(context, builder, signature.args[0], array, first, element)
        value = word if element is I64 else builder.trunc(word, element)
        builder.store(value, place).align = 1
        return context.get_dummy_value()

    return codegen


@instruction
def load_word(_context: Any, octets: Any, first: Any) -> Any:
    """The uint64 whose lowest byte is ``octets[first]``; all eight must lie in the array."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        octets, first = values
        word = builder.load(_pointer(context, builder, signature.args[0], octets, first, I64))
        word.align = 1
        return word

    return types.uint64(octets, types.int64), codegen


@instruction
def store_word(_context: Any, octets: Any, first: Any, word: Any) -> Any:
    """Store a uint64 from ``octets[first]`` on, its lowest byte first."""
    return types.void(octets, types.int64, types.uint64), _store(I64)


@instruction
def store_half(_context: Any, octets: Any, first: Any, word: Any) -> Any:
    """Store the lowest two bytes of a uint64 from ``octets[first]`` on."""
    return types.void(octets, types.int64, types.uint64), _store(I16)


@instruction
def count_bits(_context: Any, word: Any) -> Any:
    """The number of ones of a uint64."""

    def codegen(_context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> Any:
        name = "llvm.ctpop.i64"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(I64, [I64]), name)
        return builder.call(function, values)

    return types.int64(types.uint64), codegen


@subroutine
def load_some(octets, first):
    """`load_word` with zeros for what lies behind the array."""
    if first + WORD_BYTES <= octets.size:
        return load_word(octets, first)
    word = np.uint64(0)
    for index in range(max(octets.size - first, 0)):
        word |= np.uint64(octets[first + index]) << np.uint64(8 * index)
    return word
