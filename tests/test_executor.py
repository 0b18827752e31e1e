"""Walking the steps of a plan over an arena."""

import numpy as np
import pytest
from engine import chain, images, random_bits, random_norm, reference_values, signs
from small_networks import binary_resnet

from bitconv.compiler import compile_graph
from bitconv.compiler.plan import aligned_bytes
from bitconv.executor import execute, execute_timed, functions_of, new_arena, value_of
from bitconv.operators import BinaryConv2d, Relu


def test_an_arena_is_as_large_as_the_plan_says_and_aligned():
    plan = compile_graph(binary_resnet())
    arena = new_arena(plan)
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
        arena = new_arena(plan)
        arena[:] = rubbish
        execute(plan, arena, "image", batch)
        found.append(value_of(plan, arena, "scores", graph.types["scores"], 2))
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


def test_one_arena_serves_many_runs_of_any_number_of_images():
    graph = binary_resnet()
    plan = compile_graph(graph, images=4)
    arena = new_arena(plan)
    rng = np.random.default_rng(1)
    for count in (4, 1, 3, 4):
        batch = images(rng, graph, count)
        execute(plan, arena, "image", batch)
        found = value_of(plan, arena, "scores", graph.types["scores"], count)
        expected = reference_values(graph, batch)["scores"]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_value_is_a_copy():
    graph = chain((3, 3, 2), Relu())
    plan = compile_graph(graph)
    arena = new_arena(plan)
    execute(plan, arena, "x", images(np.random.default_rng(2), graph, 1))
    value = value_of(plan, arena, "node0", graph.types["node0"], 1)
    assert not np.shares_memory(value, arena)


def test_a_timed_run_computes_the_same_and_has_a_time_for_every_step():
    graph = binary_resnet()
    plan = compile_graph(graph, images=2)
    batch = images(np.random.default_rng(4), graph, 2)
    plain, timed = new_arena(plan), new_arena(plan)
    execute(plan, plain, "image", batch)
    times = execute_timed(plan, timed, "image", batch)
    assert len(times) == len(plan.steps)
    assert min(times) > 0
    expected, found = (
        value_of(plan, arena, "scores", graph.types["scores"], 2) for arena in (plain, timed)
    )
    np.testing.assert_array_equal(found, expected)


def test_a_plan_needs_its_kernels_the_program_and_where_it_spreads_the_loop_over_threads():
    rng = np.random.default_rng(3)
    convolution = BinaryConv2d(random_bits(rng, 256, 3, 3, 256), padding=1)
    graph = chain((32, 32, 256), signs(256), convolution, random_norm(rng, 256))
    serial = functions_of(compile_graph(graph, threads=1))
    assert serial == ["pointwise", "run_program", "binary_conv2d"]
    spread = functions_of(compile_graph(graph, threads=2))
    assert sorted(spread) == sorted([*serial, "spread"])
