"""Compiled kernels and where they are kept between runs.

Numba's own cache sees an edit only in the file of a function, not in the files that the function
calls into, and raises at import where it finds no folder to write to. This one belongs to the
source of all kernels together, and does without a folder if need be.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
import tempfile
from collections.abc import Callable
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, overload

import numba
from numba.core import config
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.registry import cpu_target
from numba.core.serialize import dumps

# Settings of Numba that change the code it makes for the same source and target.
_SETTINGS = ("OPT", "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "LOOP_VECTORIZE", "SLP_VECTORIZE")


@overload
def kernel(function: Callable[..., Any], *, parallel: bool = False) -> Any: ...


@overload
def kernel(*, parallel: bool = False) -> Callable[[Callable[..., Any]], Any]: ...


def kernel(function: Callable[..., Any] | None = None, *, parallel: bool = False) -> Any:
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
    """
    if function is None:
        return partial(kernel, parallel=parallel)
    dispatcher = numba.njit(nogil=True, error_model="numpy", parallel=parallel)(function)
    folder = cache_directory()
    source = _digest_of(Path(function.__code__.co_filename))
    if folder is not None and source is not None and function.__closure__ is None:
        dispatcher._cache = KernelCache(folder, function, source, parallel)
    return dispatcher


@cache
def cache_directory() -> Path | None:
    """The folder of the compiled kernels; None where none can be written."""
    parent = Path(config.CACHE_DIR) if config.CACHE_DIR else _user_cache()
    build = _build_digest()
    if parent is None or build is None:
        return None
    folder = parent / "bitconv" / build
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return None
    return folder


def is_cached(dispatcher: Any, signature: tuple[Any, ...]) -> bool:
    """Whether a call of a kernel with arguments of these Numba types needs no compilation."""
    if signature in dispatcher.overloads:
        return True
    store = dispatcher._cache
    return isinstance(store, KernelCache) and store.path(signature).exists()


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
        return self._folder / f"{self._name}-{hashlib.sha256(key).hexdigest()[:24]}.kernel"

    def load_overload(self, sig: tuple[Any, ...], target_context: Any) -> Any:
        target_context.refresh()
        try:
            stored = pickle.loads(self.path(sig).read_bytes())
            return CompileResult._rebuild(target_context, *stored)
        except Exception:  # whatever is wrong with the file, compiling anew mends it
            return None

    def save_overload(self, sig: tuple[Any, ...], data: Any) -> None:
        if not data.library.has_dynamic_globals:
            _write_whole(self.path(sig), dumps(data._reduce()))


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears at once; without a word if it cannot be written."""
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            temporary = Path(file.name)
            file.write(content)
        temporary.replace(path)
    except OSError:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _user_cache() -> Path | None:
    """The user's folder for things that can be made again."""
    try:
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches"
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # no home folder
        return None


@cache
def _build_digest() -> str | None:
    """Digest of what the code of any kernel depends on beside its own file and the target."""
    try:
        release = version("bitconv")
    except PackageNotFoundError:  # run from a folder that was never installed
        release = ""
    sources = [_digest_of(path) for path in sorted(Path(__file__).parent.glob("*.py"))]
    if None in sources or not sources:  # the package lies in an archive
        return None
    parts = (release, numba.__version__, sys.version_info[:2], sources)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


@cache
def _digest_of(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
