"""Accuracy, counted on images whose class is known."""

import numpy as np
import pytest
from colour_network import COLOURS, colour_graph, plain
from PIL import Image

from bitconv import Model
from bitconv.datasets import CIFAR10_CLASSES, CIFAR10_RECORD, open_dataset
from bitconv.errors import InputError
from bitconv.evaluation import Evaluation, evaluate


@pytest.fixture(scope="module")
def model():
    return Model(colour_graph(), threads=1)


def save(folder, colour, name):
    folder.mkdir(exist_ok=True)
    Image.fromarray(plain(colour, (12, 16))).save(folder / name)


def write_batch(path, colours):
    """A batch of CIFAR-10 in which the class number is that of the colour."""
    records = np.zeros((len(colours), CIFAR10_RECORD), np.uint8)
    for record, colour in zip(records, colours, strict=True):
        record[0] = list(COLOURS).index(colour)
        record[1:] = np.repeat(COLOURS[colour], 32 * 32)
    path.write_bytes(records.tobytes())


def test_every_image_is_counted_where_it_belongs(model, tmp_path):
    save(tmp_path / "red", "red", "right.png")
    save(tmp_path / "blue", "blue", "right.png")
    save(tmp_path / "blue", "green", "wrong.png")
    result = evaluate(model, open_dataset(tmp_path))
    assert result.confusion.tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 1]]
    assert (result.images, result.correct, result.accuracy) == (3, 2, 2 / 3)
    assert result.labels == ("red", "green", "blue")
    assert result.seconds > 0


def test_folders_find_their_labels_whatever_the_case(model, tmp_path):
    save(tmp_path / "GREEN", "green", "a.png")
    assert evaluate(model, open_dataset(tmp_path)).accuracy == 1


def test_an_unknown_folder_is_refused_with_the_labels(model, tmp_path):
    save(tmp_path / "violet", "red", "a.png")
    with pytest.raises(InputError, match="'violet' is no label of the model: red, green, blue"):
        evaluate(model, open_dataset(tmp_path))


def test_an_ambiguous_folder_is_refused(tmp_path):
    save(tmp_path / "crane", "red", "a.png")
    model = Model(colour_graph(labels=("crane", "Crane", "dog")), threads=1)
    with pytest.raises(InputError, match="several labels"):
        evaluate(model, open_dataset(tmp_path))


def test_a_damaged_picture_is_named_and_ends_the_count(model, tmp_path):
    save(tmp_path / "red", "red", "a.png")
    (tmp_path / "red" / "b.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"b\.png"):
        evaluate(model, open_dataset(tmp_path))


def test_classes_of_cifar_are_found_by_name_in_any_order(tmp_path):
    write_batch(tmp_path / "test_batch.bin", ["red", "red", "green"])
    labels = (CIFAR10_CLASSES[1], CIFAR10_CLASSES[0], *CIFAR10_CLASSES[2:])
    model = Model(colour_graph(labels, (32, 32), 10), threads=1)
    confusion = evaluate(model, open_dataset(tmp_path)).confusion
    assert confusion[1, 0] == 2
    assert confusion[0, 1] == 1


def test_a_model_without_labels_has_the_classes_of_cifar_in_order(tmp_path):
    write_batch(tmp_path / "test_batch.bin", ["red", "green", "blue"])
    model = Model(colour_graph((), (32, 32), 10), threads=1)
    assert evaluate(model, open_dataset(tmp_path)).accuracy == 1


def test_a_model_of_other_classes_is_refused_for_cifar(tmp_path):
    write_batch(tmp_path / "test_batch.bin", ["red"])
    model = Model(colour_graph((), (32, 32), 11), threads=1)
    with pytest.raises(InputError, match="'airplane' is no label"):
        evaluate(model, open_dataset(tmp_path))


def test_many_images_go_through_in_chunks(tmp_path):
    write_batch(tmp_path / "data.bin", ["red", "green", "blue"] * 201)
    model = Model(colour_graph((), (32, 32), 10), threads=1)
    reports = []
    result = evaluate(model, open_dataset(tmp_path / "data.bin"), lambda *r: reports.append(r))
    assert result.images == result.correct == 603
    assert len(reports) > 1
    assert reports[-1] == (603, 603)


def test_a_network_that_ends_in_a_map_is_refused(tmp_path):
    save(tmp_path / "0", "red", "a.png")
    graph = colour_graph(labels=())
    model = Model(type(graph)(graph.inputs, graph.nodes[:1]), threads=1)
    with pytest.raises(InputError, match="not in one score a class"):
        evaluate(model, open_dataset(tmp_path))


def test_the_report_shows_the_matrix():
    report = str(Evaluation(np.array([[3, 1], [0, 0]]), ("cat", "dog"), 2.0))
    assert report.splitlines() == [
        "accuracy  75.00 %  (3 of 4 images)",
        "speed     2 images a second (2.00 s in the network)",
        "",
        "true class     0  1   right",
        "----------  -  -  -  ------",
        "cat         0  3  1  75.0 %",
        "dog         1  .  .",
    ]


def test_with_many_classes_the_report_shows_the_commonest_mistakes():
    confusion = np.eye(1000, dtype=np.int64)
    confusion[7, 9] = 5
    report = str(Evaluation(confusion, tuple(f"class {i}" for i in range(1000)), 1.0))
    assert report.splitlines()[3:] == [
        "true class  taken for  images",
        "----------  ---------  ------",
        "class 7     class 9         5",
    ]
