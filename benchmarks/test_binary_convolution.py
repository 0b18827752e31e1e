"""How fast is a binary convolution beside float ones? One image, one thread."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from conftest import Record
from convolutions import LAYERS, SIDES, Layer
from pytest_benchmark.fixture import BenchmarkFixture


@pytest.fixture(
    scope="module",
    params=LAYERS,
    ids=lambda layer: f"size={layer.size}-channels={layer.channels}",
)
def layer(request: pytest.FixtureRequest) -> Layer:
    """One of the four layers."""
    chosen: Layer = request.param
    return chosen


@cache
def prepared(layer: Layer, side: str) -> Callable[[], object]:
    """What a side has to run, checked."""
    return SIDES[side](layer)


@pytest.mark.benchmark(max_time=0.1, min_rounds=3, warmup=True, disable_gc=True)
@pytest.mark.parametrize("side", SIDES, ids=lambda side: f"side={side}")
@pytest.mark.usefixtures("turn")
def test_binary_convolution(
    benchmark: BenchmarkFixture,
    record: Record,
    layer: Layer,
    side: str,
) -> None:
    benchmark(prepared(layer, side))
    record("convolution", str(layer), side)
