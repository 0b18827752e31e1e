"""Comparing the compiled network with the operators' references, step by step."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from bitconv.graph import Graph, Node
from bitconv.operators import BinaryConv2d, BinaryDense, Conv2d, Dense, Softmax
from bitconv.rounding import allowed_difference

if TYPE_CHECKING:
    from bitconv.compiler import Step

# A value, and how far rounding may have moved each of its elements; None: not at all.
Moved = tuple[NDArray[Any], NDArray[np.float64] | None]


@dataclass(frozen=True)
class StepVerification:
    """One value of the plan against the reference, both computed from the plan's own inputs.

    Attributes
    ----------
    value : str
        The node whose value was compared.
    kernel : str
        ``view`` where no step computes the value, as it is another name for memory.
    exact : bool
        Whether the value must be equal bit for bit: everything but convolutions and dense layers
        of float maps, softmax, and signs of those.
    differing, elements : int
        Elements that are not equal, of how many.
    largest : float
        The largest difference; for bits 2.
    unexplained : int
        Elements that differ by more than rounding allows.
    """

    value: str
    kernel: str
    exact: bool
    differing: int
    elements: int
    largest: float
    unexplained: int


@dataclass(frozen=True)
class Verification:
    """The outcome of `Model.verify`.

    Attributes
    ----------
    steps : tuple of StepVerification
        In the order of the plan.
    images : int
    same_labels : int
        Images for which `predict` and the whole reference rank the same class first.
    largest_difference : float
        Between the outputs of `predict` and of the whole reference.
    differing : int
        Elements in which the outputs of `predict` are not those of the run whose steps were
        compared.
    """

    steps: tuple[StepVerification, ...]
    images: int
    same_labels: int
    largest_difference: float
    differing: int

    @property
    def ok(self) -> bool:
        """Whether every step equals the reference, up to float rounding where it may differ.

        And whether `predict` gives what these steps give.
        """
        return self.differing == 0 and all(step.unexplained == 0 for step in self.steps)

    def __str__(self) -> str:
        width = max((len(step.value) for step in self.steps), default=0)
        lines = []
        for step in self.steps:
            kind = "exact" if step.exact else "rounded"
            lines.append(
                f"{step.value:{width}}  {step.kernel:20}  {kind:7}  {step.differing} of "
                f"{step.elements} differ, by at most {step.largest:.3g}"
                + (f"; {step.unexplained} UNEXPLAINED" if step.unexplained else "")
            )
        if self.differing:
            lines.append(f"predict DIFFERS from these steps in {self.differing} elements")
        verdict = "equal to the reference" if self.ok else "NOT equal to the reference"
        lines.append(
            f"{verdict}: {self.same_labels} of {self.images} images get the same label end to end, "
            f"outputs differ by at most {self.largest_difference:.3g}"
        )
        return "\n".join(lines)


def verify_steps(
    graph: Graph, steps: Sequence[Step], values: Mapping[str, NDArray[Any]]
) -> list[StepVerification]:
    """Compare what the steps wrote with the references of their nodes.

    Parameters
    ----------
    graph : Graph
    steps : sequence of Step
    values : mapping of str to array
        The inputs, and what the plan computed for every value that it stores.
    """
    verifier = _Verifier(graph, steps, values)
    found = [result for step in steps for result in verifier.of_step(step)]
    return found + [result for name in graph.outputs for result in verifier.of_view(name)]


class _Verifier:
    """Goes from step to step.

    Attributes
    ----------
    nodes : dict of str to Node
    stored : mapping of str to array
        What the plan computed.
    fused : dict of str to (array, array or None)
        Values that the plan computes on the way and stores nowhere, by the references, and how far
        rounding may have moved them; None where not at all. A step may go on with those of a step
        before.
    """

    def __init__(
        self, graph: Graph, steps: Sequence[Step], stored: Mapping[str, NDArray[Any]]
    ) -> None:
        self.graph = graph
        self.nodes = {node.name: node for node in graph.nodes}
        self.stored = stored
        self.fused: dict[str, Moved] = {}
        # What no step computes is another name for memory, such as a flattened map.
        done = {name for step in steps for name in step.nodes}
        self.views = {name: node for name, node in self.nodes.items() if name not in done}

    def of_step(self, step: Step) -> Iterator[StepVerification]:
        for name in step.reads:
            yield from self.of_view(name)
        yield from self._of_nodes(step.kernel, step.nodes, step.reads, step.writes)

    def of_view(self, name: str) -> Iterator[StepVerification]:
        """Of a value that no step computes, once; nothing for any other one."""
        node = self.views.pop(name, None)
        if node is not None:
            for source in node.inputs:
                yield from self.of_view(source)
            yield from self._of_nodes("view", (name,), node.inputs, (name,))

    def _of_nodes(
        self, kernel: str, names: Collection[str], reads: Collection[str], writes: Collection[str]
    ) -> Iterator[StepVerification]:
        computed: dict[str, Moved] = {
            name: (self.stored[name], None) for name in reads if name in self.stored
        }
        for name in names:
            if name in computed:  # a copy of a value in another layout
                continue
            node, inputs = self.nodes[name], []
            for source in node.inputs:
                yield from self.of_view(source)
                inputs.append(computed.get(source) or self._earlier(source))
            expected = node.operator.reference(*(value for value, _ in inputs))
            moved = self._moved(node, inputs, expected)
            computed[name] = expected, moved
            if name not in self.stored:
                self.fused[name] = computed[name]
            elif name in writes:
                yield _compare(name, kernel, self.stored[name], expected, moved)

    def _earlier(self, name: str) -> Moved:
        return (self.stored[name], None) if name in self.stored else self.fused[name]

    def _moved(
        self, node: Node, inputs: Sequence[Moved], expected: NDArray[Any]
    ) -> NDArray[np.float64] | None:
        """How far rounding may move each element of a value; None where not at all.

        Activations, norms, pools and signs behind a float sum are the furthest off where it is.
        """
        if self._rounds(node):
            return allowed_difference(node.operator, [value for value, _ in inputs], expected)
        if all(moved is None for _, moved in inputs):
            return None
        ends = [
            node.operator.reference(*(_shifted(value, moved, way) for value, moved in inputs))
            for way in (-1, 1)
        ]
        return np.maximum(*(distance(end, expected) for end in ends))

    def _rounds(self, node: Node) -> bool:
        """Whether the sums of the node may be added up in another order than the reference's."""
        operator = node.operator
        return isinstance(operator, Conv2d | Dense | Softmax) or (
            isinstance(operator, BinaryConv2d | BinaryDense)
            and self.graph.types[node.inputs[0]].kind != "bits"
        )


def _shifted(
    value: NDArray[Any], moved: NDArray[np.float64] | None, way: Literal[-1, 1]
) -> NDArray[Any]:
    return value if moved is None else (value + way * moved).astype(value.dtype)


def distance(found: NDArray[Any], expected: NDArray[Any]) -> NDArray[np.float64]:
    """``|found − expected|``, zero where both are the same infinity."""
    with np.errstate(invalid="ignore"):
        away = np.abs(np.subtract(found, expected, dtype=np.float64))
    return np.where(found == expected, 0.0, away)


def _compare(
    name: str,
    kernel: str,
    found: NDArray[Any],
    expected: NDArray[Any],
    moved: NDArray[np.float64] | None,
) -> StepVerification:
    differs = ~((found == expected) | ((found != found) & (expected != expected)))
    away = distance(found, expected)
    unexplained = differs if moved is None else differs & ~(away <= moved)
    return StepVerification(
        value=name,
        kernel=kernel,
        exact=moved is None,
        differing=int(np.count_nonzero(differs)),
        elements=found.size,
        largest=float(away[differs].max(initial=0.0)),
        unexplained=int(np.count_nonzero(unexplained)),
    )
