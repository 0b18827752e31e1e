"""Class scores of an image, and what they say."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bitconv.parameters import positive_integer


@dataclass(frozen=True, eq=False)
class Prediction:
    """Class scores of one image.

    Attributes
    ----------
    scores : float32 array of shape (classes,)
        Raw scores, as the network ends; higher is likelier.
    labels : tuple of str
        One a class; the class numbers as text where the model names none.
    """

    scores: NDArray[np.float32]
    labels: tuple[str, ...] = field(repr=False)

    @property
    def label(self) -> str:
        """The label of the highest score."""
        return self.top(1)[0][0]

    @property
    def score(self) -> float:
        """The highest score."""
        return self.top(1)[0][1]

    def top(self, k: int) -> list[tuple[str, float]]:
        """The `k` likeliest (label, score) pairs, best first; ties keep the order of classes."""
        count = positive_integer(k, "top")
        order = np.argsort(-self.scores, kind="stable")[:count]
        return [(self.labels[index], float(self.scores[index])) for index in order]

    def __repr__(self) -> str:
        return f"Prediction({self.label!r}, score={self.score:.3f})"
