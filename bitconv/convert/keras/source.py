"""A Keras file as its configuration and its arrays. Nothing in it is trusted."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any, Protocol
from zipfile import ZIP_STORED, ZipFile, is_zipfile

import h5py
import numpy as np
from numpy.typing import NDArray

from bitconv.convert.keras.architecture import MAX_DEPTH, Layer, layer_of
from bitconv.convert.keras.fields import shown
from bitconv.convert.keras.identifiers import bare
from bitconv.errors import BitconvError, FileError

MAX_CONFIG = 2**26  # letters of the model's configuration
MAX_BYTES = 2**31  # of the weights in an archive
NAMES = {"depthwise_kernel": ("depthwise_kernel", "kernel")}  # the second in Keras 3
MAX_PARTS = 1000  # attributes that one list of names is spread over


class Source(Protocol):
    """An open Keras file."""

    def configuration(self) -> Any:
        """The model's configuration as JSON says it."""

    def arrays(self, layer: Layer, names: Sequence[str]) -> list[NDArray[np.float32]]:
        """Arrays of a layer by their names, such as ``kernel``, in the order in which it has them.

        Raises
        ------
        FileError
            Where there is not exactly one of that name, or it is no array of floats.
        """


@contextmanager
def opened(path: Path) -> Iterator[Source]:
    """The file, for as long as it is read.

    Raises
    ------
    FileError
        Where it cannot be opened or is no Keras file; also for whatever h5py meets while it is
        open.
    """
    try:
        if not path.is_file():
            raise FileError("there is no such file")
        if is_zipfile(path):
            with ZipFile(path) as archive, _weights_in(archive) as file:
                yield ArchiveSource(archive, file, path.stat().st_size)
        else:
            with h5py.File(path, "r") as file:
                yield Hdf5Source(file, path.stat().st_size)
    except BitconvError:
        raise
    except Exception as error:  # h5py raises whatever the library met
        raise FileError(f"is damaged or no HDF5 file: {error}") from error


class Hdf5Source:
    """An open HDF5 file as Keras writes it with ``model.save("model.h5")``.

    Parameters
    ----------
    file : h5py.File
    size : int
        Bytes of the file; nothing that Keras writes is compressed, so no array holds more.
    """

    def __init__(self, file: Any, size: int) -> None:
        self._file = file
        self._size = size
        self._groups: dict[str, dict[str, Any]] = {}  # by top-level layer: arrays by name

    def configuration(self) -> Any:
        if "model_config" not in self._file.attrs:
            raise FileError(
                "has no attribute 'model_config', as a file that holds weights alone; save the "
                "whole model with model.save('model.h5')"
            )
        text = self._file.attrs["model_config"]
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        if not isinstance(text, str):
            raise FileError(f"'model_config' takes a text, found {shown(text)}")
        return _json(text)

    def arrays(self, layer: Layer, names: Sequence[str]) -> list[NDArray[np.float32]]:
        top = layer.path[0]
        if top not in self._groups:
            self._groups[top] = self._named(top)
        return [_array(self._one(layer, name), name, self._size) for name in names]

    def _one(self, layer: Layer, name: str) -> Any:
        """The dataset: of a layer in a model within, the array's path also names the layer."""
        found = self._groups[layer.path[0]]
        own = "" if len(layer.path) == 1 else f"/{layer.path[-1]}"
        ends = tuple(f"{own}/{each}" for each in NAMES.get(name, (name,)))
        matches = [item for path, item in found.items() if f"/{path}".endswith(ends)]
        if len(matches) != 1:
            raise FileError(
                f"has {len(matches)} arrays {name!r} of the layer {layer.name!r}, expected one; "
                f"{layer.path[0]!r} has {shown(sorted(found))}"
            )
        return matches[0]

    def _named(self, top: str) -> dict[str, Any]:
        """The datasets of a top-level layer by their names in Keras, without ``:0``."""
        weights = self._file
        if "model_weights" in weights:
            weights = _descend(weights, "model_weights")
        group = _descend(weights, top)
        names = _texts(group.attrs, "weight_names")
        return {name.removesuffix(":0"): _descend(group, name) for name in names}


class ArchiveSource:
    """An open ``.keras`` file, a ZIP archive of the configuration and an HDF5 file.

    Its arrays have numbers for names and its layers those of their classes, in the order of the
    configuration: ``layers/conv2d_1/vars/0``.

    Parameters
    ----------
    archive : ZipFile
    file : h5py.File
        Of the weights.
    size : int
        Bytes of the file.
    """

    def __init__(self, archive: ZipFile, file: Any, size: int) -> None:
        self._archive = archive
        self._file = file
        self._size = size
        self._places: dict[tuple[str, ...], str] = {}

    def configuration(self) -> Any:
        config = _json(_member(self._archive, "config.json", MAX_CONFIG).decode("utf-8"))
        self._places = dict(_places(config, (), ""))
        return config

    def arrays(self, layer: Layer, names: Sequence[str]) -> list[NDArray[np.float32]]:
        group = _descend(self._file, f"{self._places[layer.path]}/vars")
        return [
            _array(_descend(group, str(index)), name, self._size)
            for index, name in enumerate(names)
        ]


@contextmanager
def _weights_in(archive: ZipFile) -> Iterator[Any]:
    image = _member(archive, "model.weights.h5", MAX_BYTES)
    with h5py.File(BytesIO(image), "r") as file:
        yield file


def _member(archive: ZipFile, name: str, limit: int) -> bytes:
    """A file of the archive; Keras compresses none of them."""
    if name not in archive.namelist():
        raise FileError(f"is a ZIP archive without {name!r}, not a Keras file")
    entry = archive.getinfo(name)
    if entry.compress_type != ZIP_STORED or entry.file_size > limit:
        raise FileError(f"{name!r} is compressed, or has more than {limit} bytes")
    return archive.read(entry)


def _places(model: Any, path: tuple[str, ...], place: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """For every layer the group of its arrays; what is no model is left to `architecture_of`."""
    config = model.get("config") if isinstance(model, dict) else None
    entries = config.get("layers") if isinstance(config, dict) else None
    if not isinstance(entries, list) or len(path) > MAX_DEPTH:
        return
    met: Counter[str] = Counter()
    for entry in entries:
        layer = layer_of(entry, path)
        name = _snake_case(bare(entry["class_name"]))
        inner = f"{place}/layers/{name}_{met[name]}" if met[name] else f"{place}/layers/{name}"
        met[name] += 1
        yield layer.path, inner
        yield from _places(entry, layer.path, inner)


def _snake_case(name: str) -> str:
    """``SeparableConv2D`` as Keras writes it, ``separable_conv2d``."""
    words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()


def _json(text: str) -> Any:
    if len(text) > MAX_CONFIG:
        raise FileError(f"the configuration has more than {MAX_CONFIG} letters")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileError(f"the configuration is no JSON: {error}") from error


def _array(dataset: Any, name: str, size: int) -> NDArray[np.float32]:
    """An array, unless it claims more than a file of that size holds."""
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind != "f":
        raise FileError(f"{name!r} is no array of floats")
    kept, claimed = dataset.id.get_storage_size(), prod(dataset.shape) * dataset.dtype.itemsize
    if kept != claimed or claimed > size or dataset.external:
        raise FileError(
            f"{name!r} claims the shape {dataset.shape}, {claimed} bytes, but {kept} are kept in a "
            f"file of {size} bytes"
        )
    return np.asarray(dataset[()], np.float32)


def _descend(group: Any, path: str) -> Any:
    """What lies at a path; links to other places or files are not followed."""
    for part in filter(None, path.split("/")):
        if not isinstance(group, h5py.Group) or part not in group:
            raise FileError(f"has no {part!r} of {shown(path)}")
        if not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise FileError(f"{part!r} of {shown(path)} is a soft or external link")
        group = group[part]
    return group


def _texts(attributes: Any, name: str) -> list[str]:
    """A list of texts, which Keras spreads over ``name0``, ``name1``, ... where it is long."""
    if name in attributes:
        parts = [attributes[name]]
    else:
        parts = []
        while len(parts) < MAX_PARTS and f"{name}{len(parts)}" in attributes:
            parts.append(attributes[f"{name}{len(parts)}"])
    if not parts:
        raise FileError(f"a group has no attribute {name!r}")
    entries = [entry for part in parts for entry in np.atleast_1d(part).tolist()]
    texts = [entry.decode("utf-8") if isinstance(entry, bytes) else entry for entry in entries]
    if not all(isinstance(text, str) for text in texts):
        raise FileError(f"the attribute {name!r} holds other things than texts")
    return texts
