"""How often a model is right."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bitconv.classification import class_scores
from bitconv.datasets import CifarBatch, Dataset
from bitconv.errors import InputError
from bitconv.images import prepare
from bitconv.text import printable, table

if TYPE_CHECKING:
    from bitconv.model import Model

CHUNK_IMAGES = 500
CHUNK_BYTES = 2**26  # of prepared images in memory at a time
MATRIX_CLASSES = 20  # a larger confusion matrix is not printed
LISTED_CONFUSIONS = 10  # its largest entries are


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a model made of labelled images; `str()` is a report.

    Attributes
    ----------
    confusion : int64 array of shape (classes, classes)
        How many images of the class of the row were taken for the class of the column.
    labels : tuple of str
        One a class.
    seconds : float
        Time in the network; reading and preparing the images is not counted.
    """

    confusion: NDArray[np.int64]
    labels: tuple[str, ...]
    seconds: float

    @property
    def images(self) -> int:
        return int(self.confusion.sum())

    @property
    def correct(self) -> int:
        return int(np.trace(self.confusion))

    @property
    def accuracy(self) -> float:
        """The fraction of images whose highest score is that of their class."""
        return self.correct / self.images

    @property
    def images_per_second(self) -> float:
        return self.images / self.seconds

    def __str__(self) -> str:
        few = len(self.labels) <= MATRIX_CLASSES
        return (
            f"accuracy  {100 * self.accuracy:.2f} %  ({self.correct:,} of {self.images:,} images)\n"
            f"speed     {self.images_per_second:,.0f} images a second "
            f"({self.seconds:.2f} s in the network)\n\n"
            f"{self._matrix() if few else self._most_confused()}"
        )

    def _matrix(self) -> str:
        """The confusion matrix; columns carry the numbers of the classes to stay narrow."""
        classes = range(len(self.labels))
        header = ("true class", "", *map(str, classes), "right")
        rows = [
            (
                printable(self.labels[row]),
                str(row),
                *(str(count) if count else "." for count in self.confusion[row]),
                self._right(row),
            )
            for row in classes
        ]
        return table(header, rows)

    def _right(self, row: int) -> str:
        """The part of a class that was taken for what it is."""
        images = self.confusion[row].sum()
        return f"{100 * self.confusion[row, row] / images:.1f} %" if images else ""

    def _most_confused(self) -> str:
        wrong = self.confusion.copy()
        np.fill_diagonal(wrong, 0)
        largest = np.argsort(-wrong, axis=None, kind="stable")[:LISTED_CONFUSIONS]
        pairs = [divmod(int(index), len(self.labels)) for index in largest]
        rows = [
            (printable(self.labels[true]), printable(self.labels[taken]), str(wrong[true, taken]))
            for true, taken in pairs
            if wrong[true, taken]
        ]
        return table(("true class", "taken for", "images"), rows, left=2)


def evaluate(
    model: Model, dataset: Dataset, progress: Callable[[int, int], None] | None = None
) -> Evaluation:
    """Classify every image of a dataset, in chunks of bounded memory.

    Parameters
    ----------
    model : Model
        Of one input, a picture, and one output, class scores.
    dataset : Dataset
        Its classes are found among the model's labels by name, whatever the case. For a model of
        ten classes without labels, those of CIFAR-10 are in their usual order.
    progress : callable, optional
        Called after each chunk with the images done and the images in all.

    Raises
    ------
    InputError
        The model gives no class scores, does not know a class, or an image cannot be read.
    """
    columns = model_classes(model, dataset)
    classes = len(model.labels)
    confusion = np.zeros((classes, classes), np.int64)
    seconds, done = 0.0, 0
    for images, targets in prepared_chunks(model, dataset):
        if not done:
            class_scores(model, images)  # compiles what a batch needs, outside the measured time
        started = time.perf_counter()
        scores = class_scores(model, images)
        seconds += time.perf_counter() - started
        np.add.at(confusion, (columns[targets], scores.argmax(axis=1)), 1)
        done += len(images)
        if progress is not None:
            progress(done, len(dataset))
    return Evaluation(confusion, model.labels, seconds)


def model_classes(model: Model, dataset: Dataset) -> NDArray[np.int64]:
    """For every class of the dataset, the class of the model with its name."""
    unnamed = not model.graph.metadata.labels
    if unnamed and isinstance(dataset, CifarBatch) and len(model.labels) == len(dataset.classes):
        return np.arange(len(dataset.classes))
    numbers: dict[str, list[int]] = {}
    for number, label in enumerate(model.labels):
        numbers.setdefault(label.casefold(), []).append(number)
    found = [numbers.get(name.casefold(), []) for name in dataset.classes]
    for name, matches in zip(dataset.classes, found, strict=True):
        if len(matches) != 1:
            problem = "is the name of several labels" if matches else "is no label"
            known = printable(", ".join(model.labels))
            raise InputError(f"{dataset.source}: class {name!r} {problem} of the model: {known}")
    return np.array([matches[0] for matches in found])


def prepared_chunks(
    model: Model, dataset: Dataset
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Prepared images and their targets."""
    preparation = model.graph.metadata.preparation
    size = max(1, min(CHUNK_IMAGES, CHUNK_BYTES // int(np.prod(model.input_shape))))
    for first in range(0, len(dataset), size):
        chosen = range(first, min(first + size, len(dataset)))
        prepared = [prepare(dataset.image(i), model.input_shape, preparation) for i in chosen]
        yield np.stack(prepared), dataset.targets[first : first + size]
