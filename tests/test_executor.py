"""Walking the steps of a plan over an arena."""

import time

import numpy as np
import pytest
from engine import chain, images, random_bits, random_norm, reference_values, signs, value_in
from small_networks import binary_resnet

from bitconv.compiler import compile_graph
from bitconv.compiler.plan import aligned_bytes
from bitconv.executor import Workspace, functions_of
from bitconv.operators import BinaryConv2d, Conv2d


def test_an_arena_is_as_large_as_the_plan_says_and_aligned():
    plan = compile_graph(binary_resnet())
    arena = Workspace(plan).arena
    assert arena.shape == (plan.arena_bytes,)
    assert arena.ctypes.data % 64 == 0


@pytest.mark.parametrize("count", [1, 63, 64, 65])
def test_aligned_bytes_are_zero_and_aligned(count):
    memory = aligned_bytes(count)
    assert memory.shape == (count,)
    assert memory.ctypes.data % 64 == 0
    assert not memory.any()


def test_what_an_arena_held_before_does_not_matter():
    graph = binary_resnet()
    plan = compile_graph(graph, images=2)
    batch = images(np.random.default_rng(0), graph, 2)
    found = []
    for rubbish in (0x00, 0x5A, 0xFF):
        workspace = Workspace(plan)
        workspace.arena[:] = rubbish
        workspace.run("image", batch)
        found.append(value_in(workspace, graph, "scores", 2))
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


def test_one_arena_serves_many_runs_of_any_number_of_images():
    graph = binary_resnet()
    plan = compile_graph(graph, images=4)
    workspace = Workspace(plan)
    rng = np.random.default_rng(1)
    for count in (4, 1, 3, 4):
        batch = images(rng, graph, count)
        workspace.run("image", batch)
        found = value_in(workspace, graph, "scores", count)
        expected = reference_values(graph, batch)["scores"]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("padding", [1, (2, 0, 1, 3)])
def test_an_image_of_floats_is_put_where_the_first_layer_reads_it(padding):
    rng = np.random.default_rng(5)
    graph = chain((6, 7, 3), Conv2d(rng.integers(-1, 2, (4, 3, 3, 3)), padding=padding))
    plan = compile_graph(graph, images=3)
    assert [step.kernel for step in plan.steps] == ["conv2d"]
    workspace = Workspace(plan)
    workspace.arena[:] = 0x5A
    for count in (3, 2):
        batch = images(rng, graph, count)
        workspace.run("x", batch)
        expected = reference_values(graph, batch)["node0"]
        np.testing.assert_array_equal(value_in(workspace, graph, "node0", count), expected)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_timed_run_computes_the_same_and_has_a_time_for_every_step(threads, monkeypatch):
    monkeypatch.setattr("bitconv.compiler.builder.PARALLEL_SECONDS", 0.0)
    graph = binary_resnet(64, 64)
    plan = compile_graph(graph, images=2, threads=threads)
    batch = images(np.random.default_rng(4), graph, 2)
    plain, timed = Workspace(plan), Workspace(plan)
    plain.run("image", batch)
    timed.run_timed("image", batch)  # measures the clock
    started = time.perf_counter()
    times = timed.run_timed("image", batch)
    whole = time.perf_counter() - started
    assert len(times) == len(plan.steps)
    assert min(times) > 0
    assert whole / 1000 < sum(times) < 2 * whole  # seconds; much of the whole may be waiting
    expected, found = (value_in(workspace, graph, "scores", 2) for workspace in (plain, timed))
    np.testing.assert_array_equal(found, expected)


def test_a_plan_needs_its_kernels_the_program_and_where_it_spreads_the_loop_over_threads():
    rng = np.random.default_rng(3)
    convolution = BinaryConv2d(random_bits(rng, 256, 3, 3, 256), padding=1)
    graph = chain((32, 32, 256), signs(256), convolution, random_norm(rng, 256))
    serial = functions_of(compile_graph(graph, threads=1))
    assert serial == ["walk", "pointwise", "run_program", "binary_conv2d"]
    spread = functions_of(compile_graph(graph, threads=2))
    assert sorted(spread) == sorted([*serial, "walk_together"])
