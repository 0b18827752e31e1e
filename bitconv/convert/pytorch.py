"""From PyTorch modules to graphs, through PyTorch's ONNX exporter."""

from __future__ import annotations

import copy
import logging
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitconv.errors import MissingPackageError, UnsupportedError

if TYPE_CHECKING:
    from bitconv.graph import Graph


def from_torch(module: Any, example: Any) -> Graph:
    """Make a graph of a PyTorch module; see `bitconv.convert.from_torch`."""
    try:
        import onnxscript  # noqa: F401  # what the exporter is made of
        import torch
    except ImportError as error:
        raise MissingPackageError(
            "converting PyTorch modules takes torch, onnx, onnxsim and onnxscript: "
            "pip install 'bitconv[onnx,train]'"
        ) from error
    from bitconv.convert.onnx import convert
    from bitconv.convert.onnx.reading import one_line

    evaluated = copy.deepcopy(module).to("cpu").eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "module.onnx"
        try:
            with warnings.catch_warnings(), _quiet("torch.onnx"), torch.no_grad():
                warnings.simplefilter("ignore")  # of PyTorch's own deprecations
                torch.onnx.export(
                    evaluated,
                    (example.detach().to("cpu"),),
                    str(path),
                    dynamo=True,
                    optimize=False,  # it would multiply batch norm into weights
                    external_data=False,
                    verbose=False,
                )
        except Exception as error:  # whatever the module or the exporter raises
            raise UnsupportedError(
                f"PyTorch cannot export {type(module).__name__} to ONNX: {one_line(error)}"
            ) from error
        return convert(path).graph


class _quiet:  # noqa: N801  # a context manager, used as a function
    """Silence a logger below errors for a while."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)
        self._level = self._logger.level

    def __enter__(self) -> None:
        self._logger.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        self._logger.setLevel(self._level)
