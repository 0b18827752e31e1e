"""The command line end to end, on a small network and real files."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from colour_network import colour_graph
from PIL import Image

import bitconv
from bitconv import Graph, Node, TensorType
from bitconv.operators import Flatten, Relu, Softmax
from bitconv.shipped import SAMPLE_PICTURE


def process(*arguments, **environment):
    """The command in a process of its own."""
    program = [sys.executable, "-c", "from bitconv.cli import main; main()"]
    return subprocess.run(
        [*program, *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        timeout=120,
        check=False,
    )


def test_run_prints_labels_scores_time_and_what_ran(command, model, pictures):
    code, out, _ = command("run", pictures / "green" / "picture.png", "--model", model)
    lines = out.splitlines()
    assert code == 0
    assert lines[0].endswith("picture.png")
    assert lines[4].split() == ["green", "57.6", "%", "1.000"]
    assert "ms in the network" in out
    assert model in lines[-1]
    assert "thread" in lines[-1]
    assert "-bit vectors" in lines[-1]


def test_run_without_a_picture_takes_the_cat(command, model):
    code, out, _ = command("run", "--model", model)
    assert code == 0
    assert str(SAMPLE_PICTURE) in out


def test_top_limits_the_labels(command, model):
    _, out, _ = command("run", "--model", model, "--top", "2", "--json")
    (record,) = json.loads(out)["images"]
    assert len(record["top"]) == 2


def test_threads_are_those_asked_for(command, model):
    _, out, _ = command("run", "--model", model, "--threads", "1", "--json")
    assert json.loads(out)["threads"] == 1


def test_json_holds_everything_and_nothing_else_is_printed(command, model, pictures):
    path = pictures / "blue" / "picture.png"
    code, out, err = command("run", path, "--model", model, "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert set(found) == {"model", "threads", "instruction_set", "vector_bits", "images"}
    (record,) = found["images"]
    assert record["image"] == str(path)
    assert record["top"][0] == {
        "label": "blue",
        "probability": pytest.approx(np.e / (np.e + 2), rel=1e-6),
        "score": 1.0,
    }
    assert record["network_seconds"] > 0


def test_probabilities_of_a_network_that_ends_in_softmax_are_its_scores(command, tmp_path):
    graph = colour_graph()
    nodes = (*graph.nodes, Node("probabilities", Softmax(), "scores"))
    bitconv.write(Graph(graph.inputs, nodes), tmp_path / "softmax.h5")
    _, out, _ = command("run", "--model", tmp_path / "softmax.h5", "--json")
    for rank in json.loads(out)["images"][0]["top"]:
        assert rank["probability"] == rank["score"]


def test_a_bad_picture_does_not_hide_the_others(command, model, pictures, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    images = [pictures / "red" / "picture.png", tmp_path / "text.png", tmp_path / "none.png"]
    images.append(pictures / "blue" / "picture.png")
    code, out, err = command("run", *images, "--model", model)
    assert code == 1
    assert out.count("ms in the network") == 2
    assert [
        line.split(": ")[1].endswith(("text.png", "none.png")) for line in err.splitlines()
    ] == [
        True,
        True,
    ]


def test_a_bad_picture_is_a_record_of_the_json(command, model, tmp_path):
    code, out, err = command("run", tmp_path / "none.png", "--model", model, "--json")
    (record,) = json.loads(out)["images"]
    assert code == 1
    assert "none.png" in record["error"]
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["run", "info", "evaluate", "cost", "reshare", "profile", "bench"])
def test_a_missing_model_is_one_line_and_exit_code_1(command, name, tmp_path, pictures):
    missing = tmp_path / "none.h5"
    arguments = {
        "run": ["--model", missing],
        "info": [missing],
        "evaluate": [missing, pictures],
        "cost": [missing],
        "reshare": [missing, tmp_path / "out.h5", "--scale", "16xI"],
        "profile": [missing],
        "bench": [missing],
    }
    code, out, err = command(name, *arguments[name])
    assert (code, out) == (1, "")
    assert err.startswith("bitconv: ")
    assert "none.h5" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["info", "cost", "evaluate"])
def test_a_name_longer_than_any_file_has_is_one_line_and_exit_code_1(command, name, model):
    arguments = [model, "a" * 5000] if name == "evaluate" else ["a" * 5000]
    code, out, err = command(name, *arguments)
    assert (code, out) == (1, "")
    assert err.startswith("bitconv: aaaa")
    assert err.count("\n") == 1


def test_a_damaged_model_is_one_line_and_exit_code_1(command, tmp_path):
    (tmp_path / "bad.h5").write_bytes(b"\x89HDF\r\n\x1a\n and no more")
    code, _, err = command("info", tmp_path / "bad.h5")
    assert code == 1
    assert "bad.h5" in err
    assert err.count("\n") == 1


def test_a_network_without_class_scores_is_refused(command, tmp_path):
    graph = Graph({"image": TensorType((8, 8, 3))}, (Node("relu", Relu(), "image"),))
    bitconv.write(graph, tmp_path / "map.h5")
    code, _, err = command("run", "--model", tmp_path / "map.h5")
    assert code == 1
    assert "not in one score a class" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--wrong"],
        ["walk"],
        ["info"],
        ["run", "--top", "0"],
        ["evaluate", "a"],
        ["cost"],
        ["reshare", "a", "b"],
        ["profile"],
        ["profile", "a", "--repeat", "0"],
    ],
)
def test_wrong_usage_exits_with_2(command, arguments):
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert "Error: " in err


def test_info_tells_where_a_model_comes_from_and_what_it_costs(command, model):
    code, out, _ = command("info", model)
    assert code == 0
    for text in (model, "8 × 8 × 3 uint8", "red, green, blue", "CC0", "100 % on colours", "total"):
        assert text in out


def test_info_strips_control_characters(command, tmp_path):
    bitconv.write(colour_graph(labels=("a\x1b[2J", "b", "c")), tmp_path / "steering.h5")
    _, out, _ = command("info", tmp_path / "steering.h5")
    assert "\x1b" not in out
    assert "a?[2J" in out


def test_models_lists_what_came_with_the_package(command, tmp_path, monkeypatch):
    (tmp_path / "weights").mkdir()
    bitconv.write(colour_graph(), tmp_path / "weights" / "colours.h5")
    monkeypatch.setattr("bitconv.shipped.PACKAGE", tmp_path)
    code, out, _ = command("models")
    assert code == 0
    name, *_, accuracy = out.splitlines()[-1].split("  ")
    assert name == "colours"
    assert accuracy == "100 % on colours"


def test_evaluate_prints_accuracy_speed_and_confusion(command, model, pictures):
    code, out, err = command("evaluate", model, pictures)
    assert (code, err) == (0, "")
    assert "accuracy  100.00 %  (3 of 3 images)" in out
    assert "images a second" in out
    assert "true class" in out


def test_evaluate_names_an_unknown_class_folder(command, model, pictures):
    (pictures / "red").rename(pictures / "violet")
    code, out, err = command("evaluate", model, pictures)
    assert (code, out) == (1, "")
    assert "'violet' is no label of the model: red, green, blue" in err


# --- Times -------------------------------------------------------------------------------------


def test_profile_prints_the_steps_and_what_ran(command, model, pictures):
    arguments = (pictures / "red" / "picture.png", "--repeat", "2", "--threads", "1")
    code, out, err = command("profile", model, *arguments)
    assert (code, err) == (0, "")
    for text in ("of roofline", "total", "The whole predict takes", "medians of 2 runs"):
        assert text in out
    assert f"{model} on 1 thread, " in out.splitlines()[-1]


def test_profile_needs_no_picture(command, model):
    assert command("profile", model, "--repeat", "1")[0] == 0


def test_profile_takes_a_network_without_class_scores(command, tmp_path):
    graph = Graph({"image": TensorType((8, 8, 5))}, (Node("relu", Relu(), "image"),))
    bitconv.write(graph, tmp_path / "map.h5")
    assert command("profile", tmp_path / "map.h5", "--repeat", "1")[0] == 0


def test_profile_as_json_holds_every_figure_and_nothing_else_is_printed(command, model):
    code, out, err = command("profile", model, "--repeat", "2", "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found["repeats"] == 2
    assert found["model"] == model
    assert {"signs", "floats"} == set(found["roofline"])
    assert sum(step["share"] for step in found["steps"]) == pytest.approx(1)
    assert {"seconds", "macs", "macs_per_second", "of_roofline", "bytes_read"} <= set(
        found["steps"][0]
    )


def test_profile_draws_a_chart(command, model, tmp_path):
    pytest.importorskip("matplotlib", reason="the plot extra is not installed")
    code, _, _ = command("profile", model, "--repeat", "1", "--plot", tmp_path / "steps.png")
    assert code == 0
    assert Image.open(tmp_path / "steps.png").format == "PNG"


def test_a_chart_of_an_unknown_format_is_refused_before_anything_is_measured(command, model):
    pytest.importorskip("matplotlib", reason="the plot extra is not installed")
    code, out, err = command("profile", model, "--plot", "steps.doc")
    assert (code, out) == (1, "")
    assert err.startswith("bitconv: steps.doc: no name of a picture")
    assert err.count("\n") == 1


def test_bench_prints_a_table_and_says_on_stderr_what_it_does(command, model, monkeypatch):
    pytest.importorskip("onnx", reason="the bench extra is not installed")
    pytest.importorskip("onnxruntime", reason="the bench extra is not installed")
    monkeypatch.setattr("bitconv.peers.bench.TURN_SECONDS", 0)
    monkeypatch.setattr("bitconv.peers.bench.BATCHES", (1,))
    code, out, err = command("bench", model)
    assert code == 0
    assert "float network ÷ bitconv" in out
    assert "Timing 1 image, 1 thread" in err


def test_bench_without_its_packages_names_the_extra(command, model, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setattr("bitconv.peers.bench.installed_version", lambda _: "1.0")
    code, out, err = command("bench", model)
    assert (code, out) == (1, "")
    assert "pip install 'bitconv[bench]'" in err.splitlines()[-1]


# --- Compiling ahead ---------------------------------------------------------------------------


@pytest.fixture
def softmax_model(tmp_path):
    """A file with one kernel, which compiles quickly."""
    nodes = (Node("flatten", Flatten(), "image"), Node("softmax", Softmax(), "flatten"))
    bitconv.write(Graph({"image": TensorType((1, 1, 3))}, nodes), tmp_path / "softmax.h5")
    return tmp_path / "softmax.h5"


def test_warmup_compiles_and_says_where_the_cache_is(softmax_model, tmp_path):
    cache = tmp_path / "cache"
    first = process("warmup", softmax_model, NUMBA_CACHE_DIR=str(cache))
    again = process("warmup", softmax_model, NUMBA_CACHE_DIR=str(cache))
    assert first.returncode == again.returncode == 0
    assert first.stderr.decode().startswith("Compiling the kernels for this machine")
    assert again.stderr == b""
    assert first.stdout == again.stdout
    assert str(cache) in first.stdout.decode()
    assert "bytes)" in first.stdout.decode()
    run = process("run", "--model", softmax_model, NUMBA_CACHE_DIR=str(cache))
    assert (run.returncode, run.stderr) == (0, b"")


def test_warmup_fails_where_nothing_can_be_kept(softmax_model, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    done = process("warmup", softmax_model, NUMBA_CACHE_DIR=str(tmp_path / "file"))
    assert (done.returncode, done.stdout) == (1, b"")
    error = done.stderr.decode()
    assert error.startswith(f"bitconv: {tmp_path / 'file'}")
    assert "NUMBA_CACHE_DIR" in error
    assert error.count("\n") == 1


def test_warmup_of_everything_names_every_shipped_model(command, tmp_path, monkeypatch):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "broken.h5").write_bytes(b"no model")
    monkeypatch.setattr("bitconv.shipped.PACKAGE", tmp_path)
    code, out, err = command("warmup")
    assert (code, out) == (1, "")
    assert "broken.h5" in err


# --- The rest ----------------------------------------------------------------------------------


def test_doctor_reports(command):
    code, out, _ = command("doctor")
    assert code == 0
    for name in ("bitconv", "numba", "instruction set", "vector width", "threading", "cache"):
        assert name in out


def test_version(command):
    assert command("--version") == (0, f"bitconv {bitconv.__version__}\n", "")


def test_help_lists_the_commands(command):
    code, out, _ = command("--help")
    assert code == 0
    names = ("run", "info", "cost", "models", "evaluate", "profile", "bench", "reshare")
    for name in (*names, "warmup", "doctor"):
        assert f"  {name} " in out


@pytest.mark.parametrize(
    ("module", "package"), [("click", "click"), ("rich", "rich"), ("PIL", "pillow")]
)
def test_without_the_extra_the_command_says_what_to_install(command, monkeypatch, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    code, out, err = command("run")
    assert (code, out) == (1, "")
    assert err == f"bitconv: the command line needs {package}: pip install 'bitconv[cli]'\n"


def test_the_first_run_tells_that_it_compiles_and_the_next_is_silent(tmp_path):
    nodes = (Node("flatten", Flatten(), "image"), Node("softmax", Softmax(), "flatten"))
    graph = Graph({"image": TensorType((1, 1, 3))}, nodes)  # one kernel, which compiles quickly
    bitconv.write(graph, tmp_path / "softmax.h5")
    arguments = ("run", "--model", tmp_path / "softmax.h5", "--threads", "1")
    first = process(*arguments, NUMBA_CACHE_DIR=str(tmp_path / "cache"))
    again = process(*arguments, NUMBA_CACHE_DIR=str(tmp_path / "cache"))
    assert first.returncode == again.returncode == 0
    assert first.stderr.decode().startswith("Compiling the kernels for this machine")
    assert again.stderr == b""
    assert "\x1b" not in first.stdout.decode("utf-8")


def test_a_pipe_of_another_encoding_gets_question_marks(tmp_path):
    bitconv.write(colour_graph(labels=("grün", "b", "c")), tmp_path / "colours.h5")
    done = process("info", tmp_path / "colours.h5", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert b"gr?n" in done.stdout


def test_a_closed_pipe_leaves_no_traceback(model):
    program = "from bitconv.cli import main; main()"
    done = subprocess.run(
        f'"{sys.executable}" -c "{program}" info "{model}" | true',
        shell=True,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert b"Traceback" not in done.stderr
