"""The folder of the compiled kernels: where it is, what it holds, and what is thrown away.

Each build has a folder of its own, `<cache>/bitconv/<digest>`: a release, its kernel sources, Numba
and Python together. The time of the folder is the day when it was last used.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bitconv import __version__
from bitconv.text import printable

SUFFIX = ".kernel"
DAY = 24 * 60 * 60
UNUSED_SECONDS = 30 * DAY
MAX_BUILDS = 16  # so that many edits of a kernel in a month do not fill the disk

_BUILD = re.compile("[0-9a-f]{16}")


@dataclass(frozen=True)
class CacheContents:
    """What the cache holds for this build; `str()` is one line.

    Attributes
    ----------
    folder : Path
    files : int
        Compiled functions.
    bytes : int
    """

    folder: Path
    files: int
    bytes: int

    def __str__(self) -> str:
        return f"{printable(str(self.folder))} ({self.files} files, {self.bytes:,} bytes)"


@cache
def cache_directory() -> Path | None:
    """The folder of the compiled kernels; None where there is none and none can be made.

    It need not be writable: kernels may have been put there by somebody else. The first call in a
    process marks the folder as used, and prunes those of other builds now and then.
    """
    folder = intended_directory()
    if folder is None:
        return None
    try:
        known = folder.is_dir()
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    if not os.access(folder, os.R_OK | os.X_OK):
        return None
    with suppress(OSError):  # what else is in the cache is no reason to do without it
        if not known or time.time() - folder.stat().st_mtime > DAY:
            os.utime(folder)
            _prune(folder)
    return folder


def intended_directory() -> Path | None:
    """Where the compiled kernels belong, be there a folder or not."""
    chosen = _chosen_parent()
    parent = Path(chosen) if chosen else _user_cache()
    build = _build_digest()
    return None if parent is None or build is None else parent / "bitconv" / build


def asks_numba() -> bool:
    """Whether Numba's settings are what it says, not what is in the environment.

    A program that imported it may have set them, and a file in the working folder may.
    """
    return "numba" in sys.modules or Path(".numba_config.yaml").exists()


def is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder."""
    import tempfile  # an expensive import

    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def contents(folder: Path) -> CacheContents:
    """What is in a build's folder now."""
    sizes = []
    for path in folder.glob(f"*{SUFFIX}"):
        with suppress(FileNotFoundError):  # another process may be replacing it
            sizes.append(path.stat().st_size)
    return CacheContents(folder, len(sizes), sum(sizes))


def write_whole(path: Path, content: bytes) -> None:
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


def _prune(own: Path) -> None:
    """Delete the folders of other builds that were not used for long, or before MAX_BUILDS others.

    Whoever still works from such a folder compiles what it lacks, as with an empty one.
    """
    builds = [
        folder
        for folder in own.parent.iterdir()
        if _BUILD.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink()
    ]
    last_use = {folder: folder.stat().st_mtime for folder in builds if folder != own}
    newest = sorted(last_use, key=last_use.__getitem__, reverse=True)[: MAX_BUILDS - 1]
    for folder, used in last_use.items():
        if folder not in newest or time.time() - used > UNUSED_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


def _chosen_parent() -> str:
    """The folder that Numba is told to use for its own cache; none is an empty text."""
    if asks_numba():
        from numba.core import config

        return str(config.CACHE_DIR)
    return os.environ.get("NUMBA_CACHE_DIR", "")


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
    """Digest of what the code of every kernel depends on beside Numba's settings."""
    sources = [_digest_of(path) for path in sorted(Path(__file__).parent.glob("*.py"))]
    if None in sources or not sources:  # the package lies in an archive
        return None
    parts = (__version__, _version_of("numba"), _version_of("llvmlite"), sys.version_info[:2])
    return hashlib.sha256(repr((*parts, sources)).encode()).hexdigest()[:16]


def _version_of(package: str) -> str:
    """What a package's version is known by; the package is not imported."""
    spec = importlib.util.find_spec(package)
    if spec is not None and spec.origin is not None:
        stated = _digest_of(Path(spec.origin).with_name("_version.py"))
        if stated is not None:
            return stated
    from importlib.metadata import version  # an expensive import

    return version(package)


def _digest_of(path: Path) -> str | None:
    """Digest of a file; None where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
