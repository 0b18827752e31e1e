"""Calling compiled functions by their address.

Numba compiles a callee into every caller again. What several kernels share, the pointwise program,
the loop over threads and the parts of codecs, is therefore compiled once and called through its
address.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.types.misc import unliteral
from numba.extending import intrinsic


def _calling(result: Any) -> Callable[..., Any]:
    """The code that calls an address with a tuple of arguments, for a type of result."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kinds = [unliteral(kind) for kind in signature.args[1].types]
        function_type = context.call_conv.get_function_type(result, kinds)
        function = builder.inttoptr(values[0], ir.PointerType(function_type))
        status, found = context.call_conv.call_function(
            builder, function, result, kinds, cgutils.unpack_tuple(builder, values[1])
        )
        with cgutils.if_unlikely(builder, status.is_error):
            context.call_conv.return_status_propagate(builder, status)
        return context.get_dummy_value() if result is types.none else found

    return codegen


@intrinsic  # type: ignore[untyped-decorator]  # numba is untyped
def call_address(_typing_context: Any, address: Any, arguments: Any) -> Any:
    """Call the function at `address`, which returns nothing, with a tuple of its arguments.

    The types of the arguments must be those that it was compiled for.
    """
    return types.none(types.int64, arguments), _calling(types.none)


@intrinsic  # type: ignore[untyped-decorator]  # numba is untyped
def ask_address(_typing_context: Any, address: Any, arguments: Any) -> Any:
    """What a function returns that returns an int64; see `call_address`."""
    return types.int64(types.int64, arguments), _calling(types.int64)
