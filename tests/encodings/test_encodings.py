"""How stored arrays are decoded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitconv.bits import BitArray
from bitconv.encodings import decode, encode
from bitconv.errors import FileError

SHAPES = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)


def test_element_i_is_bit_i_modulo_8_of_byte_i_div_8_and_one_is_minus_one():
    signs = np.ones((2, 3, 2))
    signs[0, 0, 1] = signs[1, 0, 0] = signs[1, 2, 1] = -1  # elements 1, 6 and 11
    data, attributes = encode(BitArray.from_signs(signs))
    assert data.tolist() == [0b01000010, 0b00001000]
    assert attributes == {"encoding": "bits", "planes": 1, "shape": (2, 3, 2)}


@given(SHAPES, st.integers(1, 3), st.integers(0, 2**32))
def test_signs_of_any_shape_and_number_of_planes_are_decoded(shape, planes, seed):
    bits = np.random.default_rng(seed).integers(0, 2, (planes, *shape))
    array = BitArray(shape, np.packbits(bits, axis=None, bitorder="little"), planes)
    found = decode(*encode(array))
    assert isinstance(found, BitArray)
    assert (found.shape, found.planes) == (shape, planes)
    assert found.stream.tobytes() == array.stream.tobytes()


@given(SHAPES, st.integers(0, 2**32))
def test_raw_numbers_are_decoded_bit_for_bit(shape, seed):
    array = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    data, attributes = encode(array)
    assert attributes == {"encoding": "raw"}
    np.testing.assert_array_equal(decode(data, attributes), array)


@pytest.mark.parametrize(
    ("data", "attributes", "expected"),
    [
        (np.zeros(2, np.float32), {}, "unknown encoding None"),
        (np.zeros(2, np.float32), {"encoding": 3}, "unknown encoding 3"),
        (np.zeros(2, np.float32), {"encoding": (1, 2)}, "unknown encoding"),
        (np.zeros(2, np.float32), {"encoding": "zip"}, "known are"),
        (np.zeros(2, np.uint8), {"encoding": "raw"}, "holds float32"),
        (np.zeros(2, np.float32), {"encoding": "raw", "planes": 1}, "takes the attributes"),
        (np.zeros(2, np.uint8), {"encoding": "bits", "planes": 1}, "takes the attributes"),
        (
            np.zeros(2, np.uint8),
            {"encoding": "bits", "planes": 1, "shape": (17,)},
            "takes 3 bytes",
        ),
        (
            np.full(1, 0b100, np.uint8),
            {"encoding": "bits", "planes": 1, "shape": (2,)},
            "must be zero",
        ),
        (
            np.zeros((1, 1), np.uint8),
            {"encoding": "bits", "planes": 1, "shape": (8,)},
            "a row of uint8",
        ),
        (
            np.zeros(1, np.uint8),
            {"encoding": "bits", "planes": 0, "shape": (8,)},
            "does not exist",
        ),
        (np.zeros(1, np.uint8), {"encoding": "bits", "planes": 1, "shape": 8}, "shape takes"),
        (np.zeros(1, np.uint8), {"encoding": "bits", "planes": "1", "shape": (8,)}, "planes takes"),
    ],
)
def test_what_an_encoding_does_not_take_is_refused(data, attributes, expected):
    with pytest.raises(FileError, match=expected):
        decode(data, attributes)
