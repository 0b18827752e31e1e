"""The steps of a network with their times, work and bytes."""

import json
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
from engine import chain, random_bits, signs
from PIL import Image
from small_networks import binary_resnet

from bitconv import Model
from bitconv.errors import FileError, InputError, MissingPackageError
from bitconv.operators import BinaryConv2d, Conv2d, Relu
from bitconv.scales import ScaleGrid


@pytest.fixture(scope="module")
def network():
    return Model(binary_resnet(blocks=2), threads=1)


@pytest.fixture(scope="module")
def profile(network):
    return network.profile(repeat=3)


def test_steps_come_in_the_order_in_which_they_run(profile):
    kernels = [step.kernel for step in profile.steps]
    assert kernels == ["pointwise", "conv2d", *["binary_conv2d"] * 2, "pool2d", "conv2d"]
    assert profile.steps[2].nodes[0] == "conv0"


def test_shares_and_times_add_up(profile):
    assert sum(step.share for step in profile.steps) == pytest.approx(1)
    assert sum(step.seconds for step in profile.steps) == pytest.approx(profile.seconds)
    assert all(step.seconds > 0 for step in profile.steps)
    assert profile.predict_seconds > 0
    assert profile.repeats == 3


def test_multiply_accumulates_are_those_of_the_layers(network, profile):
    assert sum(step.macs for step in profile.steps) == network.summary().total.macs
    arithmetic = [step.arithmetic for step in profile.steps]
    assert arithmetic == ["", "float", "signs", "signs", "", "float"]


def test_rates_follow_from_time_work_and_roofline(profile):
    for step in profile.steps:
        assert step.macs_per_second == pytest.approx(step.macs / step.seconds)
        best = profile.roofline.signs if step.arithmetic == "signs" else profile.roofline.floats
        expected = step.macs_per_second / best if step.macs else None
        assert step.of_roofline == pytest.approx(expected)


def test_binary_weights_on_floats_are_held_against_the_float_roofline():
    layer = BinaryConv2d(random_bits(np.random.default_rng(0), 8, 3, 3, 4), padding=1)
    *_, step = Model(chain((6, 6, 4), layer), threads=1).profile(repeat=1).steps
    assert (step.kernel, step.arithmetic) == ("binary_weight_conv2d", "additions")
    assert step.of_roofline is not None


def test_bytes_are_those_of_maps_and_constants():
    layer = BinaryConv2d(random_bits(np.random.default_rng(0), 32, 1, 1, 64))
    graph = chain((4, 5, 64), signs(), layer)
    packing, convolution = Model(graph, threads=1).profile(repeat=1).steps
    map_bytes, sign_bytes, sum_bytes = 4 * 5 * 64 * 4, 4 * 5 * 8, 4 * 5 * 32 * 4
    assert packing.bytes_written == sign_bytes
    assert packing.bytes_read >= map_bytes + 64 * 4  # and a threshold a channel
    assert convolution.bytes_written == sum_bytes
    assert convolution.bytes_read >= sign_bytes + 32 * 8


def test_a_copy_of_a_value_does_not_count_its_work_again():
    rng = np.random.default_rng(1)
    before, after = Conv2d(rng.normal(size=(4, 3, 3, 3))), Conv2d(rng.normal(size=(2, 3, 3, 4)))
    model = Model(chain((6, 6, 3), before, Relu(), after, kind="uint8"), threads=1)
    profile = model.profile(repeat=1)
    assert profile.steps[0].nodes == ("x",)  # the picture as floats
    assert sum(step.macs for step in profile.steps) == model.summary().total.macs


def test_threads_are_those_that_a_step_runs_on():
    rng = np.random.default_rng(2)
    grid = ScaleGrid.per_filter(np.ones(256), 256)
    layer = BinaryConv2d(random_bits(rng, 256, 3, 3, 256), grid, padding=1)
    model = Model(chain((16, 16, 256), signs(), layer))
    assert model.profile(repeat=1).steps[-1].threads == model.threads


def test_any_picture_is_taken_as_run_takes_it(network, tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "picture.png")
    assert network.profile(tmp_path / "picture.png", repeat=1).steps
    with pytest.raises(InputError, match=r"none\.png"):
        network.profile(tmp_path / "none.png")


@pytest.mark.parametrize("repeat", [0, 1.5, "3"])
def test_at_least_one_run_is_needed(network, repeat):
    with pytest.raises(InputError, match=f"repeat takes a .* from 1 up, found {repeat!r}"):
        network.profile(repeat=repeat)


def test_a_profiled_model_computes_what_it_did(network):
    image = np.random.default_rng(3).integers(0, 256, (1, 12, 12, 3)).astype(np.uint8)
    before = network.predict(image)
    network.profile(repeat=1)
    np.testing.assert_array_equal(network.predict(image), before)


def test_a_profile_prints_as_a_table(profile):
    header, _, *rows, total = str(profile).split("\n\n")[0].splitlines()
    assert header.split()[:4] == ["step", "kernel", "ms", "share"]
    assert len(rows) == len(profile.steps)
    assert rows[2].startswith("conv0 … ")
    assert "signs" not in rows[2]
    assert total.split()[0] == "total"
    assert "The whole predict takes" in str(profile)


def test_a_profile_is_plain_data(profile):
    record = json.loads(json.dumps(asdict(profile)))
    assert len(record["steps"]) == len(profile.steps)
    assert record["roofline"]["signs"] == profile.roofline.signs


# --- Chart ---------------------------------------------------------------------------------------


@pytest.fixture
def plot():
    pytest.importorskip("matplotlib", reason="the plot extra is not installed")
    from bitconv.profile_plot import plot

    return plot


@pytest.mark.parametrize(("ending", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_a_chart_is_a_picture_of_the_format_of_its_ending(plot, profile, tmp_path, ending, start):
    plot(profile, tmp_path / f"chart.{ending}")
    assert (tmp_path / f"chart.{ending}").read_bytes().startswith(start)


def test_a_chart_holds_the_names_of_the_steps_as_they_are(plot, profile, tmp_path):
    strange = replace(profile.steps[0], nodes=("$x_{",))
    plot(replace(profile, steps=(strange, *profile.steps[1:])), tmp_path / "chart.svg")
    assert "$x_{" in (tmp_path / "chart.svg").read_text()


def test_a_chart_of_an_unknown_format_is_refused(plot, profile, tmp_path):
    with pytest.raises(InputError, match=r"chart\.doc: no name of a picture; it may end in .*png"):
        plot(profile, tmp_path / "chart.doc")


def test_a_chart_that_cannot_be_written_is_refused(plot, profile, tmp_path):
    with pytest.raises(FileError, match="cannot be written"):
        plot(profile, tmp_path / "none" / "chart.png")


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "bitconv.profile_plot", raising=False)
    with pytest.raises(MissingPackageError, match=r"bitconv\[plot\]"):
        import bitconv.profile_plot  # noqa: F401  # the import itself is refused
