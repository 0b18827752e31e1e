"""What a user holds: a loaded network, and what it says of an image."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

    ImageLike = str | Path | Image | NDArray[np.uint8]


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
        order = np.argsort(-self.scores, kind="stable")[:k]
        return [(self.labels[index], float(self.scores[index])) for index in order]

    def __repr__(self) -> str:
        return f"Prediction({self.label!r}, score={self.score:.3f})"


class Model:
    """A loaded network, ready to run. Immutable; may be called from several threads at once.

    Parameters
    ----------
    graph : Graph
        With one input.
    threads : int, optional
        Threads a call may use; all usable cores when not given.
    """

    def __init__(self, graph: Graph, *, threads: int | None = None) -> None:
        if len(graph.inputs) != 1:
            raise GraphError(f"a model takes one input, the graph has {tuple(graph.inputs)}")
        self.graph = graph
        self.threads = threads or 1

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the class scores; the class numbers as text where the file has none."""
        classes = self.graph.types[self.graph.outputs[0]].shape[-1]
        return self.graph.metadata.labels or tuple(str(index) for index in range(classes))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(height, width, channels) of an image."""
        (value,) = self.graph.inputs.values()
        return value.shape

    def run(self, image: ImageLike) -> Prediction:
        """Classify one image: a path, a Pillow image, or a uint8 array (H, W, 3) or (H, W)."""
        from bitconv.images import prepare

        array = prepare(image, self.input_shape, self.graph.metadata.preparation)
        return Prediction(self.predict(array[None])[0], self.labels)

    def predict(self, images: NDArray[Any]) -> NDArray[np.float32]:
        return self.reference(images)

    def reference(self, images: NDArray[Any]) -> NDArray[Any]:
        """What `predict` returns, through the operators' NumPy definitions."""
        (name,) = self.graph.inputs
        values: dict[str, NDArray[Any]] = {name: images}
        for node in self.graph.nodes:
            values[node.name] = node.operator.reference(*(values[i] for i in node.inputs))
        return values[self.graph.outputs[0]]
