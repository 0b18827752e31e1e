"""Compiling ahead of time, so that no later process has to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bitconv.errors import CacheError

if TYPE_CHECKING:
    from bitconv.kernels.cache_folder import CacheContents
    from bitconv.kernels.warmup import Report


def warmup(*models: str | Path, report: Report | None = None) -> CacheContents:
    """Compile all that models need into the cache on disk.

    That is what `run` and `predict` need on this processor: one image or many, uint8 or float32, on
    one thread or many. What is in the cache already is not compiled again.

    Parameters
    ----------
    models : str or Path
        As for `load`; all shipped models when none is given.
    report : callable, optional
        See `Model.prepare`.

    Returns
    -------
    CacheContents
        Where the cache is and what it holds; printable.

    Raises
    ------
    InputError, FileError
        As for `load`.
    CacheError
        The cache cannot be written to.
    """
    from bitconv.kernels.cache_folder import cache_directory, contents, is_writable
    from bitconv.kernels.store import is_stored
    from bitconv.kernels.warmup import make_ready

    needed = _functions_of(models)
    folder = cache_directory()
    if folder is None:
        raise CacheError(_no_folder())
    missing = [name for name in needed if not is_stored(name)]
    if missing and not is_writable(folder):
        raise CacheError(f"{folder}: cannot be written to; {_REMEDY}")
    make_ready(missing, report)
    lost = [name for name in missing if not is_stored(name)]
    if lost:
        raise CacheError(f"{folder}: {', '.join(lost)} could not be written to it; {_REMEDY}")
    return contents(folder)


_REMEDY = "set NUMBA_CACHE_DIR to a folder that can keep compiled kernels"


def _functions_of(models: tuple[str | Path, ...]) -> list[str]:
    """All functions of all models, each once."""
    from bitconv.model import load
    from bitconv.shipped import shipped_models

    named = models or tuple(shipped_models().values())
    return list(dict.fromkeys(name for model in named for name in load(model).all_functions()))


def _no_folder() -> str:
    from bitconv.kernels.cache_folder import intended_directory

    folder = intended_directory()
    if folder is None:
        return f"there is no place for compiled kernels; {_REMEDY}"
    return f"{folder}: cannot be made or read; {_REMEDY}"
