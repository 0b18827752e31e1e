"""Images to calibrate and measure codecs on, with or without labels."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bitconv.classification import class_scores
from bitconv.datasets import PICTURE_SUFFIXES, Dataset, open_dataset
from bitconv.errors import InputError
from bitconv.evaluation import model_classes
from bitconv.images import prepare

if TYPE_CHECKING:
    from bitconv.model import ImageLike, Model


@dataclass(frozen=True, eq=False)
class Sample:
    """Prepared images of a network.

    Attributes
    ----------
    images : uint8 array of shape (N, height, width, channels)
    targets : int64 array of shape (N,), or None
        The class of the network that each image belongs to, where that is known.

    Raises
    ------
    InputError
        There are no images, or not as many targets.
    """

    images: NDArray[np.uint8]
    targets: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if not len(self.images):
            raise InputError("a sample has at least one image, found none")
        if self.targets is not None and len(self.targets) != len(self.images):
            raise InputError(f"{len(self.images)} images have {len(self.targets)} targets")

    def __len__(self) -> int:
        return len(self.images)

    def part(self, most: int) -> Sample:
        """At most so many of the images, evenly spread."""
        chosen = spread(len(self), most)
        return Sample(self.images[chosen], None if self.targets is None else self.targets[chosen])

    def scores(self, model: Model) -> NDArray[np.float32]:
        """Class scores (N, classes)."""
        return class_scores(model, self.images)

    def loss(self, before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
        """What other scores cost, in percent of the images.

        With labels, how many fewer are right; without, how many change their label.
        """
        old, new = before.argmax(axis=1), after.argmax(axis=1)
        if self.targets is None:
            lost = (old != new).sum()
        else:
            lost = (old == self.targets).sum() - (new == self.targets).sum()
        return 100 * int(lost) / len(self)


def read_sample(
    model: Model, path: str | Path, most: int | None = None, *, training: bool = False
) -> Sample:
    """Prepared images of a file or folder.

    Parameters
    ----------
    model : Model
    path : str or Path
        As `bitconv.datasets.open_dataset` takes it, or a folder of pictures without labels.
    most : int, optional
        Take no more images than that, evenly spread over all.
    training : bool
        As `bitconv.datasets.open_dataset` takes it.

    Raises
    ------
    InputError
        There are no images, one cannot be read, or the network does not know a class; or there are
        pictures without a class beside some that have one.
    """
    pictures: list[ImageLike] = list(_loose_pictures(Path(path)))
    dataset = _dataset(path, training, required=not pictures)
    targets: NDArray[np.int64] | None = None
    if dataset is None:
        pictures = [pictures[i] for i in spread(len(pictures), most)]
    elif pictures:
        raise InputError(
            f"{path}: holds both pictures of no class, such as {pictures[0]}, and labelled images"
        )
    else:
        chosen = spread(len(dataset), most)
        pictures = [dataset.image(int(i)) for i in chosen]
        targets = model_classes(model, dataset)[dataset.targets[chosen]]
    preparation = model.graph.metadata.preparation
    images = [prepare(picture, model.input_shape, preparation) for picture in pictures]
    return Sample(np.stack(images), targets)


def _dataset(path: str | Path, training: bool, required: bool) -> Dataset | None:
    try:
        return open_dataset(path, training=training)
    except InputError:
        if required:
            raise
        return None


def spread(count: int, most: int | None) -> NDArray[np.int64]:
    """At most so many of the numbers below `count`, evenly spread."""
    if most is None or count <= most:
        return np.arange(count)
    return np.arange(most) * count // most


def _loose_pictures(folder: Path) -> list[Path]:
    """The pictures that lie in a folder itself, in order."""
    if not os.path.isdir(folder):  # whatever the name, it raises nothing
        return []
    try:
        found = [item for item in folder.iterdir() if item.suffix.lower() in PICTURE_SUFFIXES]
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}") from error
    return sorted(item for item in found if not item.name.startswith(".") and item.is_file())
