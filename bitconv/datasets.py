"""Labelled images: CIFAR-10's binary batches, and folders of class folders."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bitconv.errors import InputError

if TYPE_CHECKING:
    from bitconv.model import ImageLike

CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
CIFAR10_SHAPE = (3, 32, 32)
CIFAR10_RECORD = 1 + 3 * 32 * 32  # the label, then the planes of red, green and blue
CIFAR10_TEST_BATCH = "test_batch.bin"
CIFAR10_TRAINING_BATCHES = "data_batch_*.bin"
PICTURE_SUFFIXES = (
    *(".avif", ".bmp", ".gif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm"),
    *(".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
)


@dataclass(frozen=True, eq=False)
class Dataset(ABC):
    """Images with the class of each.

    Attributes
    ----------
    source : Path
    classes : tuple of str
        Names; `targets` index them.
    targets : int64 array of shape (images,)
    """

    source: Path
    classes: tuple[str, ...]
    targets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.targets)

    @abstractmethod
    def image(self, index: int) -> ImageLike:
        """One image, as `bitconv.images.prepare` takes it."""


@dataclass(frozen=True, eq=False)
class CifarBatch(Dataset):
    """Images of CIFAR-10's binary version: records of a label byte and 3 × 32 × 32 pixels."""

    records: NDArray[np.uint8]

    def image(self, index: int) -> NDArray[np.uint8]:
        return self.records[index, 1:].reshape(CIFAR10_SHAPE).transpose(1, 2, 0)


@dataclass(frozen=True, eq=False)
class ClassFolders(Dataset):
    """A folder that holds one folder of pictures a class."""

    files: tuple[Path, ...]

    def image(self, index: int) -> Path:
        return self.files[index]


def open_dataset(path: str | Path, *, training: bool = False) -> Dataset:
    """The dataset at a path.

    Parameters
    ----------
    path : str or Path
        A binary batch of CIFAR-10 (``.bin``), the folder of all batches, or a folder that holds one
        folder of pictures a class.
    training : bool
        From the folder of all batches take those to train on, not the test batch.

    Raises
    ------
    InputError
        There is none of these, or it is damaged or empty.
    """
    source = Path(path)
    if os.path.isfile(source):  # whatever the name, it raises nothing
        return _read_batch(source)
    if not os.path.isdir(source):
        raise InputError(f"{source}: no such file or folder")
    batches = sorted(source.glob(CIFAR10_TRAINING_BATCHES if training else CIFAR10_TEST_BATCH))
    if batches:
        return _read_batches(source, batches)
    return _list_folders(source)


def _read_batches(source: Path, paths: Sequence[Path]) -> CifarBatch:
    """Batches as one."""
    batches = [_read_batch(path) for path in paths]
    if len(batches) == 1:
        return batches[0]
    targets = np.concatenate([batch.targets for batch in batches])
    records = np.concatenate([batch.records for batch in batches])
    return CifarBatch(source, CIFAR10_CLASSES, targets, records)


def _read_batch(path: Path) -> CifarBatch:
    try:
        octets = np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    if not octets.size or octets.size % CIFAR10_RECORD:
        raise InputError(
            f"{path}: {octets.size} bytes are no binary batch of CIFAR-10, which has "
            f"{CIFAR10_RECORD} bytes an image"
        )
    records = octets.reshape(-1, CIFAR10_RECORD)
    targets = records[:, 0].astype(np.int64)
    wrong = np.flatnonzero(targets >= len(CIFAR10_CLASSES))
    if wrong.size:
        raise InputError(
            f"{path}: image {wrong[0]} has the label {targets[wrong[0]]}, expected 0 to 9"
        )
    return CifarBatch(path, CIFAR10_CLASSES, targets, records)


def _list_folders(source: Path) -> ClassFolders:
    try:
        folders = sorted(item for item in source.iterdir() if _is_visible(item) and item.is_dir())
        pictures = [_pictures(folder) for folder in folders]
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}") from error
    if not any(pictures):
        raise InputError(
            f"{source}: found neither {CIFAR10_TEST_BATCH} nor class folders with pictures in them"
        )
    targets = np.repeat(np.arange(len(folders)), [len(files) for files in pictures])
    files = tuple(file for group in pictures for file in group)
    return ClassFolders(source, tuple(folder.name for folder in folders), targets, files)


def _pictures(folder: Path) -> list[Path]:
    """The pictures in a folder and below it, in order."""
    return sorted(
        item
        for item in folder.rglob("*")
        if item.suffix.lower() in PICTURE_SUFFIXES and _is_visible(item)
    )


def _is_visible(path: Path) -> bool:
    return not path.name.startswith(".")
