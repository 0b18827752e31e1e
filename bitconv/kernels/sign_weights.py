"""Weights of one bit, which become −1 and +1 shortly before they are multiplied with.

bit of a weight → sign bit of 1.0
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from bitconv.kernels.instructions import element_pointers, instruction, signature_of
from bitconv.kernels.microkernel import (
    FLOAT,
    I32,
    I64,
    Tile,
    broadcast,
    constant,
    store_vector,
)

OCTET = 8
WORD = 32  # bits that are broadcast at once
_ONE = 0x3F800000  # 1.0


def expanding_instruction(tile: Tile) -> Callable[..., Any]:
    """The instruction that makes floats of bits, for weights of a tile's filters.

    It takes ``(bits, first, floats, steps)``, of which `bits` is a uint8 array with a bit a filter
    for every step, the first filter's the lowest. For every step k and filter f of the tile,
    ``floats[k * tile.filters + f]`` becomes −1 where the bit is set that lies ``f`` bits behind
    byte ``first + k * tile.filters / 8``, else +1.
    """

    def define(_context: Any, bits: Any, first: Any, floats: Any, steps: Any) -> Any:
        return signature_of(bits, first, floats, steps), codegen

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        bits, first, floats, steps = element_pointers(context, builder, signature, arguments)
        source = builder.gep(bits, [first])
        several = max(1, WORD // tile.filters)  # steps that fill a word
        whole = builder.and_(steps, I64(-several))
        for start, stop, step in ((I64(0), whole, several), (whole, steps, 1)):
            with cgutils.for_range_slice(builder, start, stop, I64(step)) as (k, _):
                at = builder.mul(k, I64(tile.filters))
                row = builder.gep(source, [builder.udiv(at, I64(OCTET))])
                _expand(builder, row, step * tile.filters, builder.gep(floats, [at]), tile.lanes)
        return context.get_dummy_value()

    return instruction(define)


def _expand(
    builder: ir.IRBuilder, bits: ir.Value, count: int, floats: ir.Value, lanes: int
) -> None:
    """Store the floats for `count` adjacent bits."""
    words = ir.VectorType(I32, lanes)
    for first in range(0, count, WORD):
        held = min(WORD, count - first)
        place = builder.gep(bits, [I64(first // OCTET)])
        word = builder.load(builder.bitcast(place, ir.IntType(held).as_pointer()))
        word.align = 1
        everywhere = broadcast(builder, builder.zext(word, I32), lanes)
        for vector in range(0, held, lanes):
            to_the_top = ir.Constant(words, [WORD - 1 - vector - lane for lane in range(lanes)])
            sign = builder.and_(builder.shl(everywhere, to_the_top), constant(words, 1 << 31))
            weights = builder.or_(sign, constant(words, _ONE))
            as_floats = builder.bitcast(weights, ir.VectorType(FLOAT, lanes))
            store_vector(builder, as_floats, floats, first + vector)
