"""CIFAR-10's binary batches and folders of class folders are read, or refused with a reason."""

import numpy as np
import pytest
from PIL import Image

from bitconv.datasets import CIFAR10_CLASSES, open_dataset
from bitconv.errors import InputError


def write_batch(path, labels):
    """A batch of random images with the given labels; the images, (N, 32, 32, 3)."""
    images = np.random.default_rng(3).integers(0, 256, (len(labels), 32, 32, 3), np.uint8)
    planes = images.transpose(0, 3, 1, 2).reshape(len(labels), -1)
    records = np.concatenate([np.array(labels, np.uint8)[:, None], planes], axis=1)
    path.write_bytes(records.tobytes())
    return images


def write_pictures(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (4, 4)).save(folder / name)


def test_a_batch_holds_labels_and_planes_of_pixels(tmp_path):
    images = write_batch(tmp_path / "data.bin", [3, 9, 0])
    dataset = open_dataset(tmp_path / "data.bin")
    assert len(dataset) == 3
    assert [dataset.classes[target] for target in dataset.targets] == ["cat", "truck", "airplane"]
    for index, image in enumerate(images):
        assert np.array_equal(dataset.image(index), image)


def test_of_a_folder_of_batches_the_test_batch_is_taken(tmp_path):
    write_batch(tmp_path / "data_batch_1.bin", [1, 1, 1])
    write_batch(tmp_path / "test_batch.bin", [2])
    dataset = open_dataset(str(tmp_path))
    assert dataset.targets.tolist() == [2]
    assert dataset.classes == CIFAR10_CLASSES


def test_of_a_folder_of_batches_those_to_train_on_can_be_taken(tmp_path):
    write_batch(tmp_path / "data_batch_2.bin", [3])
    write_batch(tmp_path / "data_batch_1.bin", [1, 1])
    write_batch(tmp_path / "test_batch.bin", [2])
    dataset = open_dataset(tmp_path, training=True)
    assert dataset.targets.tolist() == [1, 1, 3]
    assert dataset.image(2).shape == (32, 32, 3)


@pytest.mark.parametrize("octets", [0, 1, 3072, 3074, 2 * 3073 - 1])
def test_a_truncated_batch_is_refused(tmp_path, octets):
    path = tmp_path / "test_batch.bin"
    path.write_bytes(bytes(octets))
    with pytest.raises(InputError, match=rf"test_batch\.bin: {octets} bytes"):
        open_dataset(tmp_path)


def test_a_batch_with_an_impossible_label_is_refused(tmp_path):
    write_batch(tmp_path / "data.bin", [0, 10])
    with pytest.raises(InputError, match="image 1 has the label 10"):
        open_dataset(tmp_path / "data.bin")


def test_class_folders_are_read_in_order(tmp_path):
    write_pictures(tmp_path / "dog", "b.png", "a.JPG")
    write_pictures(tmp_path / "cat", "z.webp")
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("cat", "dog")
    assert dataset.targets.tolist() == [0, 1, 1]
    names = [dataset.image(index).name for index in range(len(dataset))]
    assert names == ["z.webp", "a.JPG", "b.png"]


def test_pictures_in_folders_below_a_class_count(tmp_path):
    write_pictures(tmp_path / "cat" / "images", "a.png")
    assert len(open_dataset(tmp_path)) == 1


def test_hidden_files_and_other_files_are_left_out(tmp_path):
    write_pictures(tmp_path / "cat", "a.png", ".hidden.png")
    write_pictures(tmp_path / ".cache", "b.png")
    (tmp_path / "cat" / "notes.txt").write_text("no picture")
    (tmp_path / "README.md").write_text("no class")
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("cat",)
    assert len(dataset) == 1


@pytest.mark.parametrize("folder", [".", "cat"])
def test_a_folder_without_pictures_is_refused(tmp_path, folder):
    (tmp_path / folder).mkdir(exist_ok=True)
    with pytest.raises(InputError, match="neither test_batch"):
        open_dataset(tmp_path)


def test_a_missing_dataset_is_named(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such file or folder"):
        open_dataset(tmp_path / "nowhere")
