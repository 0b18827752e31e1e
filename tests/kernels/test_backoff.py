"""Running on one thread while other programs have the cores."""

import numpy as np
from engine import value_in
from small_networks import binary_resnet, pictures

from bitconv.compiler import compile_graph
from bitconv.executor import Workspace
from bitconv.kernels.backoff import LONGEST_REST, Backoff


def runs_alone(backoff):
    """How many runs are on one thread before several are tried."""
    alone = 0
    while not backoff.may_try():
        alone += 1
    return alone


def test_several_threads_are_tried_at_first_and_as_long_as_nobody_waits():
    backoff = Backoff()
    for _ in range(5):
        assert runs_alone(backoff) == 0
        backoff.note(waited=False)


def test_the_more_often_a_run_waits_the_longer_one_thread_is_alone():
    backoff, alone = Backoff(), []
    for _ in range(9):
        backoff.note(waited=True)
        alone.append(runs_alone(backoff))
    assert alone == [1, 2, 4, 8, 16, 32, 64, LONGEST_REST, LONGEST_REST]


def test_good_runs_make_the_next_rest_shorter():
    backoff = Backoff()
    for waited in (True, True, True, False, False):
        backoff.note(waited)
        assert runs_alone(backoff) == (backoff.length // 2 if waited else 0)
    backoff.note(waited=True)
    assert runs_alone(backoff) == 2


def test_a_workspace_that_rests_computes_the_same_on_one_thread(monkeypatch):
    monkeypatch.setattr("bitconv.compiler.builder.PARALLEL_SECONDS", 0.0)
    monkeypatch.setattr("bitconv.compiler.builder.SHARE_SECONDS", 1e-12)
    graph = binary_resnet()
    workspace = Workspace(compile_graph(graph, threads=2))
    workspace._backoff = Backoff(rest=1)
    scores, divided = [], []
    for _ in range(2):
        workspace.run("image", pictures(graph, 1))
        scores.append(value_in(workspace, graph, "scores", 1))
        divided.append(workspace._calls["taken"].any())
    assert divided == [False, True]
    np.testing.assert_array_equal(*scores)
