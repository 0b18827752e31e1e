"""What training code leaves around signs, taken out of an ONNX network before it is computed.

PyTorch code lets gradients pass around a sign with ``(sign(x) − f(x)).detach() + f(x)``, of
activations as of weights. Computed as it stands it would hide that weights are binary behind an
error of one unit in the last place, and f may be a function that has no operator here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bitconv.convert.onnx.checking import small_constants

COMPARISONS = ("Greater", "GreaterOrEqual", "Less", "LessOrEqual")
SIGN_KEEPING = ("Atan", "Erf", "Softsign", "Tanh")  # of the sign of their input, 0 for 0


def rewrite(graph: Any) -> None:
    """Change a graph, an ``onnx.GraphProto``, in place.

    ``(a − b) + b`` becomes a, unless b is a stored number: adding and subtracting one is a way to
    round. The sign of tanh(x) becomes that of x. Nodes that no output needs are left out.
    """
    producers = {name: node for node in graph.node for name in node.output if name}
    numbers = {name: each.item() for name, each in small_constants(graph, 1).items() if each.size}
    same = _same_values(graph, numbers)
    for node in graph.node:
        if node.op_type == "Add":
            minuend = _straight_through(node, producers, same, numbers)
            if minuend is not None:
                node.op_type = "Identity"
                node.input[:] = [minuend]
        elif node.op_type == "Sign" or (
            node.op_type in COMPARISONS and 0 in map(numbers.get, node.input)
        ):
            node.input[:] = [_past_sign_keeping(name, producers) for name in node.input]
    _drop_unneeded(graph)


def _same_values(graph: Any, numbers: dict[str, float]) -> dict[str, str]:
    """For every tensor the first one that is computed in the same way."""
    first: dict[Any, str] = {}
    same = {name: first.setdefault(number, name) for name, number in numbers.items()}
    for node in graph.node:
        inputs = tuple(same.get(name, name) for name in node.input)
        settings = tuple(sorted(each.SerializeToString() for each in node.attribute))
        for place, name in enumerate(node.output):
            key = node.domain, node.op_type, inputs, settings, place
            is_copy = node.op_type == "Identity"
            same.setdefault(name, inputs[0] if is_copy else first.setdefault(key, name))
    return same


def _straight_through(
    node: Any, producers: dict[str, Any], same: dict[str, str], numbers: dict[str, float]
) -> str | None:
    """What the sum ``(a − b) + b`` is; None for another sum."""
    for difference, other in (node.input, node.input[::-1]):
        inner = producers.get(same.get(difference, difference))
        if inner is not None and inner.op_type == "Sub" and other not in numbers:
            minuend, subtrahend = inner.input
            is_same = same.get(subtrahend, subtrahend) == same.get(other, other)
            if is_same and minuend in producers and minuend not in numbers:
                return str(minuend)
    return None


def _past_sign_keeping(name: str, producers: dict[str, Any]) -> str:
    node = producers.get(name)
    while node is not None and node.op_type in SIGN_KEEPING:
        name = node.input[0]
        node = producers.get(name)
    return name


def _drop_unneeded(graph: Any) -> None:
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(_reads(node))
            kept.append(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))


def _reads(node: Any) -> Iterator[str]:
    """What a node takes, and what the graphs within it take from without."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from _reads(inner)
            yield from (value.name for value in graph.output)
