"""Comparisons of adjacent numbers, stored as bits.

    pack_below               bit ← x < limit
    pack_not_above           bit ← x <= limit, of float32 or int32

They take ``(x, first of x, limits, first of limits, count, octets, first octet)``: `count` bits, a
multiple of 8, go to the uint8 array `octets`. ``pack_word_below`` and ``pack_word_not_above`` store
one whole word of a uint64 array instead; its bits from `count`, at most 64, on are zero. A
comparison with NaN is false.

Arrays are one-dimensional and contiguous. Nothing checks bounds here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from bitconv.kernels.instructions import element_pointers, instruction, signature_of
from bitconv.kernels.microkernel import I8, I64, load_vector


def _pack(predicate: str, *, as_word: bool) -> Callable[..., Any]:
    """The instruction for ``x predicate limit``."""

    def define(
        _context: Any, x: Any, x_first: Any, limits: Any, limit_first: Any, count: Any,
        target: Any, first: Any,
    ) -> Any:  # fmt: skip
        return signature_of(x, x_first, limits, limit_first, count, target, first), codegen

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        x, x_first, limits, limit_first, count, target, first = element_pointers(
            context, builder, signature, arguments
        )
        x, limits = builder.gep(x, [x_first]), builder.gep(limits, [limit_first])
        place = builder.gep(target, [first])
        eight = ir.VectorType(x.type.pointee, 8)
        is_integer = isinstance(eight.element, ir.IntType)
        compare = builder.icmp_signed if is_integer else builder.fcmp_ordered
        word = cgutils.alloca_once_value(builder, I64(0))
        with cgutils.for_range(builder, builder.ashr(count, I64(3))) as step:
            at = builder.shl(step.index, I64(3))
            left, right = (
                load_vector(builder, eight, builder.gep(start, [at])) for start in (x, limits)
            )
            octet = builder.bitcast(compare(predicate, left, right), I8)
            if as_word:
                bits = builder.shl(builder.zext(octet, I64), at)
                builder.store(builder.or_(builder.load(word), bits), word)
            else:
                builder.store(octet, builder.gep(place, [step.index]))
        if as_word:
            builder.store(builder.load(word), place)
        return context.get_dummy_value()

    return instruction(define)


pack_below = _pack("<", as_word=False)
pack_not_above = _pack("<=", as_word=False)
pack_word_below = _pack("<", as_word=True)
pack_word_not_above = _pack("<=", as_word=True)
