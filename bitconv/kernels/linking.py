"""Calling compiled functions by their address.

Numba compiles a callee into every caller again. What several callers share, kernels, the pointwise
program and the parts of codecs, is therefore compiled once and called through its address.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.types.misc import unliteral
from numba.extending import intrinsic


def _call(context: Any, builder: Any, signature: Any, values: Any, result: Any) -> tuple[Any, Any]:
    """Call an address with a tuple of arguments; the status, and what the function returned."""
    kinds = [unliteral(kind) for kind in signature.args[1].types]
    # Numba makes a float of a signed and an unsigned number; it would arrive as rubbish.
    assert not any(isinstance(kind, types.Float) for kind in kinds), kinds
    function_type = context.call_conv.get_function_type(result, kinds)
    function = builder.inttoptr(values[0], ir.PointerType(function_type))
    arguments = cgutils.unpack_tuple(builder, values[1])
    status, found = context.call_conv.call_function(builder, function, result, kinds, arguments)
    return status, found


def _calling(result: Any) -> Callable[..., Any]:
    """The code of a call that ends the caller where it fails, for a type of result."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        status, found = _call(context, builder, signature, values, result)
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


@intrinsic  # type: ignore[untyped-decorator]  # numba is untyped
def fails_at(_typing_context: Any, address: Any, arguments: Any) -> Any:
    """Whether a function fails that returns nothing; see `call_address`."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        status, _ = _call(context, builder, signature, values, types.none)
        return status.is_error

    return types.boolean(types.int64, arguments), codegen
