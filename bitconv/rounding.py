"""How far float32 results may lie apart whose terms were added up in another order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.bits import BitArray
from bitconv.operators import BatchNorm, BinaryConv2d, BinaryDense, Conv2d, Dense, Operator
from bitconv.scales import ScaleGrid

ROUNDING = 1e-5  # of the magnitude; sums of thousands of terms stay below


def allowed_difference(
    operator: Operator, inputs: Sequence[NDArray[Any]], result: NDArray[Any]
) -> NDArray[np.float64]:
    """How far another float32 computation of an operator may lie from its reference.

    In proportion to the largest result, and to the magnitudes of the terms, which may be much
    larger than their sum.

    Parameters
    ----------
    operator : Operator
    inputs : sequence of array
    result : array
        The operator's reference of these inputs.

    Returns
    -------
    float64 array of the shape of `result`
    """
    largest = float(np.abs(result).max(initial=0.0))
    magnitudes = _magnitudes(operator, inputs, result).astype(np.float64)
    return ROUNDING * np.maximum(magnitudes, largest)


def _magnitudes(
    operator: Operator, inputs: Sequence[NDArray[Any]], result: NDArray[Any]
) -> NDArray[Any]:
    """The sums of the magnitudes of all terms."""
    match operator:
        case Dense() | BinaryDense():
            pixel = inputs[0][:, None, None, :]
            return _magnitudes(operator.convolution, [pixel], result)[:, 0, 0]
        case BatchNorm():
            factor, offset = operator.factors()
            return np.abs(inputs[0] * factor) + np.abs(offset)
        case Conv2d():
            weight, bias = np.abs(operator.weight), _absolute(operator.bias)
            absolute: Operator = replace(operator, weight=weight, bias=bias)
        case BinaryConv2d():
            absolute = replace(
                operator,
                weight=BitArray.from_bits(np.zeros(operator.weight.shape, np.bool_)),  # all +1
                scale=_absolute_scale(operator.scale),
                bias=_absolute(operator.bias),
                pad_value=abs(operator.pad_value),
                activation_scale=abs(operator.activation_scale),
            )
        case _:
            return np.asarray(np.abs(result))
    sums: NDArray[Any] = absolute.reference(*(np.abs(values) for values in inputs))
    return sums


def _absolute(bias: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
    return None if bias is None else np.abs(bias)


def _absolute_scale(scale: ScaleGrid | None) -> ScaleGrid | None:
    return None if scale is None else replace(scale, values=np.abs(scale.values))
