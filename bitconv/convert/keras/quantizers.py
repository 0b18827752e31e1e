"""What Larq's quantizers do to activations and to kernels.

All signs of Larq take 0 to +1 (``larq.math.sign`` is ``sign(sign(x) + 0.1)``) and differ only in
their gradients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitconv.convert.keras.build import Build
from bitconv.convert.keras.fields import Fields
from bitconv.convert.keras.identifiers import identifier
from bitconv.errors import UnsupportedError
from bitconv.operators import Sign

SIGNS = ("stesign", "approxsign", "swishsign")
SCALED_SIGNS = ("magnitudeawaresign", "xnorweightscale")
HEAVISIDE = "steheaviside"
TERNARY = "stetern"
NO_QUANTIZER = ("", "noop", "noopquantizer")
ACTIVATION_QUANTIZERS = (*NO_QUANTIZER, *SIGNS, HEAVISIDE)
KERNEL_QUANTIZERS = (*NO_QUANTIZER, *SIGNS, *SCALED_SIGNS, HEAVISIDE, TERNARY)


@dataclass(frozen=True, eq=False)
class Kernel:
    """The weights of a layer as its quantizer makes them.

    Attributes
    ----------
    values : float32 array of shape (O, kernel height, kernel width, I)
        Of a binary kernel any numbers of the right signs, 0 for +1.
    is_binary : bool
    scale : float32 array of shape (O,), optional
        Of a binary kernel, what the signs of each filter are multiplied with.
    """

    values: NDArray[np.float32]
    is_binary: bool = False
    scale: NDArray[np.float32] | None = None


def check_quantizers(config: Fields) -> None:
    """Raise `UnsupportedError` where a layer has a quantizer that cannot be represented."""
    for role in (
        "input_quantizer",
        "kernel_quantizer",
        "depthwise_quantizer",
        "pointwise_quantizer",
    ):
        name, _ = identifier(config.get(role), role)
        known = ACTIVATION_QUANTIZERS if role == "input_quantizer" else KERNEL_QUANTIZERS
        if name not in known:
            raise UnsupportedError(
                f"{role} {name!r} is not one of {', '.join(filter(None, known))}"
            )


def quantize_input(build: Build, config: Fields, x: str) -> tuple[str, bool]:
    """The value as the input quantizer leaves it, and whether its signs stand for 0 and 1."""
    name, _ = identifier(config.get("input_quantizer"), "input_quantizer")
    if name in NO_QUANTIZER:
        return x, False
    return signs(build, name, x), name == HEAVISIDE


def signs(build: Build, name: str, x: str) -> str:
    """The signs of a value; with ``steheaviside``, −1 where that gives 0."""
    if name != HEAVISIDE and build.types[x].kind == "bits":
        return x
    threshold = np.zeros(1, np.float32)
    return build.add_part(Sign(threshold, name != HEAVISIDE), build.numbers(x))


def quantized_kernel(stored: NDArray[np.float32], config: Fields, role: str) -> Kernel:
    """What a layer multiplies with.

    Parameters
    ----------
    stored : float32 array of shape (..., filters)
        In the layout of Keras, in which the filters, of a depthwise kernel its multiplier, are the
        last axis; scales belong to that axis.
    config : Fields
        Of the layer.
    role : str
        Such as ``kernel_quantizer``.

    Returns
    -------
    Kernel
        Its values in the layout of Keras still.
    """
    name, settings = identifier(config.get(role), role)
    if name in NO_QUANTIZER:
        return Kernel(stored)
    if name == HEAVISIDE:
        return Kernel((stored > 0).astype(np.float32))
    if name == TERNARY:
        return Kernel(_ternary(stored, settings))
    if name not in SCALED_SIGNS:
        return Kernel(stored, True)
    magnitude = np.abs(stored.astype(np.float64))
    if name == "xnorweightscale":  # of Larq Zoo's XNOR-Net, which clips first
        magnitude = magnitude.clip(max=1.0)
    axes = tuple(range(stored.ndim - 1))
    return Kernel(stored, True, magnitude.mean(axes).astype(np.float32))


def _ternary(stored: NDArray[np.float32], settings: Fields) -> NDArray[np.float32]:
    """−1, 0 and +1, 0 up to the threshold (arXiv 1605.04711)."""
    threshold = np.float32(settings.number("threshold_value", 0.05))
    if settings.flag("ternary_weight_networks", False):
        threshold = np.float32(0.7 * np.abs(stored.astype(np.float64)).mean())
    both = np.sign(stored + threshold) + np.sign(stored - threshold)
    result: NDArray[np.float32] = np.sign(both).astype(np.float32)
    return result
