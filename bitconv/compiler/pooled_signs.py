"""Signs behind a maximum, taken before it, so that the pool sees bits.

What stands between a pool and a sign, such as batch norm, is monotone in each channel, as every
float32 operation rounds monotonically. So the bit of the largest value m is ``m <= limit``, or its
opposite where the channel falls, and ``max(x) <= limit`` is ``x <= limit`` for all x of a window:
the pool is an AND of bits, whatever the signs of γ and the strictness of the comparison. The limit
is found by bisecting the operators' own references over the finite floats.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.bits import BitArray
from bitconv.compiler.thresholds import is_monotone, largest_set
from bitconv.graph import Graph, Node
from bitconv.operators import MaxPool2d, Sign
from bitconv.operators.operator import BITS

LARGEST = 0x7F7FFFFF  # the bits of the largest finite float32
SIGN_BIT = 0x80000000


@dataclass(frozen=True, eq=False)
class TurnedMaxPool2d(MaxPool2d):
    """The largest sign of each window, in some channels with the opposite sign.

    Attributes
    ----------
    turned : BitArray of shape (channels,)
        −1 for the channels whose sign changes.
    """

    name = "turned_max_pool2d"
    turned: BitArray = field(default_factory=lambda: BitArray.from_signs([1]), metadata=BITS)

    def reference(self, maps: NDArray[Any]) -> NDArray[Any]:
        return super().reference(maps) * self.turned.signs()


@dataclass(frozen=True)
class PooledSigns:
    """A graph in which signs stand before maxima.

    Attributes
    ----------
    graph : Graph
    work : mapping of str to tuple of str
        For its new nodes, the nodes of the original graph whose work they do.
    """

    graph: Graph
    work: Mapping[str, tuple[str, ...]]

    def original(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The nodes of the original graph for some of this one."""
        return tuple(original for name in names for original in self.work.get(name, (name,)))


def pool_signs(graph: Graph, nodes: list[Node], kept: frozenset[str]) -> PooledSigns:
    """Move every sign that alone reads a maximum to before it.

    Parameters
    ----------
    graph : Graph
    nodes : list of Node
        Those that are needed, in the order in which they will be lowered.
    kept : frozenset of str
        Values that must stay.
    """
    readers: dict[str, list[Node]] = {}
    for node in nodes:
        for name in dict.fromkeys(node.inputs):
            readers.setdefault(name, []).append(node)
    taken = set(graph.types)
    replaced: dict[str, tuple[Node, ...]] = {}
    work: dict[str, tuple[str, ...]] = {}
    for pool in nodes:
        if isinstance(pool.operator, MaxPool2d):
            chain = list(_lone_readers(pool, readers, kept))
            before = _signs_before(pool.operator, chain, graph.types[pool.name].shape[-1])
            if before is not None:
                taps = Node(_new_name(chain[-1].name, taken), before[0], pool.inputs)
                replaced |= dict.fromkeys((pool.name, *(node.name for node in chain)), ())
                replaced[chain[-1].name] = (taps, Node(chain[-1].name, before[1], (taps.name,)))
                work[taps.name] = (pool.name,)
                work[chain[-1].name] = tuple(node.name for node in chain)
    moved = [new for node in nodes for new in replaced.get(node.name, (node,))]
    return PooledSigns(replace(graph, nodes=tuple(moved)), work)


def _new_name(name: str, taken: set[str]) -> str:
    """A name for the signs that are pooled."""
    while (name := f"{name} taps") in taken:
        pass
    taken.add(name)
    return name


def _lone_readers(
    node: Node, readers: Mapping[str, list[Node]], kept: frozenset[str]
) -> Iterator[Node]:
    """What reads a node and nothing else does, and so on up to the first sign."""
    while node.name not in kept and len(readers[node.name]) == 1:
        (node,) = readers[node.name]
        yield node
        if isinstance(node.operator, Sign) or not is_monotone(node):
            return


def _signs_before(
    pool: MaxPool2d, chain: list[Node], channels: int
) -> tuple[Sign, TurnedMaxPool2d] | None:
    """The sign and the pool of signs that equal `pool` and `chain`; None if there are none."""
    if not chain or not isinstance(chain[-1].operator, Sign):
        return None

    def stages(values: NDArray[np.float32]) -> Iterator[NDArray[Any]]:
        for node in chain:
            values = node.operator.reference(values)
            yield values

    def bits(keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        *_, signs = stages(_floats(keys)[None])
        found: NDArray[np.bool_] = signs[0] < 0
        return found

    highest = np.full(channels, LARGEST)
    lowest = -1 - highest
    with np.errstate(over="ignore", invalid="ignore"):
        for keys in (lowest, highest):
            if any(np.isnan(values).any() for values in stages(_floats(keys)[None])):
                return None
        turned = ~bits(lowest)
        limits = _floats(largest_set(lambda keys: bits(keys) ^ turned, lowest, highest))
    return (
        Sign(limits, zero_is_positive=False),
        TurnedMaxPool2d(pool.kernel, pool.stride, pool.padding, BitArray.from_bits(turned)),
    )


def _floats(keys: NDArray[Any]) -> NDArray[np.float32]:
    """The float32 values that are numbered in their order, 0 for +0 and −1 for −0."""
    wide = keys.astype(np.int64)
    return np.where(wide < 0, SIGN_BIT - 1 - wide, wide).astype(np.uint32).view(np.float32)
