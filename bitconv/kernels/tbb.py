"""Letting Numba find TBB, its threading layer that stands busy neighbours best.

`pip install 'bitconv[tbb]'` puts the library where no loader looks. Once it is in the process,
Numba takes it, unless its settings (NUMBA_THREADING_LAYER and its priority) ask for another layer.
"""

from __future__ import annotations

import ctypes
import site
import sys
from contextlib import suppress
from pathlib import Path

_LIBRARIES = {"linux": "lib/libtbb.so.12", "win32": "Library/bin/tbb12.dll"}


def provide_tbb() -> None:
    """Load the TBB of this Python environment, if it has one, before Numba's threads start."""
    library = _LIBRARIES.get(sys.platform)
    if library is None:
        return
    for prefix in (sys.prefix, site.getuserbase()):
        path = Path(prefix, library)
        if path.is_file():
            with suppress(OSError):  # then Numba takes another layer
                ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
                return
