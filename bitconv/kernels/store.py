"""Machine code on disk.

The name of a file is a digest of all that decides its content, beside the folder, which belongs to
the sources of all kernels. So processes may compile the same at once: whoever writes it last writes
the same, and files appear whole or not at all.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from bitconv.kernels.cache_folder import SUFFIX, cache_directory, write_whole
from bitconv.kernels.machine_code import MachineCode
from bitconv.kernels.settings import settings


def is_stored(name: str) -> bool:
    """Whether the code of a function is on disk."""
    path = _path(name)
    return path is not None and os.access(path, os.R_OK)


def read(name: str) -> MachineCode | None:
    """The code of a function, compiled with Numba's present settings; None where there is none."""
    path = _path(name)
    with suppress(OSError):
        return None if path is None else MachineCode.unpacked(path.read_bytes())
    return None


def write(name: str, code: MachineCode) -> None:
    """Keep code for later processes, if it can be written."""
    path = _path(name)
    if path is not None:
        write_whole(path, code.packed())


def _path(name: str) -> Path | None:
    folder = cache_directory()
    return None if folder is None else folder / f"{name}-{settings().digest[:24]}{SUFFIX}"
