"""Networks that were trained elsewhere, as graphs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bitconv.graph import Graph

__all__ = ["from_keras", "from_onnx", "from_torch"]


def from_onnx(path: str | Path) -> Graph:
    """Read a network from an ONNX file.

    Layers are binary by what they compute: of inputs that take two values, by weights that are
    signs times a grid of scales. Everything else stays float32.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Graph
        Maps are (height, width, channels). Its input is float32, whatever the ONNX network takes.

    Raises
    ------
    FileError
        The file is damaged or no ONNX.
    UnsupportedError
        Some nodes cannot be converted; the message names each with its operator and the reason.
    MissingPackageError
        The packages of the extra ``onnx`` are not installed.
    """
    from bitconv.convert.onnx import convert

    return convert(path).graph


def from_torch(module: Any, example: Any) -> Graph:
    """Make a graph of a PyTorch module through PyTorch's ONNX exporter.

    For modules that are not made of `bitconv.training` layers; for those that are,
    `bitconv.training.to_graph` goes without ONNX.

    Parameters
    ----------
    module : torch.nn.Module
        Exported in evaluation mode; the caller's own stays as it is.
    example : torch.Tensor of shape (N, channels, height, width)
        An input of the size that the network takes.

    Raises
    ------
    UnsupportedError, MissingPackageError
        As `from_onnx`; also where PyTorch cannot export the module.
    """
    from bitconv.convert.pytorch import from_torch as convert_module

    return convert_module(module, example)


def from_keras(path: str | Path) -> Graph:
    """Read a network from a Keras or Larq file.

    Parameters
    ----------
    path : str or PathLike
        A whole model as ``model.save("model.h5")`` or ``model.save("model.keras")`` writes it with
        Keras 2, Keras 3 or Larq: Sequential or functional, with one input of a fixed size, in
        float32 and with the channels last.

    Returns
    -------
    Graph
        Its input is what the model takes, float32 of shape (height, width, channels). Nodes have
        the names of the layers.

    Raises
    ------
    FileError
        The file is damaged or holds something else.
    UnsupportedError
        Layers have no operator; all of them with name, class and reason.
    GraphError
        Weights do not fit, or are not finite; with the names of the layers.
    """
    from bitconv.convert import keras

    return keras.convert(path).graph
