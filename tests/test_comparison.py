"""Two versions of a network, on images of which it is known what each makes of them."""

import pytest
from colour_network import COLOURS, binary_colour_graph, colour_graph, plain
from PIL import Image

from bitconv import Model
from bitconv.comparison import Comparison, compare
from bitconv.datasets import open_dataset
from bitconv.errors import InputError
from bitconv.resharing import reshare
from bitconv.scales import ScaleSharing


@pytest.fixture(scope="module")
def models():
    """A network, and itself with one scale for all, which takes blue for red."""
    graph = binary_colour_graph()
    shared = reshare(graph, ScaleSharing(None)).graph
    return Model(graph, threads=1), Model(shared, threads=1)


def save(folder, colour, name):
    folder.mkdir(exist_ok=True)
    Image.fromarray(plain(colour)).save(folder / name)


def test_changed_and_right_labels_are_counted(models, tmp_path):
    for colour in COLOURS:
        save(tmp_path / colour, colour, "right.png")
    save(tmp_path / "red", "blue", "wrong.png")
    save(tmp_path / "green", "blue", "wrong.png")
    reports = []
    found = compare(*models, open_dataset(tmp_path), lambda *report: reports.append(report))
    assert found == Comparison(images=5, changed=3, correct_before=3, correct_after=3)
    assert reports == [(5, 5)]
    assert found.accuracy_before == found.accuracy_after == 0.6


def test_a_network_differs_nowhere_from_itself(models, tmp_path):
    save(tmp_path / "blue", "blue", "a.png")
    found = compare(models[0], models[0], open_dataset(tmp_path))
    assert found == Comparison(images=1, changed=0, correct_before=1, correct_after=1)


def test_an_unknown_class_is_refused(models, tmp_path):
    save(tmp_path / "violet", "red", "a.png")
    with pytest.raises(InputError, match="'violet' is no label of the model"):
        compare(*models, open_dataset(tmp_path))


def test_a_network_that_ends_in_a_map_is_refused(tmp_path):
    save(tmp_path / "0", "red", "a.png")
    graph = colour_graph(labels=())
    model = Model(type(graph)(graph.inputs, graph.nodes[:1]), threads=1)
    with pytest.raises(InputError, match="not in one score a class"):
        compare(model, model, open_dataset(tmp_path))


def test_the_report_gives_both():
    assert str(Comparison(10_000, 123, 8177, 8160)).splitlines() == [
        "labels    123 of 10,000 changed (1.23 %)",
        "accuracy  81.77 % before, 81.60 % after",
    ]
