"""What do two threads gain, and how long is the wait beside a busy neighbour, by threading layer?

A process has one threading layer, so each is measured in a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from timings import Timings

import bitconv

TESTS = Path(__file__).resolve().parents[1] / "tests"
TURNS, RUNS = 10, 20  # of each number of threads, in a process
SIZE = 224
LAYERS = ("tbb", "omp", "workqueue")
NEIGHBOURS = {False: "alone", True: "beside a busy neighbour"}
NO_LAYER = 3  # exit status

CHILD = """
import json, sys, time
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from bitconv import Model
from bitconv.kernels.threads import threading_layer
from resnet18 import resnet18

size, turns, runs = map(int, sys.argv[1:])
try:
    threading_layer()
except ValueError:  # what Numba raises where a layer's library is not there
    sys.exit(3)
graph = resnet18(size, binary=True)
image = np.random.default_rng(0).normal(size=(1, size, size, 3)).astype(np.float32)
models = {threads: Model(graph, threads=threads) for threads in (1, 2)}
result = {name: [] for name in ("1", "2", "1 twice at once")}

def measure(model):
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        model.predict(image)
        seconds.append(time.perf_counter() - started)
    return seconds

for model in models.values():
    for _ in range(5):
        model.predict(image)
with ThreadPoolExecutor(2) as pool:
    for _ in range(turns):  # in turn, as what else the processor does comes and goes
        for threads, model in models.items():
            result[str(threads)] += measure(model)
        for seconds in pool.map(measure, [models[1]] * 2):
            result["1 twice at once"] += seconds
print(json.dumps(result))
"""


@contextmanager
def busy_neighbour() -> Iterator[None]:
    """Another process that keeps one core busy."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def measure(layer: str, turns: int, runs: int) -> dict[str, list[float]]:
    """The seconds of every run, by the threads: one, two, and one beside another such run."""
    paths = (str(Path(bitconv.__file__).parents[1]), str(TESTS))
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(SIZE), str(turns), str(runs)],
        env=os.environ | {"NUMBA_THREADING_LAYER": layer, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == NO_LAYER:
        pytest.skip(f"Numba finds no {layer} here")
    assert done.returncode == 0, done.stderr
    result: dict[str, list[float]] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize("busy", NEIGHBOURS, ids=lambda busy: f"busy={busy}")
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: f"layer={layer}")
@pytest.mark.usefixtures("turn")
def test_threads(request: pytest.FixtureRequest, timings: Timings, layer: str, busy: bool) -> None:
    measured = not request.config.getoption("benchmark_disable")
    with busy_neighbour() if busy else nullcontext():
        result = measure(layer, TURNS, RUNS) if measured else measure(layer, 1, 1)
    if measured:
        for side, seconds in result.items():
            timings.add(("threads", f"{layer} {NEIGHBOURS[busy]}", side), seconds)
