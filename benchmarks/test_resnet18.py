"""How fast is an XNOR ResNet-18 beside the float ResNet-18 in other engines?

The binary network has signs where the float one has rectifiers; its stem, 1×1 shortcuts and
classifier are float. Weights are random: no time here depends on what a network has learned.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
from conftest import Record
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture
from quantized import quantize
from registers import on_registers
from resnet18 import resnet18

from bitconv import Graph, Model
from bitconv.cost import Cost, summarize
from bitconv.peers.checking import reference_outputs
from bitconv.peers.engines import Run, onnxruntime, openvino
from bitconv.peers.onnx_writer import to_onnx

CLASSES = {224: 1000, 32: 10}
CALIBRATION = 8  # images
# Of the scores' length: what eight bits, or bfloat16, may change in a network of random weights.
FLOAT_ERROR, BFLOAT16_ERROR, INT8_ERROR = 1e-4, 0.05, 0.1


class Setting(NamedTuple):
    size: int
    images: int
    threads: int

    def __str__(self) -> str:
        images = "1 image" if self.images == 1 else f"{self.images} images"
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.size}×{self.size}, {images}, {threads}"


SETTINGS = (
    Setting(224, 1, 1),
    Setting(224, 1, 2),
    Setting(32, 1, 1),
    Setting(32, 1, 2),
    Setting(32, 64, 1),
    Setting(32, 64, 2),
)


@cache
def graph(size: int, binary: bool) -> Graph:
    return resnet18(size, binary=binary, classes=CLASSES[size])


@cache
def noise(size: int, images: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(images)
    return rng.normal(size=(images, size, size, 3)).astype(np.float32)


def channels_first(batch: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(batch.transpose(0, 3, 1, 2))


@cache
def float_model(size: int, images: int) -> bytes:
    return to_onnx(graph(size, binary=False), images, channels_first=True)


@cache
def int8_model(size: int, images: int) -> bytes:
    batches = range(CALIBRATION if images == 1 else 1)
    chosen = [channels_first(noise(size, images) + 0.1 * number) for number in batches]
    return quantize(float_model(size, images), chosen)


@cache
def expected(size: int) -> NDArray[np.float32]:
    """The scores of the float network for one image, by the operators' references."""
    (scores,) = reference_outputs(graph(size, binary=False), noise(size, 1))
    return scores


@cache
def verified(size: int) -> bool:
    """Whether every step of the binary network equals its reference."""
    return Model(graph(size, binary=True), threads=1).verify(noise(size, 1)).ok


def registers(setting: Setting) -> Callable[[], object]:
    """What each thread multiplies and adds up, on registers alone."""
    cost = sum(setting.images * [summarize(graph(setting.size, binary=True)).total], Cost())
    return on_registers(cost, setting.threads)


def bitconv_side(setting: Setting) -> Callable[[], object]:
    assert verified(setting.size)
    model = Model(graph(setting.size, binary=True), threads=setting.threads)
    batch = noise(setting.size, setting.images)
    return lambda: model.predict(batch)


def peer(setting: Setting, make: Callable[[int, int], Run], error: float) -> Callable[[], object]:
    """A model of the float network; `make` takes the images and the threads."""
    single = make(1, setting.threads)([channels_first(noise(setting.size, 1))])[0]
    wanted = expected(setting.size)
    assert np.linalg.norm(single - wanted) <= error * np.linalg.norm(wanted)
    run = make(setting.images, setting.threads)
    batch = channels_first(noise(setting.size, setting.images))
    return lambda: run([batch])


def onnxruntime_float32(setting: Setting) -> Callable[[], object]:
    def make(images: int, threads: int) -> Run:
        return onnxruntime(float_model(setting.size, images), threads)

    return peer(setting, make, FLOAT_ERROR)


def onnxruntime_int8(setting: Setting) -> Callable[[], object]:
    def make(images: int, threads: int) -> Run:
        return onnxruntime(int8_model(setting.size, images), threads)

    return peer(setting, make, INT8_ERROR)


def openvino_float32(setting: Setting) -> Callable[[], object]:
    def make(images: int, threads: int) -> Run:
        return openvino(float_model(setting.size, images), threads)

    return peer(setting, make, FLOAT_ERROR)


def openvino_bfloat16(setting: Setting) -> Callable[[], object]:
    def make(images: int, threads: int) -> Run:
        return openvino(float_model(setting.size, images), threads, "bf16")

    return peer(setting, make, BFLOAT16_ERROR)


def openvino_int8(setting: Setting) -> Callable[[], object]:
    def make(images: int, threads: int) -> Run:
        return openvino(int8_model(setting.size, images), threads)

    return peer(setting, make, INT8_ERROR)


SIDES: dict[str, Callable[[Setting], Callable[[], Any]]] = {
    "registers": registers,
    "bitconv": bitconv_side,
    "onnxruntime": onnxruntime_float32,
    "onnxruntime-int8": onnxruntime_int8,
    "openvino": openvino_float32,
    "openvino-bfloat16": openvino_bfloat16,
    "openvino-int8": openvino_int8,
}


@cache
def prepared(side: str, setting: Setting) -> Callable[[], object]:
    """What a side has to run, checked."""
    return SIDES[side](setting)


@pytest.mark.benchmark(max_time=0.3, min_rounds=3, warmup=True, disable_gc=True)
@pytest.mark.parametrize("side", SIDES, ids=lambda side: f"side={side}")
@pytest.mark.usefixtures("turn")
@pytest.mark.parametrize("setting", SETTINGS, ids=str, scope="module")
def test_resnet18(benchmark: BenchmarkFixture, record: Record, setting: Setting, side: str) -> None:
    benchmark(prepared(side, setting))
    record("resnet18", str(setting), side)
