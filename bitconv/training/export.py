"""Export a trained PyTorch module as a bitconv file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch import nn

from bitconv.file import write
from bitconv.graph import Graph, Metadata
from bitconv.operators import Normalize
from bitconv.training.agreement import Agreement, compare
from bitconv.training.translate import translate


def to_graph(
    module: nn.Module,
    image_shape: tuple[int, int, int],
    *,
    normalization: Normalize | None = None,
    metadata: Metadata | None = None,
) -> Graph:
    """The graph of a module as it is in evaluation mode.

    Parameters
    ----------
    module : torch.nn.Module
        Made of `bitconv.training` layers, Conv2d, BatchNorm2d, PReLU, ReLU, Linear, AvgPool2d and
        Flatten, joined by ``+``, ``torch.cat(..., 1)``, ``avg_pool2d``, ``relu``, ``flatten(1)``
        and ``mean((2, 3))``. It takes one NCHW batch. It is not changed.
    image_shape : tuple of int
        (height, width, channels).
    normalization : Normalize, optional
        What happens to a uint8 image before it enters the module, put in front of the graph.
        Without it the graph takes what the module takes: float32.
    metadata : Metadata, optional

    Raises
    ------
    UnsupportedError
        Naming the layer or function that has no operator, and its place in the module.
    """
    return translate(module, image_shape, normalization, metadata).graph


def export(
    module: nn.Module,
    path: str | Path,
    images: NDArray[Any],
    *,
    normalization: Normalize | None = None,
    metadata: Metadata | None = None,
) -> Agreement:
    """Write a module to a file, after checking on images that the file says the same.

    Parameters
    ----------
    module, normalization, metadata
        As for `to_graph`.
    path : str or Path
        Of the HDF5 file.
    images : array of shape (N, height, width, channels)
        uint8 with `normalization`, float32 without; some tens of real images.

    Returns
    -------
    Agreement
        The labels compared.

    Raises
    ------
    UnsupportedError
        As for `to_graph`.
    GraphError
        Naming the first layer that differs from PyTorch; nothing is written then.
    """
    translation = translate(module, images.shape[1:], normalization, metadata)
    agreement = compare(translation, images)
    write(translation.graph, path)
    return agreement
