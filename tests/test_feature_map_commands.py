"""The commands `calibrate` and `maps` end to end."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image
from small_networks import float_resnet
from small_networks import pictures as random_pictures

import bitconv
from bitconv import Model, read, write
from bitconv.cli import main

LABELS = ("a", "b", "c", "d", "e")


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs the command in this process: exit code, stdout, stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["bitconv", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return run


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.h5"
    write(float_resnet(size=8, blocks=1, labels=LABELS), path)
    return path


@pytest.fixture
def images(tmp_path, model):
    """Pictures in the folders of the classes that the network takes them for."""
    graph = read(model)
    for number, picture in enumerate(random_pictures(graph, 12)):
        folder = tmp_path / "images" / Model(graph).run(picture).label
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / f"{number}.png")
    for label in LABELS:
        (tmp_path / "images" / label).mkdir(exist_ok=True)
    return tmp_path / "images"


@pytest.fixture
def loose(tmp_path):
    """Pictures without classes."""
    folder = tmp_path / "loose"
    folder.mkdir()
    for number, picture in enumerate(random_pictures(float_resnet(size=8), 6, seed=3)):
        Image.fromarray(picture).save(folder / f"{number}.png")
    return folder


def test_calibrate_writes_a_model_with_codecs(command, model, images, tmp_path):
    out = tmp_path / "out.h5"
    code, printed, _ = command("calibrate", model, images, out, "--feature-maps", "dct-cm")
    assert code == 0
    assert "accuracy lost" in printed
    assert "inner0" in printed
    assert {each.codec.name for each in read(out).codecs.values()} == {"dct-cm"}
    picture = random_pictures(read(out), 1)[0]
    assert bitconv.load(out, feature_maps=True).run(picture).label in LABELS


def test_calibrate_keeps_to_the_loss_that_is_allowed(command, model, loose, tmp_path):
    out = tmp_path / "out.h5"
    options = ("--feature-maps", "best", "--max-loss", "20")
    code, printed, _ = command("calibrate", model, loose, out, *options)
    assert code == 0
    assert "labels changed" in printed
    sample = np.stack([np.asarray(Image.open(path)) for path in sorted(loose.iterdir())])
    before = Model(read(model)).predict(sample).argmax(axis=1)
    after = bitconv.load(out, feature_maps="all").predict(sample).argmax(axis=1)
    assert (before != after).mean() <= 0.2


def test_calibrate_leaves_the_place_untouched_where_it_fails(command, model, images, tmp_path):
    out = tmp_path / "out.h5"
    out.write_text("before")
    code, _, error = command("calibrate", model, images, out, "--feature-maps", "zip")
    assert code == 1
    assert "unknown codec 'zip'" in error
    assert out.read_text() == "before"


def test_calibrate_does_not_overwrite_the_model(command, model, images):
    code, _, error = command("calibrate", model, images, model, "--feature-maps", "dct-cm")
    assert code == 1
    assert "is the model itself" in error


def test_calibrate_refuses_a_folder_without_pictures(command, model, tmp_path):
    (tmp_path / "empty").mkdir()
    options = ("--feature-maps", "dct-cm")
    code, _, error = command("calibrate", model, tmp_path / "empty", tmp_path / "o.h5", *options)
    assert code == 1
    assert "class folders" in error


@pytest.fixture
def calibrated(command, model, images, tmp_path):
    command("calibrate", model, images, tmp_path / "out.h5", "--feature-maps", "zero-mask")
    return tmp_path / "out.h5"


def test_info_tells_of_codecs(command, calibrated, model):
    assert "codecs      zero-mask for 3 feature maps" in command("info", calibrated)[1]
    assert "zero-mask" not in command("info", model)[1]


def test_maps_shows_every_map_its_ratio_and_the_accuracy(command, calibrated, images):
    code, printed, _ = command("maps", calibrated, images)
    assert code == 0
    lines = printed.splitlines()
    (row,) = [line for line in lines if line.startswith("map0")]
    assert row.split()[1:4] == ["float32", "2,048", "512"]
    assert "zero-mask" in row
    assert row.endswith("dB")
    assert "mean over the maps" in printed
    assert "100.00 % without codecs" in printed


def test_maps_of_pictures_without_labels_counts_changes(command, calibrated, loose):
    code, printed, _ = command("maps", calibrated, loose)
    assert code == 0
    assert "of 6 changed" in printed
    assert "without codecs" not in printed


def test_maps_draws_a_picture(command, calibrated, loose, tmp_path):
    pytest.importorskip("matplotlib")
    code, _, _ = command("maps", calibrated, loose, "--plot", tmp_path / "maps.svg")
    assert code == 0
    drawn = (tmp_path / "maps.svg").read_text()
    assert "<svg" in drawn


def test_maps_refuses_an_unknown_format_at_once(command, calibrated, loose, tmp_path):
    pytest.importorskip("matplotlib")
    code, printed, error = command("maps", calibrated, loose, "--plot", tmp_path / "maps.xyz")
    assert (code, printed) == (1, "")
    assert "maps.xyz" in error


def test_maps_of_a_model_without_codecs_is_refused(command, model, loose):
    code, _, error = command("maps", model, loose)
    assert code == 1
    assert "bitconv calibrate" in error
