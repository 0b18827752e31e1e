"""Which values are written straight into their channels of a concatenation, and not copied."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from bitconv.bits import WORD_BITS
from bitconv.graph import Node, TensorType
from bitconv.operators import (
    Add,
    AvgPool2d,
    BatchNorm,
    BinaryConv2d,
    BinaryDense,
    Clip,
    Concat,
    Conv2d,
    DecodeMap,
    Dense,
    GlobalAvgPool2d,
    MaxPool2d,
    Multiply,
    Normalize,
    PRelu,
    Relu,
    Sign,
)

# What stores pixel by pixel, at any distance from each other.
WRITERS = (
    Add, AvgPool2d, BatchNorm, BinaryConv2d, BinaryDense, Clip, Conv2d, DecodeMap, Dense,
    GlobalAvgPool2d, MaxPool2d, Multiply, Normalize, PRelu, Relu, Sign,
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A place in a concatenation.

    Attributes
    ----------
    whole : str
        The concatenation.
    first : int
        The channel at which the part begins.
    """

    whole: str
    first: int


def parts_of(node: Node, types: Mapping[str, TensorType]) -> list[tuple[str, Part]]:
    """The inputs of a concatenation, each with its place."""
    channels = [types[name].shape[-1] for name in node.inputs]
    places = [Part(node.name, first) for first in accumulate(channels[:-1], initial=0)]
    return list(zip(node.inputs, places, strict=True))


def plan_parts(
    nodes: Sequence[Node],
    types: Mapping[str, TensorType],
    needs_own: Callable[[str], bool],
    has_ring: Callable[[str], bool],
) -> dict[str, list[Part]]:
    """The places to which values are written when they are computed; the others are copied.

    A map of floats goes to all its places, and to memory of its own if it needs that. Signs go to
    one place, where every part starts on a word. A concatenation that needs no copy goes to
    one place in a larger one.

    Parameters
    ----------
    nodes : sequence of Node
    types : mapping of str to TensorType
    needs_own : callable
        Whether a value must lie in memory of its own.
    has_ring : callable
        Whether a value has a ring, which whoever writes its first part zeroes.
    """
    joins = [node for node in nodes if isinstance(node.operator, Concat)]
    uses = Counter(name for node in joins for name in node.inputs)
    writers = {node.name for node in nodes if isinstance(node.operator, WRITERS)}
    parts: dict[str, list[Part]] = {}
    complete: set[str] = set()  # concatenations that need no copy
    for node in joins:
        places = parts_of(node, types)
        is_bits = types[node.name].kind == "bits"
        written = []
        for name, part in places:
            alone = uses[name] == 1 and not needs_own(name)
            joined = name in complete and alone
            if joined or (name in writers and (alone or not is_bits)):
                written.append((name, part))
        if is_bits and (written != places or any(part.first % WORD_BITS for _, part in places)):
            continue
        if has_ring(node.name) and places[0] not in written:
            continue
        for name, part in written:
            parts.setdefault(name, []).append(part)
        if written == places:
            complete.add(node.name)
    return parts
