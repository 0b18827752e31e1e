"""The order in which nodes are lowered.

A kernel takes an addition along if the other term is there already. What only moves elements cannot
take it along, so where one term is moved, as in the shortcuts of a ResNet without weights, that one
goes first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush

from bitconv.graph import Node
from bitconv.operators import (
    Add,
    BatchNorm,
    BinaryConv2d,
    Clip,
    Concat,
    Conv2d,
    Flatten,
    Multiply,
    Pad,
    PRelu,
    Relu,
    Reshape,
    Slice,
    Transpose,
)

MOVES = (Concat, Flatten, Pad, Reshape, Slice, Transpose)
TAKEN_ALONG = (BatchNorm, Clip, Multiply, PRelu, Relu)


def moved_terms_first(nodes: Sequence[Node]) -> list[Node]:
    """The nodes in an order in which they can be computed, as near as can be to that given."""
    index = {node.name: number for number, node in enumerate(nodes)}
    inputs = [{index[name] for name in node.inputs if name in index} for node in nodes]
    awaited = [set(own) for own in inputs]
    for kernel, moved in _terms(nodes, index):
        between = _since(moved, kernel, inputs)
        if kernel not in between:
            awaited[kernel] |= between
    return [nodes[number] for number in _sorted(awaited)] or list(nodes)


def _terms(nodes: Sequence[Node], index: Mapping[str, int]) -> Iterator[tuple[int, int]]:
    """A convolution that could add, and the other term, which is moved, of every addition."""
    for node in nodes:
        if isinstance(node.operator, Add):
            for name, other in (node.inputs, node.inputs[::-1]):
                term = index.get(other)
                kernel = index.get(name)
                while kernel is not None and isinstance(nodes[kernel].operator, TAKEN_ALONG):
                    kernel = index.get(nodes[kernel].inputs[0])
                if term is None or kernel is None:
                    continue
                adds = isinstance(nodes[kernel].operator, BinaryConv2d | Conv2d)
                if adds and isinstance(nodes[term].operator, MOVES):
                    yield kernel, term


def _since(last: int, first: int, inputs: Sequence[set[int]]) -> set[int]:
    """The node `last` and those that it depends on, from node `first` on."""
    found, waiting = set(), [last]
    while waiting:
        number = waiting.pop()
        if number >= first and number not in found:
            found.add(number)
            waiting.extend(inputs[number])
    return found


def _sorted(awaited: Sequence[set[int]]) -> list[int]:
    """The numbers in order, each after all that it awaits; none where that cannot be."""
    readers: list[list[int]] = [[] for _ in awaited]
    for number, others in enumerate(awaited):
        for other in others:
            readers[other].append(number)
    missing = [len(others) for others in awaited]
    ready = [number for number, count in enumerate(missing) if count == 0]
    heapify(ready)
    ordered = []
    while ready:
        number = heappop(ready)
        ordered.append(number)
        for reader in readers[number]:
            missing[reader] -= 1
            if missing[reader] == 0:
                heappush(ready, reader)
    return ordered if len(ordered) == len(awaited) else []
