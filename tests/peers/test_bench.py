"""A network beside the same layers in other engines."""

import sys

import pytest
from engine import chain
from small_networks import binary_resnet

from bitconv.errors import MissingPackageError, UnsupportedError
from bitconv.graph import Graph
from bitconv.model import Model
from bitconv.operators import Conv2d, Flatten, MaxPool2d, Relu, Sign
from bitconv.peers import bench
from bitconv.peers.bench import FLOAT, OURS, SAME_NUMBERS, Setting, compare_engines
from bitconv.peers.engines import ENGINES, installed_version


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """One short turn a side, batches of one and three, and onnxruntime as the only engine."""
    pytest.importorskip("onnx", reason="the bench extra is not installed")
    pytest.importorskip("onnxruntime", reason="the bench extra is not installed")
    monkeypatch.setattr(bench, "BATCHES", (1, 3))
    monkeypatch.setattr(bench, "TURNS", 1)
    monkeypatch.setattr(bench, "TURN_SECONDS", 0)
    monkeypatch.delitem(ENGINES, "openvino", raising=False)


@pytest.fixture
def network():
    return binary_resnet(size=6, channels=8, blocks=1)


def title(what):
    return f"onnxruntime {installed_version('onnxruntime')}, {what}"


def test_all_sides_are_timed_in_all_settings(network):
    found = compare_engines(network)
    assert list(found.times) == [OURS, title(SAME_NUMBERS), title(FLOAT)]
    threads = sorted({1, Model(network).threads})
    assert found.settings == tuple(Setting(n, t) for n in (1, 3) for t in threads)
    for times in found.times.values():
        assert len(times) == len(found.settings)
        assert all(0 < each.minimum <= each.median for each in times)
        assert all(each.runs == bench.LEAST_RUNS for each in times)
    assert found.left_out == {}


def test_ratios_are_of_medians(network):
    found = compare_engines(network)
    ours, theirs = found.times[OURS], found.times[title(FLOAT)]
    expected = [b.median / a.median for a, b in zip(ours, theirs, strict=True)]
    assert found.ratios(title(FLOAT)) == expected
    assert found.ratios(OURS) == [1] * len(found.settings)


def test_a_report_states_machine_versions_threads_and_times(network):
    told = []
    found = compare_engines(network, told.append)
    text = str(found)
    for part in ("date", "processor", "instruction set", "threads", "numba ", "1 image, 1 thread"):
        assert part in text
    assert f"{title(FLOAT)} ÷ bitconv" in text
    assert "3 images" in text
    assert told[1:] == [f"Timing {setting}" for setting in found.settings]


def test_scores_of_the_same_network_are_compared(network):
    found = compare_engines(network)
    assert list(found.same_scores) == [title(SAME_NUMBERS)]
    assert 0 <= found.same_scores[title(SAME_NUMBERS)] <= 1


def test_a_network_without_signs_is_its_own_float_network():
    found = compare_engines(chain((4, 4, 3), Relu(), Flatten()))
    assert list(found.times) == [OURS, title(FLOAT)]
    assert found.same_scores == {}


def test_an_engine_that_computes_something_else_is_not_timed(network, monkeypatch):
    right = ENGINES["onnxruntime"]

    def wrong(model, threads):
        run = right(model, threads)
        return lambda arrays: [value + 1 for value in run(arrays)]

    monkeypatch.setitem(ENGINES, "onnxruntime", wrong)
    found = compare_engines(network)
    assert list(found.times) == [OURS]
    assert found.left_out[title(FLOAT)].startswith("'normalize' (normalize) is off by")
    assert f"{title(FLOAT)}: not timed, 'normalize'" in str(found)


def test_an_engine_that_computes_something_else_when_it_optimizes_is_not_timed(
    network, monkeypatch
):
    right = ENGINES["onnxruntime"]

    def wrong(model, threads):
        run = right(model, threads)
        return lambda arrays: [v + (len(run(arrays)) == 1) for v in run(arrays)]

    monkeypatch.setitem(ENGINES, "onnxruntime", wrong)
    found = compare_engines(network)
    assert found.left_out[title(FLOAT)].startswith("the scores are off by")


def test_an_engine_that_fails_is_not_timed_and_its_words_are_kept(network, monkeypatch):
    def failing(*_):
        raise RuntimeError("no such\ninstruction")

    monkeypatch.setitem(ENGINES, "onnxruntime", failing)
    found = compare_engines(network)
    assert list(found.times) == [OURS]
    assert found.left_out[title(FLOAT)] == "RuntimeError: no such"


def test_a_network_without_float_counterpart_is_timed_without_it():
    graph = chain((4, 4, 2), Sign([127.5]), MaxPool2d(2), kind="uint8")
    found = compare_engines(graph)
    assert list(found.times) == [OURS, title(SAME_NUMBERS)]
    assert "no float network of these layers" in found.left_out[FLOAT]


def test_an_engine_that_is_not_installed_is_named(network, monkeypatch):
    monkeypatch.setitem(ENGINES, "no such engine", ENGINES["onnxruntime"])
    found = compare_engines(network)
    assert found.left_out == {"no such engine": "not installed"}


def test_without_any_engine_the_extra_is_named(network, monkeypatch):
    monkeypatch.setattr(bench, "installed_version", lambda _: None)
    with pytest.raises(MissingPackageError, match=r"pip install 'bitconv\[bench\]'"):
        compare_engines(network)


def test_without_onnx_the_extra_is_named(network, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingPackageError, match=r"takes onnx: pip install 'bitconv\[bench\]'"):
        compare_engines(network)


def test_one_output_is_needed():
    graph = chain((4, 4, 3), Conv2d([[[[1, 1, 1]]]]), Relu())
    several = Graph(graph.inputs, graph.nodes, outputs=("node0", "node1"))
    with pytest.raises(UnsupportedError, match="takes one output, the network has node0, node1"):
        compare_engines(several)
