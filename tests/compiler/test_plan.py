"""The plan of a network: its steps, its memory, and how it prints."""

import numpy as np
import pytest
from resnet18 import resnet18
from small_networks import binary_resnet

import bitconv
from bitconv.compiler import arena, builder, compile_graph
from bitconv.kernels.registry import KERNELS
from bitconv.operators import Concat, Dense
from bitconv.shipped import model_path


@pytest.fixture(scope="module")
def shipped():
    return bitconv.read(model_path())


@pytest.mark.parametrize("images", [1, 8])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("network", ["shipped", "ResNet-18"])
def test_the_arena_is_little_larger_than_what_lives_at_once(
    shipped, monkeypatch, network, images, threads
):
    placed = []

    def place(buffers):
        placed.extend(buffers)
        return arena.place(buffers)

    monkeypatch.setattr(builder, "place", place)
    graph = shipped if network == "shipped" else resnet18(224, binary=True)
    plan = compile_graph(graph, images=images, threads=threads)
    alive = [
        sum(buffer.size for buffer in placed if buffer.first <= step <= buffer.last)
        for step in range(len(plan.steps))
    ]
    assert max(alive) <= plan.arena_bytes <= 1.3 * max(alive)


def test_a_block_of_a_residual_network_is_one_step():
    plan = compile_graph(binary_resnet(blocks=3))
    kernels = [step.kernel for step in plan.steps]
    assert kernels == ["pointwise", "conv2d", *["binary_conv2d"] * 3, "pool2d", "conv2d"]


def test_every_node_is_done_by_exactly_one_step_but_joins_without_copies(shipped):
    for graph in (shipped, binary_resnet()):
        done = [name for step in compile_graph(graph).steps for name in step.nodes]
        nodes = [node.name for node in graph.nodes if not isinstance(node.operator, Concat)]
        assert sorted(done) == sorted(nodes)


def test_steps_read_only_what_is_there(shipped):
    plan = compile_graph(shipped)
    there = set(shipped.inputs)
    for step in plan.steps:
        assert there.issuperset(step.reads)
        there.update(step.writes)
    assert there.issuperset(shipped.outputs)
    assert set(plan.places) <= there


def test_steps_are_plain_data(shipped):
    for step in compile_graph(shipped).steps:
        assert step.parameters.dtype == KERNELS[step.kernel].parameters
        for record in step.records:
            assert record.dtype == np.uint8
            assert record.flags.c_contiguous


def test_compiling_twice_gives_the_same_plan(shipped):
    first, second = compile_graph(shipped), compile_graph(shipped)
    np.testing.assert_array_equal(first.constants, second.constants)
    for left, right in zip(first.steps, second.steps, strict=True):
        assert left.kernel == right.kernel
        assert left.parameters.tobytes() == right.parameters.tobytes()
        assert left.program.tobytes() == right.program.tobytes()


def test_only_large_steps_of_a_plan_for_several_threads_are_parallel():
    graph = binary_resnet(size=64, channels=64)
    assert not compile_graph(graph, threads=1).has_parallel_steps
    plan = compile_graph(graph, images=4, threads=2)
    parallel = {name for step in plan.steps if step.parallel for name in step.nodes}
    assert {"stem", "conv0"} <= parallel
    (dense,) = (node.name for node in graph.nodes if isinstance(node.operator, Dense))
    assert dense not in parallel


def test_a_small_plan_is_for_one_thread():
    assert not compile_graph(binary_resnet(), threads=2).has_parallel_steps


def test_a_larger_step_has_more_shares_up_to_several_a_thread(monkeypatch):
    monkeypatch.setattr(builder, "PARALLEL_SECONDS", 0.0)
    graph = binary_resnet(16, 32)  # a stem of two shares' work
    shares = [
        next(step.shares for step in plan.steps if "stem" in step.nodes)
        for plan in (compile_graph(graph, images=images, threads=2) for images in (1, 2, 4, 16))
    ]
    assert shares == [1, 2, 4, 2 * builder.SHARES_OF_A_THREAD]


def test_a_plan_prints_a_line_a_step():
    plan = compile_graph(binary_resnet(), images=3, threads=2)
    head, *lines = str(plan).splitlines()
    assert head.startswith(f"plan of {len(plan.steps)} steps for 3 image(s), 2 thread(s): arena ")
    assert len(lines) == len(plan.steps)
    for line, step in zip(lines, plan.steps, strict=True):
        assert line.split()[0] == step.kernel
        assert line.endswith(f"[{' + '.join(step.nodes)}]")
