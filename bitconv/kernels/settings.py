"""What Numba compiles for: its settings, without importing it where they are known.

Numba finds its settings from the environment, the processor and its own defaults. What it found is
kept in the folder of the compiled kernels, beside a digest of all that it looked at.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache

from llvmlite import binding as llvm

from bitconv.kernels.cache_folder import asks_numba, cache_directory, write_whole

# Settings of Numba that change the code it makes for the same source and target.
_OPTIONS = ("OPT", "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "LOOP_VECTORIZE", "SLP_VECTORIZE")

# Variables of the environment that do not.
_OTHER_VARIABLES = {
    "NUMBA_CACHE_DIR",
    "NUMBA_NUM_THREADS",
    "NUMBA_THREADING_LAYER",
    "NUMBA_THREADING_LAYER_PRIORITY",
}


@dataclass(frozen=True)
class Settings:
    """What decides which machine code becomes of a function.

    Attributes
    ----------
    triple, processor, features : str
        The target, as LLVM names it.
    options : str
        Numba's settings of code generation.
    """

    triple: str
    processor: str
    features: str
    options: str

    @property
    def digest(self) -> str:
        """Other for other settings."""
        return _digest(*asdict(self).values())


def settings() -> Settings:
    """Numba's present settings."""
    if asks_numba():
        return _numbas()
    return _kept()


@cache
def _kept() -> Settings:
    """The settings that Numba had under the same circumstances; else it is imported and asked."""
    folder = cache_directory()
    if folder is None:
        return _numbas()
    path = folder / f"settings-{_circumstances()[:24]}.json"
    with suppress(OSError, ValueError, TypeError):
        return Settings(**json.loads(path.read_bytes()))
    found = _numbas()
    write_whole(path, json.dumps(asdict(found)).encode())
    return found


def _numbas() -> Settings:
    from numba.core import config
    from numba.core.registry import cpu_target

    options = repr([(name, getattr(config, name, None)) for name in _OPTIONS])
    triple, processor, features = cpu_target.target_context.codegen().magic_tuple()
    return Settings(triple, processor, features, options)


def _circumstances() -> str:
    """Digest of what Numba finds its settings from, where there is no file of them."""
    names = {name for name in os.environ if name.startswith("NUMBA_")} - _OTHER_VARIABLES
    variables = [(name, os.environ[name]) for name in sorted(names)]
    host = (llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())
    return _digest(llvm.get_process_triple(), *host, repr(variables))


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
