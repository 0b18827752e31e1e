"""From a chain that ends in a sign to one integer comparison a filter.

After a binary convolution, scale, batch norm, activation and sign are a monotone function of the
integer dot product d, as every float32 operation rounds monotonically. So the bit of filter f is
``d <= limit[f]`` or its opposite; the opposite becomes ``-d <= limit[f]``, that is the same
comparison with the filter's weights negated. The limit is found by bisecting the operators' own
references over the possible d, so it is exact where a formula would be off by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.graph import Node
from bitconv.operators import BatchNorm, BinaryConv2d, Clip, Multiply, PRelu, Relu, Sign


@dataclass(frozen=True, eq=False)
class IntegerSign:
    """The comparison that gives the bit of every filter.

    Attributes
    ----------
    limits : int32 array of shape (filters,)
        The bit is set where the dot product is at most the limit.
    negated : bool array of shape (filters,)
        Whether the filter's weights, and so its dot product, change sign first.
    """

    limits: NDArray[np.int32]
    negated: NDArray[np.bool_]


def is_monotone(node: Node) -> bool:
    """Whether the node maps each channel monotonically, by itself."""
    if isinstance(node.operator, PRelu):
        return bool((node.operator.slope >= 0).all())
    return isinstance(node.operator, BatchNorm | Clip | Multiply | Relu)


def integer_sign(convolution: BinaryConv2d, chain: list[Node], sign: Sign) -> IntegerSign | None:
    """The comparison equal to `chain` and `sign` behind `convolution`; None if there is none."""
    filters, *kernel = convolution.weight_shape
    bound = math.prod(kernel)

    def stages(dots: NDArray[np.int32]) -> Iterator[NDArray[np.float32]]:
        result = convolution.rescale([dots])
        yield result
        for node in chain:
            result = node.operator.reference(result)
            yield result

    def bits(dots: NDArray[np.int32]) -> NDArray[np.bool_]:
        *_, result = stages(dots[None])
        found: NDArray[np.bool_] = sign.reference(result)[0] < 0
        return found

    lowest, highest = np.full(filters, -bound, np.int32), np.full(filters, bound, np.int32)
    with np.errstate(over="ignore", invalid="ignore"):
        for dots in (lowest, highest):
            if not all(np.isfinite(values).all() for values in stages(dots[None])):
                return None
        negated = bits(highest) & ~bits(lowest)
        direction = np.where(negated, -1, 1).astype(np.int32)
        limits = largest_set(lambda dots: bits(direction * dots), lowest, highest)
    return IntegerSign(limits, negated)


def largest_set(
    bits: Callable[[NDArray[Any]], NDArray[np.bool_]], lowest: NDArray[Any], highest: NDArray[Any]
) -> NDArray[np.int32]:
    """For each element the largest d with ``bits(d)``, by bisection; ``lowest - 1`` for none."""
    low, high = lowest - 1, highest.copy()  # bits(low) counts as set; the answer is in [low, high]
    while (low < high).any():
        middle = (low + high + 1) // 2
        set_ = bits(middle)
        low = np.where(set_, middle, low)
        high = np.where(set_, high, middle - 1)
    return low.astype(np.int32)
