"""The table of codecs that a graph carries."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small_networks import binary_resnet, float_resnet

from bitconv import TensorType
from bitconv.errors import GraphError
from bitconv.feature_maps import EightBit, ZeroMask
from bitconv.feature_maps.map_codec import MapCodec
from bitconv.operators import DecodeMap, EncodeMap

MAPS = np.arange(2 * 3 * 3 * 4, dtype=np.float32).reshape(2, 3, 3, 4)
CODEC = EightBit.calibrate(MAPS)
VALUE = TensorType((3, 3, 4))


def test_a_codec_belongs_to_a_node():
    for name in ("nowhere", "image"):
        with pytest.raises(GraphError, match=f"{name!r}, which is no node"):
            replace(float_resnet(), codecs={name: MapCodec(CODEC, 10)})


@pytest.mark.parametrize(("name", "found"), [("sign0", "bits"), ("mean", "24 float32")])
def test_a_codec_is_for_maps_of_floats(name, found):
    with pytest.raises(GraphError, match=f"'{name}'.*{found}"):
        replace(binary_resnet(), codecs={name: MapCodec(CODEC, 10)})


def test_the_table_cannot_be_changed():
    graph = replace(float_resnet(), codecs={"map0": MapCodec(CODEC, 10)})
    with pytest.raises(TypeError):
        graph.codecs["map1"] = MapCodec(CODEC, 10)


@pytest.mark.parametrize("largest", [0, -5, 2.5, "much", 2**40])
def test_a_size_that_is_none_is_refused(largest):
    with pytest.raises(GraphError, match="largest encoded map"):
        MapCodec(CODEC, largest)


def test_something_else_than_a_codec_is_refused():
    with pytest.raises(GraphError, match="codec is expected, found 'zip'"):
        MapCodec("zip", 10)


def test_what_is_reserved_has_a_margin_and_never_exceeds_what_a_map_can_take():
    codec = ZeroMask.calibrate(np.zeros((1, 32, 32, 4), np.float32))
    value = TensorType((32, 32, 4))
    assert 1250 < MapCodec(codec, 1000).reserve(value) < 1500
    assert MapCodec(codec, 10**6).reserve(value) == codec.bound(value.shape)


def test_encoding_and_decoding_are_inverse_but_for_rounding():
    encoded = EncodeMap(CODEC, 10).reference(MAPS)
    assert encoded.shape == (2, *EncodeMap(CODEC, 10).infer(VALUE).shape)
    assert encoded[0, :8].tolist() == [36, 0, 0, 0, 0, 0, 0, 0]
    decoded = DecodeMap(CODEC, (3, 3, 4)).reference(encoded)
    np.testing.assert_allclose(decoded, MAPS, atol=1)


def test_what_was_encoded_in_another_shape_is_not_decoded():
    encoded = EncodeMap(CODEC, 10).infer(VALUE)
    with pytest.raises(GraphError, match="44 bytes"):
        DecodeMap(CODEC, (3, 3, 5)).infer(encoded)


@pytest.mark.parametrize(
    "make", [lambda: EncodeMap(CODEC, 0), lambda: DecodeMap(CODEC, (3, 3)), lambda: EncodeMap(3, 9)]
)
def test_operators_without_sense_are_refused(make):
    with pytest.raises(GraphError):
        make()
