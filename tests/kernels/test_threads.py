"""One model called from many threads, and in forked children, on every threading layer."""

import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from small_networks import binary_resnet, pictures

from bitconv import Model
from bitconv.kernels import threads
from bitconv.kernels.tbb import provide_tbb

TESTS = Path(__file__).parents[1]
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
on_every_layer = pytest.mark.parametrize("layer", ["omp", "workqueue", "tbb"])


@pytest.fixture(autouse=True)
def always_parallel(monkeypatch):
    """Small networks spread over threads, too."""
    monkeypatch.setattr("bitconv.compiler.builder.PARALLEL_SECONDS", 0.0)
    monkeypatch.setattr("bitconv.compiler.builder.SHARE_SECONDS", 1e-12)


PREPARE = """
    import os, signal, sys, threading
    import numpy as np
    from bitconv import Model
    from bitconv.compiler import builder
    from bitconv.kernels.threads import threading_layer
    from small_networks import binary_resnet, pictures

    builder.PARALLEL_SECONDS = 0.0
    builder.SHARE_SECONDS = 1e-12
    graph = binary_resnet(10, 64)
    batch = pictures(graph, 3)

    def start_layer():
        try:
            layer = threading_layer()
        except ValueError as error:  # what Numba raises where a layer's library is not there
            sys.exit(f"no such layer: {error}")
        assert layer == os.environ["NUMBA_THREADING_LAYER"], layer

    def in_a_child(work):
        child = os.fork()
        if child == 0:
            signal.alarm(30)  # ends the child should it hang
            os._exit(0 if work() else 1)
        _, status = os.waitpid(child, 0)
        assert status == 0, f"the child ended with status {status}"

    def same(model):
        return np.array_equal(model.predict(batch), expected)

    expected = Model(graph, threads=1).predict(batch)  # serial: starts no threads
"""


def run_script(layer, script):
    """Run a script behind PREPARE in a process of its own, on a threading layer."""
    environment = os.environ | {"NUMBA_THREADING_LAYER": layer, "PYTHONPATH": python_path()}
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PREPARE) + textwrap.dedent(script)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if finished.stderr.startswith("no such layer"):
        pytest.skip(f"Numba finds no {layer} here")
    assert finished.returncode == 0, finished.stderr


def python_path():
    """This process's way to bitconv and to what the tests share, for another process."""
    return os.pathsep.join([str(TESTS), *filter(None, sys.path)])


def test_four_threads_at_once_get_what_one_gets():
    graph = binary_resnet()
    batches = [pictures(graph, 1 + seed % 3, seed) for seed in range(24)]
    lone = Model(graph, threads=1)
    expected = [lone.predict(batch) for batch in batches]
    shared = Model(graph, threads=2)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(shared.predict, batches * 4))
    for scores, wanted in zip(found, expected * 4, strict=True):
        np.testing.assert_array_equal(scores, wanted)


def test_a_call_leaves_the_thread_s_own_setting_as_it_was():
    import numba

    before = numba.get_num_threads()
    graph = binary_resnet()
    Model(graph, threads=2).predict(pictures(graph, 2))
    assert numba.get_num_threads() == before
    with pytest.raises(RuntimeError), threads.parallel_region(1):
        raise RuntimeError
    assert numba.get_num_threads() == before


def test_a_region_has_no_more_threads_than_numba():
    import numba

    with threads.parallel_region(10_000):
        assert numba.get_num_threads() == numba.config.NUMBA_NUM_THREADS
    with threads.parallel_region(1):
        assert numba.get_num_threads() == 1


def test_at_least_one_thread_is_usable():
    assert 1 <= threads.usable_threads() <= (os.cpu_count() or 1)


def test_one_thread_does_the_work_of_all_that_do_not_come():
    run_alone(
        """
        import numpy as np
        import numba
        from bitconv import Model
        from bitconv.compiler import builder
        from small_networks import binary_resnet, pictures

        builder.PARALLEL_SECONDS, builder.SHARE_SECONDS = 0.0, 1e-12
        graph = binary_resnet()
        batch = pictures(graph, 3)
        assert numba.config.NUMBA_NUM_THREADS == 1
        expected = Model(graph, threads=1).predict(batch)
        assert np.array_equal(Model(graph, threads=4).predict(batch), expected)
        """,
        NUMBA_NUM_THREADS="1",
    )


@pytest.mark.parametrize(("told", "usable"), [("1", 1), ("many", None), ("", None)])
def test_numba_s_number_of_threads_counts_before_numba_is_imported(told, usable):
    script = """
        import sys
        from bitconv.kernels.threads import usable_threads

        found = usable_threads()
        assert "numba" not in sys.modules
        import numba
        print(found, usable_threads())
    """
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env=os.environ | {"NUMBA_NUM_THREADS": told, "PYTHONPATH": python_path()},
        capture_output=True,
        text=True,
        check=True,
    )
    before, after = map(int, finished.stdout.split())
    assert before == after == (usable or threads.usable_threads())


@on_every_layer
def test_threads_call_at_once_on_any_layer(layer):
    run_script(
        layer,
        """
        start_layer()
        model, right = Model(graph, threads=2), []

        def work():
            right.extend(same(model) for _ in range(25))

        callers = [threading.Thread(target=work) for _ in range(4)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        assert right == [True] * 100, right
        """,
    )


@on_every_layer
def test_a_region_of_one_thread_wakes_no_other_on_any_layer(layer):
    run_script(
        layer,
        """
        from numba import get_thread_id, njit, prange
        from bitconv.kernels.threads import parallel_region, usable_threads

        @njit(parallel=True)
        def who(found):
            for share in prange(len(found)):
                total = 0.0
                for step in range(200_000):
                    total += 1.0 / (step + 1)
                found[share] = get_thread_id() + 0 * total

        start_layer()
        found = np.full(64, -1.0)
        for threads in (1, usable_threads()):
            with parallel_region(threads):
                who(found)
            assert 0 <= found.min() and len(set(found)) <= threads, (threads, set(found))
        """,
    )


def test_tbb_of_the_environment_is_taken_and_nothing_of_the_process_changed():
    require_tbb()
    run_alone(
        """
        import os
        before = dict(os.environ)
        from bitconv.kernels.threads import threading_layer
        assert threading_layer() == "tbb", threading_layer()
        assert dict(os.environ) == before
        """
    )


def test_another_layer_that_is_asked_for_is_taken_though_tbb_is_there():
    require_tbb()
    run_alone(
        """
        from bitconv.kernels.threads import threading_layer
        assert threading_layer() == "workqueue", threading_layer()
        """,
        NUMBA_THREADING_LAYER="workqueue",
    )


def test_a_library_that_cannot_be_loaded_is_passed_over(tmp_path, monkeypatch):
    for name in ("lib/libtbb.so.12", "Library/bin/tbb12.dll"):
        library = tmp_path / name
        library.parent.mkdir(parents=True)
        library.write_text("no library")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    provide_tbb()


def require_tbb():
    if sys.platform != "linux" or not Path(sys.prefix, "lib/libtbb.so.12").is_file():
        pytest.skip("the extra tbb is not installed in this environment")


def run_alone(script, **settings):
    """Run a script in a process without settings of Numba's threads but those given."""
    environment = {name: text for name, text in os.environ.items() if "THREADING" not in name}
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env=environment | {"PYTHONPATH": python_path()} | settings,
        timeout=120,
        check=True,
    )


@forks
@on_every_layer
def test_a_child_forked_after_parallel_work_computes_the_same(layer):
    run_script(
        layer,
        """
        start_layer()
        model = Model(graph, threads=2)
        assert same(model)
        in_a_child(lambda: same(model))  # the parent's model
        in_a_child(lambda: same(Model(graph, threads=2)))  # a new one
        in_a_child(lambda: in_a_child(lambda: same(model)) is None)  # a child of a child
        assert same(model)
        """,
    )


@forks
@on_every_layer
def test_a_child_forked_while_threads_are_at_work_computes_the_same(layer):
    run_script(
        layer,
        """
        start_layer()
        model, stop = Model(graph, threads=2), threading.Event()
        assert same(model)

        def work():
            while not stop.is_set():
                same(model)

        workers = [threading.Thread(target=work) for _ in range(2)]
        for worker in workers:
            worker.start()
        try:
            for _ in range(50):  # one in thirty once met a lock that nobody would open
                in_a_child(lambda: same(model))
        finally:
            stop.set()
        for worker in workers:
            worker.join()
        """,
    )


@forks
@on_every_layer
def test_a_child_forked_before_any_parallel_work_computes_the_same(layer):
    run_script(
        layer,
        """
        model = Model(graph, threads=2)
        in_a_child(lambda: (start_layer(), same(model))[1])
        start_layer()
        assert same(model)
        in_a_child(lambda: same(model))
        """,
    )


@forks
def test_a_pool_of_forked_processes_shares_the_work():
    run_script(
        "omp",
        """
        from multiprocessing import get_context

        start_layer()
        model = Model(graph, threads=2)
        assert same(model)

        def work(image):
            return model.predict(image[None])

        with get_context("fork").Pool(2) as pool:
            scores = pool.map(work, batch, chunksize=1)
        np.testing.assert_array_equal(np.concatenate(scores), expected)
        """,
    )
