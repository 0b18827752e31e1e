"""Compiling Python functions with Numba to machine code that needs no Numba to run.

    kernel        a function that is compiled on its own and called by its address
    subroutine    one that is compiled into the kernels that call it

Numba would give every function two wrappers that Python can call, optimize it by itself and make
machine code of it, before it does so with whatever calls it. All of that is left out here. It is
more than half of the work.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any, overload

import numba

from bitconv.kernels.machine_code import MachineCode
from bitconv.kernels.tbb import provide_tbb

_OPTIONS = {
    "nogil": True,
    "error_model": "numpy",  # a division by zero gives infinity or NaN
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}


@overload
def kernel(function: Callable[..., Any], *, parallel: bool = False) -> Any: ...


@overload
def kernel(*, parallel: bool = False) -> Callable[[Callable[..., Any]], Any]: ...


def kernel(function: Callable[..., Any] | None = None, *, parallel: bool = False) -> Any:
    """Compile a function with `machine_code_of`; Python cannot call it.

    Arithmetic follows NumPy and is never reordered.

    Parameters
    ----------
    function : function
        Of arrays and numbers, without a result.
    parallel : bool
        Spread the `prange` loops over Numba's threads.
    """
    if function is None:
        return partial(kernel, parallel=parallel)
    # A loop over threads hands its arrays to Numba's runtime (NRT), which counts who uses them.
    return numba.njit(**_OPTIONS, parallel=parallel, _nrt=parallel)(function)


def subroutine(function: Callable[..., Any]) -> Any:
    """Compile a function into every kernel that calls it; it may not return a single array."""
    return numba.njit(**_OPTIONS, _nrt=False, **_shortcut())(function)


def machine_code_of(dispatcher: Any, signature: tuple[Any, ...]) -> MachineCode:
    """Compile a kernel for arguments of these Numba types."""
    provide_tbb()  # before a loop over threads starts them
    dispatcher.compile(signature)
    result = dispatcher.overloads[signature]
    module = result.library._final_module
    outside = [
        symbol.name
        for symbol in (*module.functions, *module.global_variables)
        if symbol.is_declaration and not symbol.name.startswith("llvm.")
    ]
    hooks = [f"{hook.__module__}:{hook.__qualname__}" for hook in result.reload_init]
    _, _, (compiled, _) = result.library.serialize_using_object_code()
    return MachineCode(result.fndesc.llvm_func_name, tuple(outside), tuple(hooks), compiled)


@cache
def _shortcut() -> dict[str, Any]:
    """The option that makes Numba leave subroutines to the kernels; none if it has changed."""
    try:
        from bitconv.kernels.subroutine_compiler import SubroutineCompiler

        option = {"pipeline_class": SubroutineCompiler}
        inner = numba.njit(**_OPTIONS, _nrt=False, **option)(_successor)
        outer = numba.njit(**_OPTIONS, _nrt=False)(lambda value: inner(value))
        machine_code_of(outer, (numba.int64,))
    except Exception:  # whatever an unknown Numba raises
        return {}
    return option


def _successor(value: int) -> int:
    return value + 1
