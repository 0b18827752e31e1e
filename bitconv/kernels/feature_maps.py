"""The kernels of the codecs of feature maps, by the codec's name.

``encode_NAME(values, channels, constants, scratch, out)`` takes a map or some strips of it, float32
in one row, writes bytes to `out` and returns their number, or −1 where `out` is too short. It may
write to all of `out`. ``decode_NAME(data, channels, constants, scratch, values)`` is the inverse:
it returns the number of bytes used, where `data` may go on, or −1 where they are no map; then the
values are undefined.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any

from numba import float32, int64, uint8

Coding = Callable[..., int]

_OCTETS, _FLOATS = uint8[::1], float32[::1]


@cache
def encoder(name: str) -> Coding:
    """The compiled function that encodes for the codec of that name."""
    return _compiled(name, "encode", (_FLOATS, int64, _OCTETS, _OCTETS, _OCTETS))


@cache
def decoder(name: str) -> Coding:
    """The compiled function that decodes for the codec of that name."""
    return _compiled(name, "decode", (_OCTETS, int64, _OCTETS, _OCTETS, _FLOATS))


def _compiled(name: str, task: str, signature: tuple[Any, ...]) -> Coding:
    module = name.replace("-", "_")
    home = importlib.import_module(f"bitconv.kernels.{module}")
    function = getattr(home, f"{task}_{module}")
    function.compile(signature)
    coding: Coding = function
    return coding
