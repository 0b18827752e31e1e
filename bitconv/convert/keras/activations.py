"""What activations become, whether layers or arguments of layers."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from bitconv.convert.keras.build import Build
from bitconv.convert.keras.fields import Fields
from bitconv.convert.keras.identifiers import identifier
from bitconv.convert.keras.quantizers import HEAVISIDE, SIGNS, signs
from bitconv.errors import UnsupportedError
from bitconv.operators import Clip, PRelu, Relu, Softmax

Rule = Callable[[Build, Fields, str], str]

LINEAR = ("", "linear")


def activate(build: Build, config: Fields, x: str) -> str:
    """Append what the ``activation`` of a layer does."""
    name, settings = identifier(config.get("activation"), "activation")
    if name in LINEAR:
        return x
    return ACTIVATIONS[name](build, settings, x)


def check_activation(config: Fields) -> None:
    """Raise `UnsupportedError` where ``activation`` names one without an operator."""
    name, _ = identifier(config.get("activation"), "activation")
    if name not in LINEAR and name not in ACTIVATIONS:
        raise UnsupportedError(f"activation {name!r} has no operator")


def slope(build: Build, value: float, x: str) -> str:
    """x where it is positive, else x times a number."""
    return build.add_part(PRelu(np.full(1, value, np.float32)), build.numbers(x))


def relu(build: Build, config: Fields, x: str) -> str:
    """The general ReLU of Keras: a slope below zero and a largest value."""
    if config.number("threshold", 0.0):
        raise UnsupportedError("threshold is not 0, which has no operator")
    largest, below = config.optional_number("max_value"), config.number("negative_slope", 0.0)
    value = build.numbers(x)
    if below:
        value = slope(build, below, value)
        return value if largest is None else build.add_part(Clip(-math.inf, largest), value)
    return build.add_part(Relu() if largest is None else Clip(0.0, largest), value)


def leaky_relu(build: Build, config: Fields, x: str) -> str:
    """A slope below zero: Keras 2 calls it ``alpha``, Keras 3 ``negative_slope``."""
    named = "negative_slope" if "negative_slope" in config else "alpha"
    return slope(build, config.number(named, 0.3), x)


def softmax(build: Build, config: Fields, x: str) -> str:
    """Softmax over the last axis."""
    axis = config.get("axis", -1)
    if axis not in (-1, len(build.types[x].shape)):
        raise UnsupportedError(f"softmax over axis {axis}, expected the last")
    return build.add_part(Softmax(), build.numbers(x))


def _clip(low: float, high: float) -> Rule:
    return lambda build, _, x: build.add_part(Clip(low, high), build.numbers(x))


def _sign(name: str) -> Rule:
    return lambda build, _, x: signs(build, name, x)


def _heaviside(build: Build, _: Fields, x: str) -> str:
    return build.affine_of_signs(signs(build, HEAVISIDE, x), 0.5, 0.5)


def _leaky_function(build: Build, config: Fields, x: str) -> str:
    """The function, whose slope is another than the layer's."""
    return leaky_relu(build, Fields({"negative_slope": 0.2, **config.values}), x)


ACTIVATIONS: dict[str, Rule] = {
    "hardtanh": _clip(-1.0, 1.0),  # of Larq
    "leakyrelu": _leaky_function,
    "relu": relu,
    "relu6": _clip(0.0, 6.0),
    "softmax": softmax,
    HEAVISIDE: _heaviside,
    **{name: _sign(name) for name in SIGNS},
}
