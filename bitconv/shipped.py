"""The models and the picture that travel inside the package."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from bitconv.errors import InputError

DEFAULT_MODEL = "cifar10-resnet"
PACKAGE = Path(str(files("bitconv")))
SAMPLE_PICTURE = PACKAGE / "data" / "chelsea.png"


def shipped_models() -> dict[str, Path]:
    """The files of the shipped models by name, in order."""
    return {path.stem: path for path in sorted(_weights().glob("*.h5"))}


def model_path(model: str | Path | None = None) -> Path:
    """The file that a model's name or path stands for.

    Parameters
    ----------
    model : str or Path, optional
        A shipped name or a path; the default model when not given. Text that is a shipped name
        wins over a file of that name in the working directory, which ``./name`` reaches.

    Raises
    ------
    InputError
        There is neither a shipped model of that name nor such a file.
    """
    shipped = shipped_models()
    name = DEFAULT_MODEL if model is None else model
    if isinstance(name, str) and name in shipped:
        return shipped[name]
    if not isinstance(name, str | os.PathLike):
        raise InputError(f"a model is named by a text or a path, found {type(name).__name__}")
    path = Path(name)
    if not os.path.isfile(path):  # whatever the name, it raises nothing
        known = ", ".join(shipped) or "none"
        raise InputError(f"{name}: neither a file nor a shipped model; shipped are: {known}")
    return path


def _weights() -> Path:
    """The folder of the models: inside an installed package, beside it in a checkout."""
    inside = PACKAGE / "weights"
    return inside if inside.is_dir() else PACKAGE.parent / "weights"
