"""Numba's compiler, stopped before it optimizes.

This leans on the inside of Numba. `jit.py` does without where it does not work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler


class SubroutineLibrary(JITCodeLibrary):  # type: ignore[misc]  # numba has no types
    """The code of a subroutine, as Numba generated it, for the kernels to link and optimize."""

    @property
    def codegen(self) -> Any:
        """What is told of the function's Python environment: nobody, as it is never called."""
        return self

    def set_env(self, name: str, environment: Any) -> None:
        pass

    def get_pointer_to_function(self, _name: str) -> int:
        return 0

    def _optimize_functions(self, module: Any) -> None:
        module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


class SubroutineCompiler(Compiler):  # type: ignore[misc]  # numba has no types
    """Compiles into a `SubroutineLibrary`."""

    def compile_extra(self, function: Callable[..., Any]) -> Any:
        codegen = self.state.targetctx.codegen()
        self.state.library = SubroutineLibrary(codegen, function.__qualname__)
        return super().compile_extra(function)
