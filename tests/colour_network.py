"""A network that is right by construction: it tells which channel of a picture is the brightest."""

import numpy as np

from bitconv import Graph, Metadata, Node, TensorType
from bitconv.operators import Dense, GlobalAvgPool2d, Normalize

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def colour_graph(
    labels: tuple[str, ...] = tuple(COLOURS), size: tuple[int, int] = (8, 8), classes: int = 3
) -> Graph:
    """Scores are the mean of the three channels, 0 to 1, then −1 for further classes."""
    weight, bias = np.eye(classes, 3), np.where(np.arange(classes) < 3, 0.0, -1.0)
    nodes = (
        Node("normalize", Normalize(mean=np.zeros(1), std=np.full(1, 255.0)), "image"),
        Node("mean", GlobalAvgPool2d(), "normalize"),
        Node("scores", Dense(weight=weight, bias=bias), "mean"),
    )
    metadata = Metadata(name="colours", labels=labels, licence="CC0", accuracy="100 % on colours")
    return Graph({"image": TensorType((*size, 3), "uint8")}, nodes, metadata=metadata)


def plain(colour: str, size: tuple[int, int] = (8, 8)) -> np.ndarray:
    """A picture of one colour."""
    return np.full((*size, 3), COLOURS[colour], np.uint8)
