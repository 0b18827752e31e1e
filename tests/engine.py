"""Running small graphs through the compiled engine and through the references, side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.bits import BitArray
from bitconv.compiler import Plan, compile_graph
from bitconv.executor import Workspace
from bitconv.graph import Graph, Node, TensorType
from bitconv.operators import BatchNorm, Operator, Sign


def graph_of(shape: tuple[int, ...], *nodes: Node, kind: str = "float32", **rest: Any) -> Graph:
    """A graph with the one input ``x``."""
    return Graph({"x": TensorType(shape, kind)}, nodes, **rest)


def chain(shape: tuple[int, ...], *operators: Operator, kind: str = "float32") -> Graph:
    """Operators one behind the other, named ``node0``, ``node1`` and so on."""
    nodes = [
        Node(f"node{index}", operator, "x" if index == 0 else f"node{index - 1}")
        for index, operator in enumerate(operators)
    ]
    return graph_of(shape, *nodes, kind=kind)


def images(rng: np.random.Generator, graph: Graph, count: int = 2) -> NDArray[Any]:
    """Random images for the input; floats are small multiples of a quarter, so zeros are common."""
    (value,) = graph.inputs.values()
    if value.kind == "uint8":
        return rng.integers(0, 256, (count, *value.shape)).astype(np.uint8)
    return (rng.integers(-8, 9, (count, *value.shape)) / 4).astype(np.float32)


def reference_values(graph: Graph, batch: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Every value, by the operators' references."""
    values: dict[str, NDArray[Any]] = dict.fromkeys(graph.inputs, batch)
    for node in graph.nodes:
        values[node.name] = node.operator.reference(*(values[name] for name in node.inputs))
    return values


def engine_values(
    graph: Graph,
    batch: NDArray[Any],
    *,
    keep: tuple[str, ...] = (),
    threads: int = 1,
    capacity: int | None = None,
) -> dict[str, NDArray[Any]]:
    """The outputs and kept values, by the compiled plan, in an arena full of rubbish."""
    plan = compile_graph(graph, images=capacity or len(batch), threads=threads, keep=keep)
    return plan_values(plan, graph, batch, (*graph.outputs, *keep))


def plan_values(
    plan: Plan, graph: Graph, batch: NDArray[Any], names: tuple[str, ...]
) -> dict[str, NDArray[Any]]:
    """The values of a plan, computed in an arena full of rubbish."""
    workspace = Workspace(plan)
    workspace.arena[:] = 0x5A  # as floats they are large
    workspace.run(next(iter(graph.inputs)), batch)
    return {name: value_in(workspace, graph, name, len(batch)) for name in names}


def value_in(workspace: Workspace, graph: Graph, name: str, images: int) -> NDArray[Any]:
    """A kept value of a run."""
    kind = graph.types[name]
    result = np.empty((images, *kind.shape), kind.dtype)
    workspace.read(name, result)
    return result


def assert_engine_is_exact(graph: Graph, batch: NDArray[Any], **options: Any) -> None:
    """All values, fused or not, equal their references bit for bit."""
    expected = reference_values(graph, batch)
    every = tuple(node.name for node in graph.nodes if node.name not in graph.outputs)
    for keep in ((), every):
        for name, found in engine_values(graph, batch, keep=keep, **options).items():
            assert found.dtype == expected[name].dtype, name
            np.testing.assert_array_equal(found, expected[name], err_msg=name, strict=True)


def signs(channels: int = 1) -> Sign:
    """Signs with different thresholds a channel."""
    return Sign(np.arange(channels) % 3 / 4 - 0.25)


def random_bits(rng: np.random.Generator, *shape: int) -> BitArray:
    """Random signs."""
    return BitArray.from_bits(rng.integers(0, 2, shape).astype(bool))


def random_norm(rng: np.random.Generator, channels: int, spread: float = 4.0) -> BatchNorm:
    """A batch norm with gammas of both signs, one of them zero now and then."""
    gamma = rng.normal(size=channels) * rng.integers(0, 8, channels).clip(0, 1)
    beta, mean = rng.normal(size=(2, channels)) * ((0.5,), (spread,))
    return BatchNorm(np.stack([gamma, beta, mean, rng.uniform(0.5, spread**2, channels)]))
