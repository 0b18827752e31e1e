"""Defining vector instructions: functions of compiled code whose LLVM IR we write ourselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


def instruction(define: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function of Numba types, to signature and code generator, callable in kernels."""
    made: Callable[..., Any] = intrinsic(define)
    return made


def signature_of(*arguments: Any) -> Any:
    """A signature without a result: arrays as they are, every scalar as int64."""
    return types.void(
        *(argument if isinstance(argument, types.Array) else types.int64 for argument in arguments)
    )


def element_pointers(
    context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any
) -> list[ir.Value]:
    """The arguments, with pointers to their first elements in place of arrays."""
    return [
        context.make_array(kind)(context, builder, value).data
        if isinstance(kind, types.Array)
        else value
        for kind, value in zip(signature.args, arguments, strict=True)
    ]
