"""Comparing the compiled network with the operators' references, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bitconv.graph import Graph
from bitconv.operators import BinaryConv2d, BinaryDense, Conv2d, Dense, Operator, Sign, Softmax

if TYPE_CHECKING:
    from bitconv.compiler import Step

ROUNDING = 1e-5  # of the largest magnitude, for float sums whose order is not fixed


@dataclass(frozen=True)
class StepVerification:
    """One value of the plan against the reference, both computed from the plan's own inputs.

    Attributes
    ----------
    value : str
        The node whose value was compared.
    kernel : str
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
        Images for which the whole network and the whole reference rank the same class first.
    largest_difference : float
        Between the outputs of the whole network and of the whole reference.
    """

    steps: tuple[StepVerification, ...]
    images: int
    same_labels: int
    largest_difference: float

    @property
    def ok(self) -> bool:
        """Whether every step equals the reference, up to float rounding where it may differ."""
        return all(step.unexplained == 0 for step in self.steps)

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
        verdict = "equal to the reference" if self.ok else "NOT equal to the reference"
        lines.append(
            f"{verdict}: {self.same_labels} of {self.images} images get the same label end to end, "
            f"outputs differ by at most {self.largest_difference:.3g}"
        )
        return "\n".join(lines)


def verify_step(
    graph: Graph, step: Step, values: dict[str, NDArray[Any]]
) -> list[StepVerification]:
    """Compare what a step wrote with the references of its nodes.

    Parameters
    ----------
    graph : Graph
    step : Step
    values : dict of str to array
        What the plan computed for every value that it stores.
    """
    nodes = {node.name: node for node in graph.nodes}
    computed = {name: values[name] for name in step.reads}
    exact: dict[str, bool] = dict.fromkeys(computed, True)
    found: list[StepVerification] = []
    for name in step.nodes:
        if name in computed:  # a copy of a value in another layout
            continue
        operator = nodes[name].operator
        inputs = [computed[i] if i in computed else values[i] for i in nodes[name].inputs]
        computed[name] = operator.reference(*inputs)
        rounds = isinstance(operator, Conv2d | Dense | Softmax) or (
            isinstance(operator, BinaryConv2d | BinaryDense)
            and graph.types[nodes[name].inputs[0]].kind != "bits"
        )
        exact[name] = not rounds and all(exact.get(i, True) for i in nodes[name].inputs)
        if name in step.writes and name in values:
            allowed = np.zeros(1, np.bool_)
            if not exact[name]:
                allowed = _within_rounding(operator, inputs, values[name], computed[name])
            found.append(
                _compare(name, step.kernel, exact[name], values[name], computed[name], allowed)
            )
    return found


def _within_rounding(
    operator: Operator,
    inputs: list[NDArray[Any]],
    found: NDArray[Any],
    expected: NDArray[Any],
) -> NDArray[np.bool_]:
    """Where a difference may come from the order of a float sum; for a sign, from its input's."""
    if isinstance(operator, Sign):
        away, magnitude = distance(inputs[0], operator.threshold), np.abs(inputs[0])
    else:
        away, magnitude = distance(found, expected), np.abs(expected)
    return away <= ROUNDING * max(1.0, float(magnitude.max(initial=0.0)))


def distance(found: NDArray[Any], expected: NDArray[Any]) -> NDArray[np.float64]:
    """``|found − expected|``, zero where both are the same infinity."""
    with np.errstate(invalid="ignore"):
        away = np.abs(np.subtract(found, expected, dtype=np.float64))
    return np.where(found == expected, 0.0, away)


def _compare(
    name: str,
    kernel: str,
    exact: bool,
    found: NDArray[Any],
    expected: NDArray[Any],
    allowed: NDArray[np.bool_],
) -> StepVerification:
    differs = ~((found == expected) | ((found != found) & (expected != expected)))
    difference = distance(found, expected)[differs]
    return StepVerification(
        value=name,
        kernel=kernel,
        exact=exact,
        differing=int(np.count_nonzero(differs)),
        elements=found.size,
        largest=float(difference.max(initial=0.0)),
        unexplained=int(np.count_nonzero(differs & ~allowed)),
    )
