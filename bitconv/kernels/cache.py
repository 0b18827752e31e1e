"""Compiled kernels, kept on disk between runs.

Numba's own cache sees an edit only in the file of a function, not in the files that the function
calls into, and raises at import where it finds no folder to write to. This one belongs to the
source of all kernels together, and does without a folder if need be.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, overload

import numba
from llvmlite import binding as llvm
from numba.core import config
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.registry import cpu_target
from numba.core.runtime import rtsys
from numba.core.serialize import dumps

from bitconv.kernels.cache_folder import SUFFIX, cache_directory, digest_of

# Settings of Numba that change the code it makes for the same source and target.
_SETTINGS = ("OPT", "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "LOOP_VECTORIZE", "SLP_VECTORIZE")


@overload
def kernel(function: Callable[..., Any], *, parallel: bool = False) -> Any: ...


@overload
def kernel(
    *, parallel: bool = False, inline: bool = False
) -> Callable[[Callable[..., Any]], Any]: ...


def kernel(
    function: Callable[..., Any] | None = None, *, parallel: bool = False, inline: bool = False
) -> Any:
    """Compile a function with Numba on its first call, and keep the code on disk.

    Arithmetic follows NumPy (a division by zero gives infinity or NaN) and is never reordered, and
    the interpreter lock is released.

    Parameters
    ----------
    function : function
        It calls only what lies in its own file or among the kernels. A closure is not kept: what it
        encloses has no name.
    parallel : bool
        Spread the `prange` loops over Numba's threads.
    inline : bool
        Compile it as a part of its callers alone. Otherwise it is optimized by itself before it is
        with each of them, which takes time where functions call functions that call functions.
    """
    if function is None:
        return partial(kernel, parallel=parallel, inline=inline)
    dispatcher = numba.njit(
        nogil=True,
        error_model="numpy",
        parallel=parallel,
        inline="always" if inline else "never",
    )(function)
    folder = cache_directory()
    source = digest_of(Path(function.__code__.co_filename))
    if folder is not None and source is not None and function.__closure__ is None:
        dispatcher._cache = KernelCache(folder, function, source, parallel)
    return dispatcher


def is_compiled(dispatcher: Any, signature: tuple[Any, ...]) -> bool:
    """Whether a call with arguments of these Numba types needs no compilation."""
    return signature in dispatcher.overloads or is_stored(dispatcher, signature)


def is_stored(dispatcher: Any, signature: tuple[Any, ...]) -> bool:
    """Whether the code for arguments of these Numba types is on disk."""
    store = dispatcher._cache
    return isinstance(store, KernelCache) and os.access(store.path(signature), os.R_OK)


class KernelCache(NullCache):  # type: ignore[misc]  # numba has no types
    """The cache of one kernel, as Numba's dispatcher uses it: one file a signature and target.

    Numba's cache numbers its files through a shared index, in which two processes that compile at
    once may take the same number. Here the name of a file is a digest of all that decides its
    content, so whoever writes it last writes the same, and files appear whole or not at all.
    """

    def __init__(
        self, folder: Path, function: Callable[..., Any], source: str, parallel: bool
    ) -> None:
        self._folder = folder
        self._name = function.__name__
        settings = [getattr(config, name, None) for name in _SETTINGS]
        self._key = (function.__module__, function.__qualname__, source, parallel, settings)

    @property
    def cache_path(self) -> str:
        return str(self._folder)

    def path(self, signature: tuple[Any, ...]) -> Path:
        """The file of the code for a signature and Numba's present target."""
        target = cpu_target.target_context.codegen().magic_tuple()
        key = repr((self._key, signature, target)).encode()
        return self._folder / f"{self._name}-{hashlib.sha256(key).hexdigest()[:24]}{SUFFIX}"

    def load_overload(self, sig: tuple[Any, ...], target_context: Any) -> Any:
        try:
            start_hooks, symbols, stored = pickle.loads(self.path(sig).read_bytes())
            _provide(symbols, start_hooks, target_context)
            return CompileResult._rebuild(target_context, *stored)
        except Exception:  # whatever is wrong with the file, compiling anew mends it
            return None

    def save_overload(self, sig: tuple[Any, ...], data: Any) -> None:
        if not data.library.has_dynamic_globals:
            content = (data.reload_init, _outer_symbols(data.library), data._reduce())
            _write_whole(self.path(sig), dumps(content))


def _outer_symbols(library: Any) -> list[str]:
    """What compiled code calls or reads and does not hold itself."""
    module = library._final_module
    return [
        symbol.name
        for symbol in (*module.functions, *module.global_variables)
        if symbol.is_declaration and not symbol.name.startswith("llvm.")
    ]


def _provide(
    symbols: Iterable[str], start_hooks: Iterable[Callable[[], None]], target_context: Any
) -> None:
    """Make LLVM know the symbols of code that is about to be loaded.

    LLVM ends the process at one that it does not know. All of Numba's are known after a refresh of
    its target, which imports everything that Numba can compile; that takes longer than everything
    else at the start of a program. Our kernels need only Numba's runtime and its threads.
    """
    rtsys.initialize(target_context)
    for start in start_hooks:
        start()
    if any(llvm.address_of_symbol(symbol) is None for symbol in symbols):
        target_context.refresh()


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears at once; without a word if it cannot be written."""
    # Not by `tempfile`, whose files nobody else may read: a cache may be made for other users.
    temporary = path.with_suffix(f".{os.urandom(8).hex()}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)  # another process may have pruned it
        try:
            temporary.write_bytes(content)
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
