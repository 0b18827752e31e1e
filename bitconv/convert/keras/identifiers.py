"""How Keras writes the name of a class, a function or an object into a configuration."""

from __future__ import annotations

from typing import Any

from bitconv.convert.keras.fields import Fields, as_object, shown
from bitconv.errors import FileError


def bare(name: str) -> str:
    """A registered name without its package: ``Larq>SteSign`` is ``SteSign``."""
    return name.rpartition(">")[2]


def identifier(value: Any, what: str) -> tuple[str, Fields]:
    """Name and configuration of an activation or a quantizer; the name is empty for none.

    Known forms are ``"ste_sign"``, ``{"class_name": "SteSign", "config": {...}}`` and, for a
    function, ``{"class_name": "function", "config": "ste_sign"}``. A class and the function of that
    name mean the same, so the name is returned without capitals and underscores: ``stesign``.
    """
    if value is None:
        return "", Fields({})
    if isinstance(value, str):
        return _plain(value), Fields({})
    entry = Fields(as_object(value, what))
    name, config = entry.text("class_name"), entry.get("config")
    if name == "function":
        if not isinstance(config, str):
            raise FileError(f"{what!r} takes the name of a function, found {shown(config)}")
        return _plain(config), Fields({})
    return _plain(name), Fields(as_object(config or {}, what))


def _plain(name: str) -> str:
    return bare(name).replace("_", "").lower()
