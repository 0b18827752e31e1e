"""A network on two machines."""

from __future__ import annotations

import socket
import struct
import threading

import numpy as np
import pytest
from small_networks import binary_resnet, float_resnet, pictures, with_codecs

from bitconv import Graph, Model, TensorType
from bitconv.errors import EncodedMapError, InputError
from bitconv.feature_maps import CODECS
from bitconv.splitting import Lossless


def through_a_socket(messages: list[bytes]) -> list[bytes]:
    """What comes out of the other end."""
    left, right = socket.socketpair()

    def send() -> None:
        with left:
            for message in messages:
                left.sendall(struct.pack("<I", len(message)) + message)

    sender = threading.Thread(target=send)
    sender.start()
    received = []
    with right, right.makefile("rb") as stream:
        while head := stream.read(4):
            received.append(stream.read(*struct.unpack("<I", head)))
    sender.join()
    return received


@pytest.mark.parametrize("network", [float_resnet, binary_resnet])
@pytest.mark.parametrize("after", ["normalize", "stem", "map0", "add1", "map2", "mean"])
def test_without_codecs_the_halves_compute_exactly_what_the_whole_does(network, after):
    model = Model(network())
    images = pictures(model.graph, 3)
    first, second = model.split(after=after)
    found = second.predict(through_a_socket(first.predict(images)))
    np.testing.assert_array_equal(found, model.predict(images))


@pytest.mark.parametrize("codec", CODECS)
def test_with_codecs_the_halves_compute_what_the_whole_does_with_that_map_encoded(codec):
    graph = with_codecs(float_resnet(), codec)
    images = pictures(graph, 3)
    first, second = Model(graph).split(after="map1")
    found = second.predict(through_a_socket(first.predict(images)))
    only = Graph(graph.inputs, graph.nodes, codecs={"map1": graph.codecs["map1"]})
    expected = Model(only, feature_maps="all").predict(images)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("which", [True, "all"])
def test_halves_of_a_network_with_encoded_maps_keep_theirs_encoded(which):
    model = Model(with_codecs(float_resnet()), feature_maps=which)
    images = pictures(model.graph, 3)
    first, second = model.split(after="map1")
    np.testing.assert_allclose(
        second.predict(first.predict(images)), model.predict(images), atol=1e-5
    )
    assert "map0 encoded" in first.model.graph.types
    assert ("map2 encoded" in second.model.graph.types) == (which == "all")


def test_a_picture_gives_the_same_prediction():
    model = Model(binary_resnet(labels=("a", "b", "c", "d", "e")))
    image = pictures(model.graph, 1)[0]
    first, second = model.split(after="map1")
    prediction = second.run(first.run(image))
    assert prediction.label == model.run(image).label
    np.testing.assert_array_equal(prediction.scores, model.run(image).scores)


def test_signs_travel_as_bits():
    graph = binary_resnet(blocks=1)
    nodes = tuple(
        node for node in graph.nodes if node.name in ("normalize", "stem", "map0", "sign0")
    )
    model = Model(Graph(graph.inputs, (*nodes, *_behind_signs(graph))))
    images = pictures(graph, 2)
    first, second = model.split(after="sign0")
    data = first.predict(images)
    assert max(map(len, data)) < graph.types["sign0"].size / 8 + 64
    np.testing.assert_array_equal(second.predict(data), model.predict(images))


def _behind_signs(graph: Graph):
    wanted = ("conv0", "norm0")
    return [node for node in graph.nodes if node.name in wanted]


def test_a_codec_takes_fewer_bytes_than_no_loss():
    graph = with_codecs(float_resnet(), "dct-cm")
    images = pictures(graph, 1)
    plain, _ = Model(float_resnet()).split(after="map1")
    coded, _ = Model(graph).split(after="map1")
    assert len(coded.predict(images)[0]) < len(plain.predict(images)[0]) / 3


@pytest.mark.parametrize("coded", [False, True])
@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "longer"])
def test_damaged_bytes_are_refused(coded, damage):
    graph = with_codecs(float_resnet()) if coded else float_resnet()
    first, second = Model(graph).split(after="map1")
    (data,) = first.predict(pictures(graph, 1))
    spoilt = {
        "cut": data[:-1],
        "flipped": data[:40] + bytes([data[40] ^ 4]) + data[41:],
        "empty": b"",
        "longer": data + b"\0",
    }[damage]
    with pytest.raises(EncodedMapError):
        second.predict([spoilt])


def test_the_bytes_of_another_node_are_refused():
    model = Model(float_resnet())
    (data,) = model.split(after="mean")[0].predict(pictures(model.graph, 1))
    with pytest.raises(EncodedMapError, match="8 values"):
        model.split(after="map1")[1].run(data)


def test_the_bytes_of_a_map_of_another_size_are_refused():
    small, large = with_codecs(float_resnet(6)), with_codecs(float_resnet(8))
    codecs = {"map1": small.codecs["map1"]}
    data = Model(small).split("map1")[0].predict(pictures(small, 1))
    second = Model(Graph(large.inputs, large.nodes, codecs=codecs)).split("map1")[1]
    with pytest.raises(EncodedMapError, match=r"\(6, 6, 8\), expected \(8, 8, 8\)"):
        second.predict(data)


def test_bytes_that_would_inflate_beyond_the_value_are_refused():
    small, large = TensorType((4,)), TensorType((4000,))
    data = bytearray(Lossless(large).encode(np.zeros(4000, np.float32)))
    data[4:8] = (4).to_bytes(4, "little")
    with pytest.raises(EncodedMapError, match="deflated"):
        Lossless(small).decode(bytes(data))


@pytest.mark.parametrize("kind", ["float32", "int32", "bits"])
def test_lossless_is_exact(kind):
    rng = np.random.default_rng(3)
    value = TensorType((5, 3, 7), kind)
    numbers = rng.integers(-(2**24), 2**24, value.shape)
    given = np.where(numbers < 0, -1, 1) if kind == "bits" else numbers
    coding = Lossless(value)
    np.testing.assert_array_equal(coding.decode(coding.encode(given.astype(value.dtype))), given)


def test_a_cut_that_others_go_around_is_refused_and_others_are_named():
    with pytest.raises(InputError, match=r"needs 'map0'.*'stem', 'map0'.*'mean'"):
        Model(float_resnet()).split(after="inner0")


@pytest.mark.parametrize(("after", "reason"), [("scores", "nothing"), ("nowhere", "no node")])
def test_a_cut_with_nothing_behind_it_is_refused(after, reason):
    with pytest.raises(InputError, match=reason):
        Model(float_resnet()).split(after=after)


def test_one_message_in_place_of_a_list_is_refused():
    first, second = Model(float_resnet()).split(after="map1")
    (data,) = first.predict(pictures(first.model.graph, 1))
    with pytest.raises(InputError, match="list"):
        second.predict(data)


@pytest.mark.parametrize("data", [None, [None], ["x"]])
def test_what_is_no_list_of_messages_is_refused(data):
    _, second = Model(float_resnet()).split(after="map1")
    with pytest.raises(InputError, match="list"):
        second.predict(data)
