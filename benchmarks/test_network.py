"""How fast is the shipped network beside its layers in float32?"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from conftest import Record
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

import bitconv
from bitconv.graph import Graph
from bitconv.peers.engines import onnxruntime
from bitconv.peers.float_network import float_network
from bitconv.peers.onnx_writer import to_onnx

SETTINGS = {
    (1, False): "1 image, 1 thread",
    (1, True): "1 image, all threads",
    (64, False): "64 images, 1 thread",
    (64, True): "64 images, all threads",
}
ROUNDING = 1e-3  # of a score


@cache
def model(all_threads: bool) -> bitconv.Model:
    return bitconv.load(threads=None if all_threads else 1)


@cache
def batch(images: int) -> NDArray[np.uint8]:
    """Noise: no time here depends on what a picture shows."""
    shape = (images, *model(True).input_shape)
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def bitconv_side(images: int, all_threads: bool) -> Callable[[], object]:
    run = model(all_threads).predict
    pixels = batch(images)
    return lambda: run(pixels)


def same_numbers(images: int, all_threads: bool) -> Callable[[], object]:
    """onnxruntime on float weights α·sign(W), activations binarized: the same scores.

    Rounding may flip a sign that lies on its threshold, so an image in twenty may differ.
    """
    run = _onnxruntime(model(all_threads).graph, images, all_threads)
    expected = model(all_threads).predict(batch(images))
    assert isinstance(expected, np.ndarray)  # the network has one output
    same = np.abs(run() - expected).max(axis=1) < ROUNDING
    assert same.mean() >= 0.95
    return run


def float_layers(images: int, all_threads: bool) -> Callable[[], object]:
    """onnxruntime on the same layers as a float network has them, without the signs."""
    run = _onnxruntime(float_network(model(all_threads).graph), images, all_threads)
    assert np.isfinite(run()).all()
    return run


def _onnxruntime(graph: Graph, images: int, all_threads: bool) -> Callable[[], Any]:
    peer = onnxruntime(to_onnx(graph, images), model(all_threads).threads)
    pixels = batch(images)
    return lambda: peer([pixels])[0]


SIDES = {
    "bitconv": bitconv_side,
    "onnxruntime-signs": same_numbers,
    "onnxruntime-float": float_layers,
}


@cache
def prepared(side: str, images: int, all_threads: bool) -> Callable[[], object]:
    """What a side has to run, checked."""
    return SIDES[side](images, all_threads)


@pytest.mark.benchmark(max_time=0.2, min_rounds=3, warmup=True, disable_gc=True)
@pytest.mark.parametrize("side", SIDES, ids=lambda side: f"side={side}")
@pytest.mark.usefixtures("turn")
@pytest.mark.parametrize(
    ("images", "all_threads"),
    SETTINGS,
    ids=lambda value: f"all_threads={value}" if isinstance(value, bool) else f"images={value}",
)
def test_network(
    benchmark: BenchmarkFixture,
    record: Record,
    images: int,
    all_threads: bool,
    side: str,
) -> None:
    benchmark(prepared(side, images, all_threads))
    record("network", SETTINGS[images, all_threads], side)
