"""Parts of byte arrays, seen as arrays of other elements.

    seen_as      all of a byte array
    part_of      makes an instruction for a part of fixed length
    bytes_at     the bytes at an address

They own nothing and check nothing. Numba's own `view` does both, and alone takes longer to compile
than many a kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.np.arrayobj import populate_array

from bitconv.kernels.instructions import instruction
from bitconv.kernels.microkernel import I8, I64


@instruction
def seen_as(_context: Any, octets: Any, dtype: Any) -> Any:
    """``seen_as(octets, dtype)``: the whole elements of a contiguous byte array."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        source = context.make_array(octets)(context, builder, values[0])
        kind = signature.return_type
        item = source.nitems.type(_item_bytes(context, kind))
        return _array(context, builder, kind, source.data, builder.udiv(source.nitems, item))

    return types.Array(dtype.dtype, 1, "C")(octets, dtype), codegen


def part_of(octets_before: int, count: int, dtype: Any) -> Callable[..., Any]:
    """The instruction ``part(octets, start)``: `count` elements from byte ``start + before`` on.

    Parameters
    ----------
    octets_before, count : int
    dtype : Numba type of the elements
    """

    def define(_context: Any, octets: Any, start: Any) -> Any:
        return types.Array(dtype, 1, "C")(octets, types.int64), codegen

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        source = context.make_array(signature.args[0])(context, builder, values[0])
        first = builder.add(values[1], I64(octets_before))
        data = builder.gep(source.data, [first])
        return _array(context, builder, signature.return_type, data, I64(count))

    return instruction(define)


@instruction
def bytes_at(_context: Any, address: Any, count: Any) -> Any:
    """``bytes_at(address, count)``: the bytes at an address of this process."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        data = builder.inttoptr(values[0], I8.as_pointer())
        return _array(context, builder, signature.return_type, data, values[1])

    return types.Array(types.uint8, 1, "C")(types.int64, types.int64), codegen


def _array(
    context: Any, builder: ir.IRBuilder, kind: Any, data: ir.Value, count: ir.Value
) -> ir.Value:
    """A contiguous one-dimensional array that owns nothing."""
    array = context.make_array(kind)(context, builder)
    item = I64(_item_bytes(context, kind))
    pointer = builder.bitcast(data, array.data.type)
    populate_array(array, pointer, [count], [item], item, meminfo=None, parent=None)
    return array._getvalue()


def _item_bytes(context: Any, kind: Any) -> int:
    return int(context.get_abi_sizeof(context.get_data_type(kind.dtype)))
