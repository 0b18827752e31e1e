"""Export a trained PyTorch module as a bitconv file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from bitconv.errors import InputError
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
        It takes one NCHW batch and does the same for every image. It is not changed. Made of

        - the layers of `bitconv.training`, Conv2d, Linear, BatchNorm1d and 2d, PReLU;
        - ReLU, LeakyReLU, ReLU6, Hardtanh, clamp, softmax over the channels, dropout, identity;
        - max and average pools, adaptive ones whose output divides the map, ``mean((2, 3))``;
        - ``+`` and ``-`` of two maps, and both, ``*`` and ``/`` with a number or a parameter of one
          number a channel; ``torch.cat(..., 1)`` and ``chunk(..., 1)``, padding with a constant,
          slices, one row or column;
        - flatten, view or reshape to ``(batch, -1)``, squeeze of rows or columns.

        Compiled modules and those spread over devices are taken as what is inside.
    image_shape : tuple of int
        (height, width, channels).
    normalization : Normalize, optional
        What happens to a uint8 image before it enters the module, put in front of the graph.
        Without it the graph takes what the module takes: float32. A picture then enters as its
        bytes, numbers from 0 to 255.
    metadata : Metadata, optional

    Raises
    ------
    UnsupportedError
        Naming the layer or function that has no operator, and its place in the module.
    GraphError
        Naming the layer whose parameters or input do not fit, such as weights that are NaN.
    """
    return translate(module, image_shape, normalization, metadata).graph


def export(
    module: nn.Module,
    path: str | Path,
    images: NDArray[Any],
    *,
    labels: Sequence[str] = (),
    normalization: Normalize | None = None,
    metadata: Metadata | None = None,
) -> Agreement:
    """Write a module to a file, after checking on images that the file says the same.

    Layer by layer the file must compute what PyTorch does: the same signs, the same sums of signs
    in every layer whose weights and activations are binary, the same floats up to rounding; and in
    the end the same labels, but where rounding alone decides, which `Agreement.traced` shows.

    Parameters
    ----------
    module, normalization
        As for `to_graph`.
    path : str or Path
        Of the HDF5 file.
    images : array of shape (N, height, width, channels)
        uint8 with `normalization`, float32 without; some tens of real images.
    labels : sequence of str
        The name of each class.
    metadata : Metadata, optional
        What else travels with the file. By default a picture is resized to the size of `images`;
        its `preparation` may ask for a centre crop instead.

    Returns
    -------
    Agreement
        The labels compared.

    Raises
    ------
    UnsupportedError
        As for `to_graph`.
    GraphError
        As for `to_graph`; where the number of labels is not the network's; and naming the first
        layer that differs from PyTorch. Nothing is written then.
    InputError
        The images are not such an array, or `metadata` has other labels.
    """
    batch = _checked(images, normalization)
    about = _with_labels(metadata or Metadata(), labels)
    translation = translate(module, batch.shape[1:], normalization, about)
    agreement = compare(translation, batch)
    write(translation.graph, path)
    return agreement


def _checked(images: NDArray[Any], normalization: Normalize | None) -> NDArray[Any]:
    kind = "float32" if normalization is None else "uint8"
    if not isinstance(images, np.ndarray):
        found = type(images).__name__
    elif images.dtype != kind or images.ndim != 4 or not images.size:
        found = f"{images.dtype} of shape {images.shape}"
    elif not np.isfinite(images).all():
        found = "NaN or infinity in it"
    else:
        return images
    raise InputError(
        f"images {'without' if normalization is None else 'with'} normalization are a {kind} array "
        f"of shape (N, height, width, channels), found {found}"
    )


def _with_labels(metadata: Metadata, labels: Sequence[str]) -> Metadata:
    if not isinstance(labels, Sequence):
        raise InputError(f"labels takes the names of the classes, found {labels!r}")
    labels = tuple(labels)
    if labels and metadata.labels and labels != metadata.labels:
        raise InputError(
            f"labels are {list(labels)}, but those of the metadata {list(metadata.labels)}"
        )
    return replace(metadata, labels=labels or metadata.labels)
