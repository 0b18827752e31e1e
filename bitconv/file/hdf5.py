"""Trees as HDF5 in memory; the only module of the core that imports h5py.

It works on the low-level interface of h5py: that alone writes compactly, and reads fast enough for
the start of a program.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from io import BytesIO
from math import prod
from typing import Any
from uuid import uuid4

import numpy as np
from h5py import h5a, h5d, h5f, h5fd, h5g, h5l, h5o, h5p, h5s, h5t
from numpy.typing import NDArray

from bitconv.errors import BitconvError, FileError
from bitconv.file.tree import Dataset, Group, Value, as_array

SIGNATURE = b"\x89HDF\r\n\x1a\n"
CHECKED_SUPERBLOCKS = (2, 3)  # from these on, HDF5 keeps check sums of its own structures
MAX_DEPTH = 3
MAX_ATTRIBUTE_BYTES = 64_000  # an object header holds less than 64 KiB
MAX_COMPACT_BYTES = 64_000
NUMBERS = {
    "<i8": h5t.STD_I64LE,
    "<f4": h5t.IEEE_F32LE,
    "u1": h5t.STD_U8LE,
    "<f8": h5t.IEEE_F64LE,
}
NAME = re.compile(rb"[a-z0-9_]+")


def image_of(root: Group) -> bytes:
    """The file of a tree. The same tree gives the same bytes."""
    image = BytesIO()
    access = h5p.create(h5p.FILE_ACCESS)
    access.set_fileobj_driver(h5fd.fileobj_driver, image)
    access.set_fclose_degree(h5f.CLOSE_STRONG)
    access.set_libver_bounds(h5f.LIBVER_V110, h5f.LIBVER_V110)
    access.set_meta_block_size(0)
    file = h5f.create(_new_name(), fcpl=_plain(h5p.FILE_CREATE), fapl=access)
    try:
        _write_group(h5g.open(file, b"/"), root)
    finally:
        file.close()
    return image.getvalue()


def _new_name() -> bytes:
    """A name of its own: HDF5 takes two files of one name in memory for the same file."""
    return uuid4().hex.encode()


def _plain(kind: Any) -> Any:
    """Creation properties without time stamps, and with attributes kept in the object's header."""
    properties = h5p.create(kind)
    properties.set_obj_track_times(False)
    properties.set_attr_phase_change(65535, 65535)
    return properties


def _write_group(holder: Any, group: Group) -> None:
    _write_attributes(holder, group.attributes)
    for name, dataset in group.datasets.items():
        _write_dataset(holder, name.encode(), dataset)
    for name, child in group.groups.items():
        _write_group(h5g.create(holder, name.encode(), gcpl=_plain(h5p.GROUP_CREATE)), child)


def _write_attributes(holder: Any, attributes: dict[str, Value]) -> None:
    for name, value in attributes.items():
        kind, space, buffer = _stored(value)
        if buffer.nbytes > MAX_ATTRIBUTE_BYTES:
            raise FileError(
                f"attribute {name!r} has {buffer.nbytes} bytes, at most {MAX_ATTRIBUTE_BYTES}"
            )
        h5a.create(holder, name.encode(), kind, space).write(buffer, mtype=kind)


def _write_dataset(holder: Any, name: bytes, dataset: Dataset) -> None:
    kind, space, buffer = _stored(dataset.data)
    properties = _plain(h5p.DATASET_CREATE)
    if buffer.nbytes <= MAX_COMPACT_BYTES:
        properties.set_layout(h5d.COMPACT)
    created = h5d.create(holder, name, kind, space, dcpl=properties)
    created.write(h5s.ALL, h5s.ALL, buffer, mtype=kind)
    _write_attributes(created, dataset.attributes)


def _stored(value: Value | NDArray[Any]) -> tuple[Any, Any, NDArray[Any]]:
    """HDF5 type, dataspace and bytes of a value."""
    if isinstance(value, str):
        text = value.encode() or b"\0"  # HDF5 has no text of no bytes
        return _text_type(len(text)), h5s.create(h5s.SCALAR), np.array(text)
    array = np.ascontiguousarray(value) if isinstance(value, np.ndarray) else as_array(value)
    space = h5s.create_simple(array.shape) if array.ndim else h5s.create(h5s.SCALAR)
    return h5t.py_create(array.dtype), space, array


def _text_type(length: int) -> Any:
    kind = h5t.C_S1.copy()
    kind.set_size(length)
    kind.set_strpad(h5t.STR_NULLPAD)
    kind.set_cset(h5t.CSET_UTF8)
    return kind


def tree_of(image: bytes, check_header: Callable[[Value, Value], None]) -> Group:
    """The tree of a file.

    Parameters
    ----------
    image : bytes
        The whole file.
    check_header : callable
        Is given the attributes ``format`` and ``version`` before anything else is looked at.

    Raises
    ------
    FileError
        Where the image is damaged or holds anything but what `image_of` can write.
    """
    if not image.startswith(SIGNATURE):
        raise FileError("is not an HDF5 file")
    if len(image) == len(SIGNATURE) or image[len(SIGNATURE)] not in CHECKED_SUPERBLOCKS:
        raise FileError(
            "is laid out as before HDF5 1.8, without check sums; write it with "
            'h5py.File(path, "w", libver=("v110", "v110"))'
        )
    try:
        return _Reader(len(image)).file(image, check_header)
    except BitconvError:
        raise
    except Exception as error:  # h5py raises whatever the library met
        raise FileError(f"is damaged: {error}") from error


class _Reader:
    """Reads one file; remembers the objects that it met, so that none is read twice.

    Parameters
    ----------
    size : int
        Bytes of the file; nothing in it is compressed, so no dataset can hold more.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._met: set[int] = set()

    def file(self, image: bytes, check_header: Callable[[Value, Value], None]) -> Group:
        access = h5p.create(h5p.FILE_ACCESS)
        access.set_fapl_core(backing_store=False)
        access.set_fclose_degree(h5f.CLOSE_STRONG)
        access.set_file_image(image)
        file = h5f.open(_new_name(), h5f.ACC_RDONLY, fapl=access)
        try:
            return self._root(h5g.open(file, b"/"), check_header)
        finally:
            file.close()

    def _root(self, root: Any, check_header: Callable[[Value, Value], None]) -> Group:
        for name in (b"format", b"version"):
            if not h5a.exists(root, name):
                raise FileError(f"is not a bitconv file: it has no attribute {name.decode()!r}")
        check_header(
            _read_attribute(h5a.open(root, b"format"), "format"),
            _read_attribute(h5a.open(root, b"version"), "version"),
        )
        self._meet(h5o.get_info(root).addr, "/")
        return self._group(root, "", MAX_DEPTH)

    def _group(self, group: Any, path: str, depth: int) -> Group:
        attributes = _read_attributes(group, path or "/")
        place = _place(path or "/", attributes)
        datasets: dict[str, Dataset] = {}
        groups: dict[str, Group] = {}
        for raw, kind, address in _links(group):
            name = _checked_name(raw, place)
            if kind != h5l.TYPE_HARD:
                raise FileError(f"{place}: {name!r} is a soft or external link, not an object")
            self._meet(address, f"{place}: {name!r}")
            child = h5o.open(group, raw)
            if isinstance(child, h5d.DatasetID):
                datasets[name] = self._dataset(child, f"{place}: dataset {name!r}")
            elif isinstance(child, h5g.GroupID) and depth:
                groups[name] = self._group(child, f"{path}/{name}", depth - 1)
            else:
                raise FileError(
                    f"{place}: {name!r} is no dataset, and no group has its place there"
                )
        return Group(attributes, datasets, groups)

    def _meet(self, address: int, place: str) -> None:
        if address in self._met:
            raise FileError(f"{place} is a second link to an object, expected one")
        self._met.add(address)

    def _dataset(self, dataset: Any, place: str) -> Dataset:
        properties = dataset.get_create_plist()
        if properties.get_layout() not in (h5d.COMPACT, h5d.CONTIGUOUS):
            raise FileError(f"{place} is chunked or virtual, expected compact or contiguous")
        if properties.get_nfilters() or properties.get_external_count():
            raise FileError(f"{place} is filtered or kept outside the file")
        kind, shape = dataset.get_type(), _shape(dataset.get_space(), place)
        dtype = _dtype(kind, shape, place)
        if dtype.kind != "S" and dtype not in (np.float32, np.uint8):
            raise FileError(f"{place} has the type {dtype}, expected float32 or uint8")
        claimed, kept = prod(shape) * dtype.itemsize, dataset.get_storage_size()
        if claimed != kept or claimed > self._size:
            raise FileError(
                f"{place} claims the shape {shape}, {claimed} bytes, but {kept} are kept in a file "
                f"of {self._size} bytes"
            )
        buffer = np.empty(shape, dtype)
        dataset.read(h5s.ALL, h5s.ALL, buffer, mtype=kind)
        data = _text(buffer, place) if dtype.kind == "S" else buffer
        return Dataset(data, _read_attributes(dataset, place))


def _place(path: str, attributes: dict[str, Value]) -> str:
    """Where an error is: the path, and the name of the input or node that is there."""
    return f"{path} {attributes['name']!r}" if "name" in attributes else path


def _links(group: Any) -> list[tuple[bytes, int, int]]:
    """Name, type and address of each link."""
    found: list[tuple[bytes, int, int]] = []
    group.links.iterate(lambda raw, link: found.append((raw, link.type, link.u)), info=True)
    return found


def _checked_name(raw: bytes, place: str) -> str:
    if not NAME.fullmatch(raw):
        raise FileError(f"{place}: {raw!r} is not a name of the format")
    return raw.decode()


def _read_attributes(holder: Any, path: str) -> dict[str, Value]:
    found: list[bytes] = []
    h5a.iterate(holder, lambda raw: found.append(raw))
    attributes: dict[str, Value] = {}
    for raw in sorted(found, key=lambda raw: raw != b"name"):  # errors of the rest tell the name
        place = _place(path, attributes)
        name = _checked_name(raw, place)
        attribute = h5a.open(holder, raw)
        attributes[name] = _read_attribute(attribute, f"{place}: attribute {name!r}")
    return attributes


def _read_attribute(attribute: Any, place: str) -> Value:
    kind, shape = attribute.get_type(), _shape(attribute.get_space(), place)
    dtype = _dtype(kind, shape, place)
    if prod(shape) * dtype.itemsize > MAX_ATTRIBUTE_BYTES:
        raise FileError(f"{place} of the shape {shape} exceeds {MAX_ATTRIBUTE_BYTES} bytes")
    buffer = np.empty(shape, dtype)
    attribute.read(buffer, mtype=kind)
    match buffer.dtype.kind, buffer.ndim:
        case "S", 0:
            return _text(buffer, place)
        case "u", 0 if buffer <= 1:
            return bool(buffer)
        case "i", 0:
            return int(buffer)
        case "i", 1:
            return tuple(buffer.tolist())
        case "f", 0 if buffer.itemsize == 8:
            return float(buffer)
    raise FileError(f"{place} is {dtype} of shape {shape}, which is no attribute's type")


def _shape(space: Any, place: str) -> tuple[int, ...]:
    kind = space.get_simple_extent_type()
    shape: tuple[int, ...] = space.shape if kind == h5s.SIMPLE else ()
    if kind == h5s.NULL or 0 in shape:
        raise FileError(f"{place} is empty")
    return shape


def _dtype(kind: Any, shape: tuple[int, ...], place: str) -> np.dtype[Any]:
    """The NumPy type of one of the types of the format."""
    if isinstance(kind, h5t.TypeStringID) and not kind.is_variable_str():
        if shape or kind.get_strpad() == h5t.STR_SPACEPAD:
            raise FileError(f"{place} takes one text, padded with zeros")
        return np.dtype(f"S{kind.get_size()}")
    for name, number in NUMBERS.items():
        if kind.equal(number):
            return np.dtype(name)
    raise FileError(f"{place} has the type {_described(kind)}, which is not one of the format's")


def _described(kind: Any) -> str:
    names = {h5t.REFERENCE: "reference", h5t.VLEN: "variable length", h5t.STRING: "variable text"}
    code = kind.get_class()
    return names.get(code) or f"of HDF5 class {code} and {kind.get_size()} bytes"


def _text(buffer: NDArray[Any], place: str) -> str:
    """UTF-8 up to the zeros that pad it."""
    text = buffer.item()
    if b"\0" in text:
        raise FileError(f"{place} holds a zero within its text")
    try:
        return str(text, "utf-8")
    except UnicodeDecodeError as error:
        raise FileError(f"{place} holds a text that is not UTF-8: {error}") from error
