"""Networks that are right by construction: which channel of a picture is the brightest?"""

import numpy as np

from bitconv import Graph, Metadata, Node, TensorType
from bitconv.bits import BitArray
from bitconv.operators import BinaryDense, Dense, GlobalAvgPool2d, Normalize, Sign
from bitconv.scales import ScaleGrid

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


def binary_colour_graph() -> Graph:
    """The same with binary weights, which take blue for red where the scales are all equal."""
    weight = BitArray.from_signs(2 * np.eye(3) - 1)
    scale = ScaleGrid.per_filter([1.0, 1.0, 4.0], 3)
    nodes = (
        Node("normalize", Normalize(mean=np.full(1, 127.5), std=np.full(1, 127.5)), "image"),
        Node("mean", GlobalAvgPool2d(), "normalize"),
        Node("signs", Sign(np.zeros(1)), "mean"),
        Node("scores", BinaryDense(weight, scale, bias=np.array([0.0, 0.0, -9.0])), "signs"),
    )
    metadata = Metadata(labels=tuple(COLOURS), source="tests", accuracy="100 % on colours")
    return Graph({"image": TensorType((8, 8, 3), "uint8")}, nodes, metadata=metadata)


def plain(colour: str, size: tuple[int, int] = (8, 8)) -> np.ndarray:
    """A picture of one colour."""
    return np.full((*size, 3), COLOURS[colour], np.uint8)
