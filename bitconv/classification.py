"""One picture given to a model, as the command line shows it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bitconv.errors import InputError
from bitconv.images import prepare
from bitconv.operators.pointwise import Softmax
from bitconv.text import printable, table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bitconv.graph import Graph
    from bitconv.model import Model


@dataclass(frozen=True)
class Rank:
    """A label with its raw score and its probability, the softmax of all scores."""

    label: str
    probability: float
    score: float


@dataclass(frozen=True)
class Classification:
    """The likeliest labels of a picture, and the time it took; `str()` is a table."""

    image: str
    top: tuple[Rank, ...]
    network_seconds: float
    preparation_seconds: float

    def __str__(self) -> str:
        rows = [
            (printable(rank.label), f"{100 * rank.probability:.1f} %", f"{rank.score:.3f}")
            for rank in self.top
        ]
        return (
            f"{printable(self.image)}\n\n{table(('label', 'probability', 'score'), rows)}\n\n"
            f"{1000 * self.network_seconds:.2f} ms in the network, "
            f"{1000 * self.preparation_seconds:.2f} ms to read and prepare the picture"
        )


@dataclass(frozen=True)
class Failure:
    """A picture that could not be classified, and why."""

    image: str
    error: str

    def __str__(self) -> str:
        return printable(self.error)


def class_scores(model: Model, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Scores (N, classes) of prepared images, or an `InputError` where the network gives none."""
    output = model.graph.outputs[0]
    value = model.graph.types[output]
    if len(value.shape) != 1:
        raise InputError(f"the network ends in {output!r}, {value}, not in one score a class")
    result = model.predict(images)
    scores = result if isinstance(result, np.ndarray) else result[output]
    return scores.astype(np.float32)


def classify(model: Model, path: Path, count: int) -> Classification | Failure:
    """The `count` likeliest labels of the picture at `path`."""
    from bitconv.prediction import Prediction

    started = time.perf_counter()
    try:
        pixels = prepare(path, model.input_shape, model.graph.metadata.preparation)
    except InputError as error:
        return Failure(str(path), str(error))
    prepared = time.perf_counter()
    prediction = Prediction(class_scores(model, pixels[None])[0], model.labels)
    finished = time.perf_counter()
    probabilities = Prediction(_probabilities(prediction.scores, model.graph), model.labels)
    top = tuple(
        Rank(label, probability, score)
        for (label, score), (_, probability) in zip(
            prediction.top(count), probabilities.top(count), strict=True
        )
    )
    return Classification(str(path), top, finished - prepared, prepared - started)


def _probabilities(scores: NDArray[np.float32], graph: Graph) -> NDArray[np.float32]:
    """The softmax of the scores, unless the network ends in one itself."""
    last = next((node for node in graph.nodes if node.name == graph.outputs[0]), None)
    if last is not None and isinstance(last.operator, Softmax):
        return scores
    return Softmax().reference(scores)
