"""Two versions of a network on the same labelled images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bitconv.classification import class_scores
from bitconv.datasets import Dataset
from bitconv.evaluation import model_classes, prepared_chunks

if TYPE_CHECKING:
    from bitconv.model import Model


@dataclass(frozen=True)
class Comparison:
    """How the labels of two versions differ; `str()` is a report.

    Attributes
    ----------
    images : int
    changed : int
        Images whose likeliest label is another.
    correct_before, correct_after : int
        Images whose likeliest label is that of their class.
    """

    images: int
    changed: int
    correct_before: int
    correct_after: int

    @property
    def accuracy_before(self) -> float:
        return self.correct_before / self.images

    @property
    def accuracy_after(self) -> float:
        return self.correct_after / self.images

    def __str__(self) -> str:
        changed = 100 * self.changed / self.images
        before, after = 100 * self.accuracy_before, 100 * self.accuracy_after
        return (
            f"labels    {self.changed:,} of {self.images:,} changed ({changed:.2f} %)\n"
            f"accuracy  {before:.2f} % before, {after:.2f} % after"
        )


def compare(
    before: Model,
    after: Model,
    dataset: Dataset,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Classify every image of a dataset with both models.

    Parameters
    ----------
    before, after : Model
        Of the same input, preparation and labels.
    dataset : Dataset
        As for `bitconv.evaluation.evaluate`.
    progress : callable, optional
        Called after each chunk with the images done and the images in all.

    Raises
    ------
    InputError
        The models give no class scores, do not know a class, or an image cannot be read.
    """
    columns = model_classes(before, dataset)
    images = changed = correct_before = correct_after = 0
    for prepared, targets in prepared_chunks(before, dataset):
        old, new = (class_scores(model, prepared).argmax(axis=1) for model in (before, after))
        true = columns[targets]
        images += len(true)
        changed += int((old != new).sum())
        correct_before += int((old == true).sum())
        correct_after += int((new == true).sum())
        if progress is not None:
            progress(images, len(dataset))
    return Comparison(images, changed, correct_before, correct_after)
