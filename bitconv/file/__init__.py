"""The HDF5 format in which a network is kept.

A graph becomes a tree of plain data (`to_tree`), a tree becomes HDF5 (`hdf5`), and back
(`from_tree`).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from uuid import uuid4

from bitconv.errors import FileError, InputError
from bitconv.file.from_tree import check_header, from_tree
from bitconv.file.to_tree import to_tree
from bitconv.graph import Graph

MAX_BYTES = 2**31  # of a file

PathLike = str | os.PathLike[str]


def read(path: PathLike) -> Graph:
    """Read a network.

    The whole file is read at once, so that nothing that happens to it later matters. Nothing in
    it is trusted.

    Raises
    ------
    FileError
        Where there is no such file, it is damaged or holds what the format does not allow; it
        names the file and, where it is about one node, the node.
    """
    image = _contents(Path(path))
    from bitconv.file.hdf5 import tree_of  # imports h5py

    try:
        return from_tree(tree_of(image, check_header))
    except FileError as error:
        raise FileError(f"{path}: {error}") from error


def write(graph: Graph, path: PathLike) -> None:
    """Write a network; the same graph gives the same bytes.

    The file appears at once, in place of what was there, or not at all.

    Raises
    ------
    FileError
        Where the file cannot be written, or the format has no room for something in the graph.
    """
    from bitconv.file.hdf5 import image_of  # imports h5py

    if not isinstance(graph, Graph):
        raise InputError(f"a file holds a Graph, found {type(graph).__name__}")
    try:
        image = image_of(to_tree(graph))
        if len(image) > MAX_BYTES:
            raise FileError(f"would have {len(image)} bytes, at most {MAX_BYTES}")
    except FileError as error:
        raise FileError(f"{path}: {error}") from error
    replace_file(Path(path), image)


def _contents(path: Path) -> bytes:
    try:
        if not path.is_file() and path.exists():
            raise OSError("it is a folder or a device")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            image = b"" if size > MAX_BYTES else file.read(size)  # asks for no more memory
    except (OSError, ValueError) as error:
        raise FileError(f"{path}: cannot be read: {_reason(error)}") from error
    if size > MAX_BYTES:
        raise FileError(f"{path}: has more than {MAX_BYTES} bytes")
    return image


def replace_file(path: Path, image: bytes) -> None:
    """Put a whole file in place of what was there, with its permissions, or raise `FileError`."""
    try:
        path = path.resolve()  # a link stays a link
        if not path.is_file() and path.exists():
            raise OSError("a folder or a device is there")
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
        temporary = path.parent / f".bitconv-{uuid4().hex}"
        try:
            with temporary.open("xb") as file:
                file.write(image)
                file.flush()
                os.fsync(file.fileno())
            if mode is not None:
                temporary.chmod(mode)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise FileError(f"{path}: cannot be written: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
