"""Images to calibrate on: how they are found and what is counted with them."""

from __future__ import annotations

import numpy as np
import pytest
from colour_network import COLOURS, colour_graph, plain
from PIL import Image

from bitconv import Model
from bitconv.errors import InputError
from bitconv.feature_maps.sample import Sample, read_sample, spread


@pytest.fixture(scope="module")
def model():
    return Model(colour_graph())


def save(folder, name, colour):
    folder.mkdir(exist_ok=True)
    Image.fromarray(plain(colour)).save(folder / name)


def test_a_folder_of_pictures_has_no_labels(model, tmp_path):
    for index, colour in enumerate(COLOURS):
        save(tmp_path, f"{index}.png", colour)
    sample = read_sample(model, tmp_path)
    assert sample.targets is None
    assert [model.labels[i] for i in sample.scores(model).argmax(axis=1)] == list(COLOURS)


def test_a_folder_of_class_folders_has_labels(model, tmp_path):
    for colour in COLOURS:
        save(tmp_path / colour, "picture.png", colour)
    sample = read_sample(model, tmp_path)
    assert sorted(model.labels[i] for i in sample.targets) == sorted(COLOURS)


def test_a_part_is_spread_evenly_and_keeps_its_labels():
    images = np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1)
    part = Sample(images, np.arange(10)).part(4)
    assert part.images.ravel().tolist() == part.targets.tolist() == [0, 2, 5, 7]
    assert len(Sample(images).part(20)) == 10


def test_only_so_many_pictures_are_read(model, tmp_path):
    for index in range(5):
        save(tmp_path, f"{index}.png", "red")
    (tmp_path / "4.png").write_bytes(b"none")
    assert len(read_sample(model, tmp_path, 2)) == 2


def test_numbers_are_spread():
    assert spread(3, None).tolist() == [0, 1, 2]
    assert spread(100, 4).tolist() == [0, 25, 50, 75]


def test_the_loss_is_of_accuracy_where_labels_are_known():
    before = np.eye(4, dtype=np.float32)
    after = before[[1, 0, 2, 3]]
    images = np.zeros((4, 1, 1, 1), np.uint8)
    assert Sample(images).loss(before, after) == 50
    assert Sample(images, np.array([0, 3, 2, 3])).loss(before, after) == 25
    assert Sample(images, np.array([1, 0, 2, 3])).loss(before, after) == -50


def test_an_empty_folder_is_refused(model, tmp_path):
    with pytest.raises(InputError, match="class folders"):
        read_sample(model, tmp_path)


def test_a_sample_of_no_images_is_refused():
    with pytest.raises(InputError, match="at least one image"):
        Sample(np.zeros((0, 2, 2, 3), np.uint8))


def test_a_sample_with_too_few_targets_is_refused():
    with pytest.raises(InputError, match="2 images have 1 targets"):
        Sample(np.zeros((2, 2, 2, 3), np.uint8), np.zeros(1, np.int64))


def test_loose_pictures_beside_labelled_ones_are_refused(model, tmp_path):
    for folder in (tmp_path, tmp_path / "red"):
        save(folder, "picture.png", "red")
    with pytest.raises(InputError, match="both pictures of no class"):
        read_sample(model, tmp_path)
