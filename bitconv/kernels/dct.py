"""The 8-point DCT along channels; `bitconv.feature_maps.dct` says what it is.

All sums are integers below 2²⁴, which float32 holds exactly, in whatever order they are added.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from bitconv.kernels.dct_matrix import MATRIX, NORM, POINTS
from bitconv.kernels.instructions import element_pointers, instruction
from bitconv.kernels.jit import subroutine
from bitconv.kernels.microkernel import FLOAT, I64, broadcast, constant, store_vector


def _transform(matrix: NDArray[np.int64]) -> Callable[..., Any]:
    """The code that multiplies eight floats with a matrix and NORM, in place.

    The eight sums are the lanes of a vector, to which each float adds its product with a column.
    """
    vector = ir.VectorType(FLOAT, POINTS)

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        floats, first = element_pointers(context, builder, signature, values)
        place = builder.gep(floats, [first])
        sums = ir.Constant(vector, None)
        for index, column in enumerate(matrix.T.tolist()):
            factor = broadcast(builder, builder.load(builder.gep(place, [I64(index)])), POINTS)
            sums = builder.fadd(sums, builder.fmul(factor, ir.Constant(vector, column)))
        store_vector(builder, builder.fmul(sums, constant(vector, float(NORM))), place)
        return context.get_dummy_value()

    return codegen


@instruction
def _forward(_context: Any, values: Any, first: Any) -> Any:
    """Transform the eight values from ``values[first]`` on."""
    return types.void(values, types.int64), _transform(MATRIX)


@instruction
def _inverse(_context: Any, values: Any, first: Any) -> Any:
    """Undo `_forward`, but for rounding."""
    return types.void(values, types.int64), _transform(MATRIX.T)


@subroutine
def forward_dct(values, channels):
    """Transform every whole block of eight channels of each pixel, in place."""
    for first in range(0, values.size, channels):
        for start in range(first, first + channels - POINTS + 1, POINTS):
            _forward(values, start)


@subroutine
def inverse_dct(values, channels):
    """The inverse of `forward_dct`, but for rounding."""
    for first in range(0, values.size, channels):
        for start in range(first, first + channels - POINTS + 1, POINTS):
            _inverse(values, start)
