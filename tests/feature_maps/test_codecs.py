"""What holds for every codec: round trips, references, and the refusal of damaged bytes."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from drawn_maps import KINDS, NAMES, SEEDS, SHAPES, a_codec, maps_of
from hypothesis import given, settings
from hypothesis import strategies as st

from bitconv.errors import EncodedMapError, GraphError, InputError
from bitconv.feature_maps import CODECS
from bitconv.feature_maps.codec import HEADER_BYTES
from bitconv.kernels.strips import strip_pixels

EVERY = pytest.mark.parametrize("name", CODECS)
A_KIND = st.sampled_from(sorted(KINDS))
SMALL = (3, 4, 11)


@settings(max_examples=60, deadline=None)
@given(NAMES, SHAPES, A_KIND, SEEDS)
def test_kernels_equal_the_references_byte_for_byte(name, shape, kind, seed):
    maps = maps_of(seed, shape, kind)
    codec = a_codec(name, maps[:2], seed)
    for feature_map in maps:  # the last one was not calibrated on
        out = np.empty(codec.bound(shape), np.uint8)
        payload = out[: codec.encode_payload(feature_map, out)]
        assert payload.tobytes() == codec.reference_encode(feature_map)
        assert codec.least(shape) <= len(payload)
        found = codec.decode_payload(payload, shape)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, codec.reference_decode(payload.tobytes(), shape))


@settings(max_examples=60, deadline=None)
@given(NAMES, SHAPES, A_KIND, SEEDS)
def test_a_decoded_map_is_decoded_again_as_it_is(name, shape, kind, seed):
    maps = maps_of(seed, shape, kind)
    codec = a_codec(name, maps, seed)
    found = codec.decode(codec.encode(maps[0]))
    assert found.shape == shape
    if name != "transform-coding" and codec.mode != "dct":
        np.testing.assert_array_equal(codec.decode(codec.encode(found)), found)


@EVERY
@pytest.mark.parametrize("value", [0.0, 255.0, 3.75])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 130), (5, 7, 16), (40, 40, 5)], ids=str)
def test_a_map_of_one_value_is_kept_exactly(name, value, shape):
    maps = np.full((2, *shape), value, np.float32)
    codec = CODECS[name].calibrate(maps)
    tolerance = 0 if value == 0 else value * 1e-6 if name == "eight-bit" else value * 0.02
    np.testing.assert_allclose(codec.decode(codec.encode(maps[0])), maps[0], atol=tolerance)


@EVERY
def test_maps_unlike_those_of_the_calibration_still_fit_the_bound(name):
    codec = CODECS[name].calibrate(maps_of(0, SMALL, "sparse"))
    rng = np.random.default_rng(1)
    for shape in ((3, 4, 11), (40, 30, 11)):
        wild = rng.choice([-np.inf, -1e30, -1, 0, 1e-30, 0.7, 2, 1e30, np.inf], shape)
        assert codec.decode(codec.encode(wild)).shape == shape


@EVERY
def test_every_truncation_is_refused(name):
    maps = maps_of(3, SMALL, "after_relu")
    codec = CODECS[name].calibrate(maps)
    data = codec.encode(maps[0])
    for length in range(len(data)):
        with pytest.raises(EncodedMapError):
            codec.decode(data[:length])
    with pytest.raises(EncodedMapError, match="announces"):
        codec.decode(data + b"\0")


@EVERY
def test_every_flipped_bit_is_refused(name):
    maps = maps_of(4, SMALL, "after_relu")
    codec = CODECS[name].calibrate(maps)
    data = codec.encode(maps[0])
    for place in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[place // 8] ^= 1 << place % 8
        with pytest.raises(EncodedMapError):
            codec.decode(bytes(damaged))


@settings(max_examples=200, deadline=None)
@given(NAMES, A_KIND, SEEDS, st.data())
def test_a_payload_without_its_header_is_decoded_to_some_map_or_refused(name, kind, seed, data):
    shape = data.draw(SHAPES)
    maps = maps_of(seed, shape, kind)
    codec = a_codec(name, maps, seed)
    payload = bytearray(codec.encode(maps[0])[HEADER_BYTES:])
    for _ in range(data.draw(st.integers(1, 5))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.none(), st.integers(0, len(payload))))
    octets = np.frombuffer(payload[:cut], np.uint8).copy()
    with suppress(EncodedMapError):
        assert codec.decode_payload(octets, shape).shape == shape


@EVERY
def test_a_map_of_another_codec_or_of_other_parameters_is_refused(name):
    maps = maps_of(5, SMALL, "after_relu")
    codec = CODECS[name].calibrate(maps)
    others = [CODECS[other].calibrate(maps) for other in CODECS if other != name]
    for other in (*others, CODECS[name].calibrate(3 * maps)):
        with pytest.raises(EncodedMapError, match="encoded by another codec"):
            other.decode(codec.encode(maps[0]))


@EVERY
def test_the_bytes_of_a_header_may_be_any(name):
    codec = CODECS[name].calibrate(maps_of(6, SMALL, "after_relu"))
    for data in (b"", b"BFM1", bytes(HEADER_BYTES), b"BFM1" + b"\xff" * 60):
        with pytest.raises(EncodedMapError):
            codec.decode(data)


@EVERY
def test_a_huge_map_of_few_bytes_is_refused_before_there_is_memory_for_it(name):
    codec = CODECS[name].calibrate(maps_of(6, SMALL, "after_relu"))
    with pytest.raises(EncodedMapError, match="are no map"):
        codec.decode_payload(np.zeros(100, np.uint8), (65535, 65535, SMALL[2]))


@EVERY
def test_a_payload_says_where_it_does_not_fit(name):
    maps = maps_of(7, (20, 20, 12), "after_relu")
    codec = CODECS[name].calibrate(maps)
    whole = np.full(codec.bound(maps.shape[1:]) + 9, 0xA5, np.uint8)
    length = codec.encode_payload(maps[0], whole)
    assert (whole[codec.bound(maps.shape[1:]) :] == 0xA5).all()
    for size in (0, 1, 9, length // 2, length - 1):
        assert codec.encode_payload(maps[0], np.empty(size, np.uint8)) == -1
    enough = np.empty(length + 8, np.uint8)
    assert codec.encode_payload(maps[0], enough) == length
    assert enough[:length].tobytes() == whole[:length].tobytes()


def test_bits_behind_a_piece_that_look_like_an_escape_are_none():
    """The masks of some streams end with a whole group of look-ups, and an escape seems next."""
    maps = maps_of(9, (9, 9, 9), "related")
    codec = a_codec("transform-coding", maps, 9)
    for feature_map in maps:
        payload = codec.encode(feature_map)[HEADER_BYTES:]
        found = codec.decode_payload(np.frombuffer(bytearray(payload), np.uint8), (9, 9, 9))
        np.testing.assert_array_equal(found, codec.reference_decode(payload, (9, 9, 9)))


@EVERY
def test_strips_are_encoded_by_themselves(name):
    maps = maps_of(8, (30, 30, 9), "after_relu")
    codec = CODECS[name].calibrate(maps)
    pixels = maps[0].reshape(-1, 9)
    length = strip_pixels(9)
    assert len(pixels) > length
    strips = [pixels[first : first + length, None] for first in range(0, len(pixels), length)]
    alone = b"".join(codec.encode(strip)[HEADER_BYTES:] for strip in strips)
    assert codec.encode(maps[0])[HEADER_BYTES:] == alone


@settings(max_examples=40, deadline=None)
@given(NAMES, SHAPES, A_KIND, SEEDS)
def test_a_codec_is_made_again_from_its_parameters(name, shape, kind, seed):
    maps = maps_of(seed, shape, kind)
    codec = a_codec(name, maps, seed)
    # A file keeps arrays in float32
    stored = {
        key: value.astype(np.float32) if isinstance(value, np.ndarray) else value
        for key, value in codec.parameters().items()
    }
    again = CODECS[name].from_parameters(stored)
    assert again.fingerprint == codec.fingerprint
    assert again.mode == codec.mode
    np.testing.assert_array_equal(
        again.decode(codec.encode(maps[0])), codec.decode(codec.encode(maps[0]))
    )


@EVERY
@pytest.mark.parametrize(
    "value", [None, "x", -1, np.nan, np.zeros(3), np.full(257, np.nan), [[]]], ids=repr
)
def test_a_parameter_of_another_kind_is_refused(name, value):
    parameters = CODECS[name].calibrate(maps_of(9, SMALL, "after_relu")).parameters()
    for key in parameters:
        with pytest.raises(GraphError):
            CODECS[name].from_parameters(parameters | {key: value})


@EVERY
def test_a_missing_or_unknown_parameter_is_refused(name):
    parameters = CODECS[name].calibrate(maps_of(9, SMALL, "after_relu")).parameters()
    for wrong in ({}, parameters | {"more": 1}, dict(list(parameters.items())[1:])):
        with pytest.raises(GraphError, match="takes the parameters"):
            CODECS[name].from_parameters(wrong)


@EVERY
@pytest.mark.parametrize(
    "maps",
    [
        np.zeros((2, 3, 4)),
        np.zeros((0, 3, 4, 5)),
        np.full((1, 2, 2, 3), np.nan),
        np.full((1, 2, 2, 3), np.inf),
        np.full((1, 2, 2, 3), 1e300),
        np.zeros((1, 2, 2, 3), complex),
        [[1], [2, 3]],
        "maps",
    ],
    ids=["rank", "empty", "nan", "infinite", "large", "complex", "ragged", "text"],
)
def test_what_are_no_maps_cannot_be_calibrated_on(name, maps):
    with pytest.raises(InputError, match="the maps of a layer"):
        CODECS[name].calibrate(maps)


@EVERY
@pytest.mark.parametrize(
    "feature_map",
    [
        np.zeros((3, 11)),
        np.zeros((0, 3, 11)),
        np.full((1, 1, 11), np.nan),
        np.zeros((65536, 1, 11)),
    ],
    ids=["rank", "empty", "nan", "large"],
)
def test_what_is_no_map_cannot_be_encoded(name, feature_map):
    codec = CODECS[name].calibrate(maps_of(9, SMALL, "after_relu"))
    with pytest.raises(InputError):
        codec.encode(feature_map)


@EVERY
def test_settings_are_what_calibrate_takes_and_lose_more_and_more(name):
    maps = maps_of(10, (10, 10, 16), "after_relu")
    errors = []
    for each in CODECS[name].settings():
        codec = CODECS[name].calibrate(maps, **each)
        errors.append(float(np.square(codec.decode(codec.encode(maps[0])) - maps[0]).sum()))
    assert errors == sorted(errors)
