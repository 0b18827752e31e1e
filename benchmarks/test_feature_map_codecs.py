"""How fast are feature maps encoded and decoded, and in how many bits? One map, one thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import prod

import numpy as np
import pytest
from aims import CODED_SHAPE as SHAPE
from aims import DENSITIES
from conftest import Record
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from bitconv.feature_maps import CODECS
from bitconv.feature_maps.codec import Codec
from bitconv.kernels.registry import DECODE, ENCODE, function

VALUES = prod(SHAPE)
TASKS = ("encode", "decode")


@dataclass(frozen=True, eq=False)
class Prepared:
    """A codec with a map and its bytes."""

    codec: Codec
    values: NDArray[np.float32]
    payload: NDArray[np.uint8]

    def task(self, name: str) -> Callable[[], object]:
        """What encodes the map, or decodes its bytes, without Python around it."""
        encodes, constants = name == "encode", self.codec.constants
        coding = self.codec.encoding(SHAPE) if encodes else self.codec.decoding(SHAPE)
        record, memory = coding.record, np.empty(coding.memory, np.uint8)
        code = function(ENCODE if encodes else DECODE)
        values = self.values if encodes else np.empty(VALUES, np.float32)
        data = np.empty(self.codec.bound(SHAPE), np.uint8) if encodes else self.payload
        return lambda: code(values, data, constants, record, memory)


@cache
def prepared(name: str, density: float) -> Prepared:
    """A map after a ReLU, as sparse as asked for and with few large values, as networks have them.

    What decoding gives was checked to be close to it.
    """
    rng = np.random.default_rng(0)
    maps = rng.gamma(1.3, 1.0, (2, *SHAPE)) * (rng.random((2, *SHAPE)) < density)
    codec = CODECS[name].calibrate(maps)
    values = maps[1].astype(np.float32)
    out = np.empty(codec.bound(SHAPE), np.uint8)
    payload = out[: codec.encode_payload(values, out)].copy()
    error = np.square(codec.decode_payload(payload, SHAPE) - values).mean()
    assert error < 0.02 * np.square(values).mean()
    return Prepared(codec, values.reshape(-1), payload)


@pytest.mark.benchmark(max_time=0.1, min_rounds=3, warmup=True, disable_gc=True)
@pytest.mark.parametrize("density", DENSITIES, ids=lambda density: f"density={density}")
@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"task={task}")
@pytest.mark.parametrize("name", CODECS, ids=lambda name: f"codec={name}")
@pytest.mark.usefixtures("turn")
def test_feature_map_codec(
    benchmark: BenchmarkFixture, record: Record, name: str, task: str, density: float
) -> None:
    side = prepared(name, density)
    benchmark.extra_info["bits"] = 8 * len(side.payload) / VALUES
    benchmark(side.task(task))
    record("codec", f"density {density}", f"{name} {task}")
