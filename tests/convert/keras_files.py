"""Keras files written by hand, for what no framework writes any more or never would."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Layer = tuple[str, dict[str, Any]]  # class and configuration


def sequential(*layers: Layer, shape: Sequence[int | None] = (None, 5, 6, 2)) -> dict[str, Any]:
    """The configuration of a Sequential model of Keras 2 with layers ``layer0``, ``layer1``, ..."""
    entries = [
        {"class_name": kind, "config": {"name": f"layer{index}", **config}}
        for index, (kind, config) in enumerate(layers)
    ]
    if entries:
        entries[0]["config"].setdefault("batch_input_shape", list(shape))
    return {"class_name": "Sequential", "config": {"name": "hand", "layers": entries}}


def write_keras(
    path: Path, config: Any, weights: Mapping[str, Mapping[str, Any]] | None = None
) -> Path:
    """A file as Keras 2 lays it out; `config` may be the text itself."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = config if isinstance(config, str) else json.dumps(config)
        top = file.create_group("model_weights")
        for layer, arrays in (weights or {}).items():
            group = top.create_group(layer)
            names = [f"{layer}/{name}:0" for name in arrays]
            group.attrs["weight_names"] = np.array(names, dtype="S")
            for name, values in zip(names, arrays.values(), strict=True):
                group.create_dataset(name, data=np.asarray(values, np.float32))
    return path


def conv_weights(filters: int = 3, channels: int = 2, size: int = 3) -> dict[str, Any]:
    """A kernel of multiples of a quarter, zeros among them, and a bias."""
    rng = np.random.default_rng(2)
    shape = (size, size, channels, filters)
    return {"kernel": rng.integers(-2, 3, shape) / 4, "bias": np.arange(filters) / 2}


CONV = {"filters": 3, "kernel_size": [3, 3], "padding": "same", "strides": [1, 1]}
