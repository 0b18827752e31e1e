"""How much memory do the maps of a network take, and what does a call allocate?"""

from __future__ import annotations

import tracemalloc
from unittest.mock import patch

import numpy as np
import pytest
from resnet18 import resnet18
from timings import Timings

from bitconv import Model
from bitconv.compiler import compile_graph
from bitconv.compiler.arena import Buffer, place


@pytest.mark.parametrize("size", [224, 32], ids=lambda size: f"size={size}")
def test_memory(timings: Timings, size: int) -> None:
    graph, buffers = resnet18(size, binary=True), list[Buffer]()

    def watched(given: list[Buffer]) -> int:
        buffers.extend(given)
        return place(given)

    with patch("bitconv.compiler.builder.place", watched):
        plan = compile_graph(graph, threads=2)
    alive = max(
        sum(buffer.size for buffer in buffers if buffer.first <= step <= buffer.last)
        for step in range(len(plan.steps))
    )
    model = Model(graph, threads=2)
    image = np.zeros((1, size, size, 3), np.float32)
    model.predict(image)
    tracemalloc.start()
    model.predict(image)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    figures = {
        "arena": plan.arena_bytes,
        "alive": alive,
        "peak": peak,
        "constants": len(plan.constants),
    }
    for name, figure in figures.items():
        timings.figures["memory", f"{size}×{size}", name] = figure
