"""Inference for binarized convolutional networks in pure Python."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bitconv.file import read, write
    from bitconv.graph import Graph, Metadata, Node, Preparation, TensorType
    from bitconv.model import Model, load, run
    from bitconv.prediction import Prediction
    from bitconv.warming import warmup

__all__ = [
    "Graph",
    "Metadata",
    "Model",
    "Node",
    "Prediction",
    "Preparation",
    "TensorType",
    "load",
    "read",
    "run",
    "warmup",
    "write",
]

__version__ = "0.1.0"

_HOMES = {
    "bitconv.file": ("read", "write"),
    "bitconv.graph": ("Graph", "Metadata", "Node", "Preparation", "TensorType"),
    "bitconv.model": ("Model", "load", "run"),
    "bitconv.prediction": ("Prediction",),
    "bitconv.warming": ("warmup",),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import bitconv`` stays cheap."""
    for module, names in _HOMES.items():
        if name in names:
            value = getattr(importlib.import_module(module), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'bitconv' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
