"""What do weights of one bit cost beside float weights, on a float map? One image, one thread."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from conftest import Record
from convolutions import KERNEL, LAYERS, Floats, Layer
from pytest_benchmark.fixture import BenchmarkFixture

from bitconv.compiler import compile_graph
from bitconv.executor import Workspace
from bitconv.graph import Graph, Node, TensorType
from bitconv.operators import Conv2d, Operator

Side = tuple[Callable[[], object], Floats]


def binary_weights(layer: Layer) -> Operator:
    """The layer with weights of one bit."""
    return layer.convolution()


def float_weights(layer: Layer) -> Operator:
    """The same layer with weights −1 and +1 in float32."""
    return Conv2d(layer.weight.signs().astype(np.float32), padding=KERNEL // 2)


SIDES = {"bitconv-bits": binary_weights, "bitconv-floats": float_weights}


@cache
def prepared(layer: Layer, side: str) -> Side:
    """The convolution's own step, a float map in, a float map out; and what it computes."""
    graph = Graph(
        {"x": TensorType(layer.values.shape[1:])}, (Node("y", SIDES[side](layer), ("x",)),)
    )
    plan = compile_graph(graph, images=1, threads=1)
    workspace = Workspace(plan)
    workspace.run("x", layer.values)

    def run() -> None:
        workspace.run_steps(slice(-1, None), 1)

    run()
    result = np.empty((1, *graph.types["y"].shape), np.float32)
    workspace.read("y", result)
    return run, result


@pytest.mark.benchmark(max_time=0.1, min_rounds=3, warmup=True, disable_gc=True)
@pytest.mark.parametrize("side", SIDES, ids=lambda side: f"side={side}")
@pytest.mark.parametrize("layer", LAYERS, ids=str, scope="module")
@pytest.mark.usefixtures("turn")
def test_binary_weight_layers(
    benchmark: BenchmarkFixture, record: Record, layer: Layer, side: str
) -> None:
    run, result = prepared(layer, side)
    np.testing.assert_array_equal(result, prepared(layer, "bitconv-floats")[1])
    benchmark(run)
    record("weights", str(layer), side)
