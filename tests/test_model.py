"""A model: loading it, running a picture, and what it tells of itself."""

from dataclasses import replace

import numpy as np
import pytest
from colour_network import COLOURS, colour_graph, plain
from engine import chain
from PIL import Image
from small_networks import binary_resnet, pictures

import bitconv
from bitconv import Graph, Model, Node, TensorType
from bitconv.errors import FileError, InputError, UnsupportedError
from bitconv.operators import Flatten, Relu


@pytest.fixture(scope="module")
def resnet():
    return Model(binary_resnet(), threads=1)


@pytest.fixture(scope="module")
def colours():
    return Model(colour_graph())


def test_a_path_is_loaded_and_run(tmp_path):
    path = tmp_path / "colours.h5"
    bitconv.write(colour_graph(), path)
    assert bitconv.load(path).run(plain("green")).label == "green"
    assert bitconv.run(plain("blue"), str(path), threads=1).label == "blue"


def test_without_a_name_the_shipped_model_is_loaded():
    model = bitconv.load()
    assert model.input_shape == (32, 32, 3)
    assert len(model.labels) == 10


def test_an_unknown_name_is_refused():
    with pytest.raises(InputError, match="no-such-model"):
        bitconv.load("no-such-model")


def test_a_file_that_is_no_model_is_refused(tmp_path):
    path = tmp_path / "text.h5"
    path.write_text("no model")
    with pytest.raises(FileError):
        bitconv.load(path)


def test_a_network_of_two_inputs_is_refused():
    value = TensorType((4, 4, 3), "uint8")
    graph = Graph({"left": value, "right": value}, (Node("relu", Relu(), "left"),))
    with pytest.raises(UnsupportedError, match="left, right"):
        Model(graph)


def test_what_the_engine_cannot_run_is_refused_at_once():
    graph = Graph({"x": TensorType((3, 3, 4), "int32")}, (Node("relu", Relu(), "x"),))
    with pytest.raises(UnsupportedError, match="'x'"):
        Model(graph)


@pytest.mark.parametrize("threads", [0, -1])
def test_less_than_one_thread_is_refused(threads):
    with pytest.raises(InputError, match=f"from 1 up, found {threads}"):
        Model(colour_graph(), threads=threads)


def test_running_a_picture_on_no_number_of_threads_is_refused():
    with pytest.raises(InputError, match=r"from 1 up, found \[2\]"):
        bitconv.run(np.zeros((32, 32, 3), np.uint8), threads=[2])


def test_a_name_is_no_graph():
    with pytest.raises(InputError, match=r"takes a Graph, found str; bitconv.load reads a file"):
        Model("cifar10-resnet")


def test_an_output_that_is_the_input_is_given_back():
    graph = replace(colour_graph(labels=()), outputs=("image",))
    batch = np.arange(192, dtype=np.uint8).reshape(1, 8, 8, 3)
    np.testing.assert_array_equal(Model(graph).predict(batch), batch)


def test_the_number_of_threads_is_honoured():
    assert Model(colour_graph(), threads=1).threads == 1
    everything = Model(colour_graph()).threads
    assert Model(colour_graph(), threads=everything).threads == everything
    assert Model(colour_graph(), threads=10_000).threads == everything


@pytest.mark.parametrize("colour", COLOURS)
def test_a_path_a_picture_and_an_array_give_the_same(colours, colour, tmp_path):
    path = tmp_path / "picture.png"
    picture = Image.fromarray(plain(colour))
    picture.save(path)
    for image in (path, str(path), picture, plain(colour)):
        prediction = colours.run(image)
        assert prediction.label == colour
        np.testing.assert_array_equal(prediction.scores, np.eye(3)[list(COLOURS).index(colour)])


def test_a_picture_of_another_size_is_prepared(colours):
    assert colours.run(plain("blue", (31, 17))).label == "blue"


def test_running_an_image_is_predicting_a_batch_of_one(resnet):
    (image,) = pictures(resnet.graph, 1)
    np.testing.assert_array_equal(resnet.run(image).scores, resnet.predict(image[None])[0])


def test_a_network_that_ends_in_a_map_is_predicted_not_run():
    model = Model(chain((4, 4, 3), Relu(), kind="uint8"))
    with pytest.raises(InputError, match="'node0' is 4 × 4 × 3 float32: use predict"):
        model.run(np.zeros((4, 4, 3), np.uint8))


def test_a_network_that_takes_no_picture_is_not_run():
    model = Model(chain((4, 4, 2), Flatten()))
    with pytest.raises(InputError, match="not a picture"):
        model.run(np.zeros((4, 4), np.uint8))


@pytest.mark.parametrize("name", ["graph", "threads", "labels", "input_shape"])
def test_attributes_are_read_only(colours, name):
    with pytest.raises(AttributeError):
        setattr(colours, name, None)


def test_every_array_of_the_graph_is_read_only(resnet):
    operators = [node.operator for node in resnet.graph.nodes]
    arrays = [array for operator in operators for array in operator.arrays().values()]
    assert len(arrays) > 10
    for array in arrays:
        assert not getattr(array, "stream", array).flags.writeable


def test_predicting_other_nodes_and_sizes_changes_no_score(resnet):
    batch = pictures(resnet.graph, 5)
    before = resnet.predict(batch)
    resnet.predict(batch[:2], nodes=["map1"])
    resnet.predict(batch.astype(np.float32))
    resnet.run(batch[0])
    np.testing.assert_array_equal(resnet.predict(batch), before)


def test_labels_are_those_of_the_file(colours):
    assert colours.labels == tuple(COLOURS)


def test_without_labels_classes_have_numbers(resnet):
    assert resnet.labels == ("0", "1", "2", "3", "4")


def test_input_shape_and_graph_are_at_hand(resnet):
    assert resnet.input_shape == (12, 12, 3)
    assert resnet.graph.outputs == ("scores",)


def test_repr_names_the_model_and_its_input(colours, resnet):
    assert repr(colours) == "Model('colours', 8 × 8 × 3 uint8, 3 nodes)"
    assert repr(resnet).startswith("Model('unnamed', 12 × 12 × 3 uint8")


def test_the_summary_has_a_line_a_node(resnet):
    text = str(resnet.summary())
    assert all(node.name in text for node in resnet.graph.nodes)


def test_preparing_leaves_nothing_to_compile():
    model = Model(binary_resnet(), threads=1)
    model.prepare()
    assert model.uncompiled() == []
