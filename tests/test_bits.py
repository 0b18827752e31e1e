"""Signs as bits: the convention, words and streams."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitconv.bits import BitArray, pack_words, unpack_words, words_for
from bitconv.errors import GraphError

CHANNELS = [1, 2, 7, 8, 9, 63, 64, 65, 127, 128, 129, 200]


def random_bits(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).random(shape) < 0.5


@pytest.mark.parametrize(
    ("channels", "words"), [(1, 1), (63, 1), (64, 1), (65, 2), (128, 2), (129, 3)]
)
def test_a_word_holds_64_channels(channels, words):
    assert words_for(channels) == words


@pytest.mark.parametrize("channels", CHANNELS)
def test_bit_c_of_the_words_is_channel_c(channels):
    bits = random_bits(2, 3, channels)
    words = pack_words(bits)
    assert (words.shape, words.dtype) == ((2, 3, words_for(channels)), np.uint64)
    for place in np.ndindex(2, 3):
        number = sum(int(word) << 64 * index for index, word in enumerate(words[place]))
        assert number == sum(1 << c for c in range(channels) if bits[(*place, c)])


@pytest.mark.parametrize("channels", CHANNELS)
def test_the_bits_past_the_last_channel_are_zero(channels):
    words = pack_words(np.ones((2, channels), bool))
    assert all(sum(int(w).bit_count() for w in row) == channels for row in words)


@given(st.lists(st.integers(0, 3), max_size=2), st.integers(1, 200), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_unpacking_words_gives_back_what_was_packed(leading, channels, seed):
    bits = np.random.default_rng(seed).random((*leading, channels)) < 0.5
    np.testing.assert_array_equal(unpack_words(pack_words(bits), channels), bits, strict=True)


def test_words_of_a_strided_array_are_those_of_its_copy():
    bits = random_bits(70, 4, 3).T[:, ::2]
    assert not bits.flags.c_contiguous
    np.testing.assert_array_equal(pack_words(bits), pack_words(bits.copy()))
    words = pack_words(random_bits(2, 4, 130))
    np.testing.assert_array_equal(
        unpack_words(words[:, ::2], 130), unpack_words(words[:, ::2].copy(), 130)
    )


@pytest.mark.parametrize(("words", "channels"), [(1, 65), (2, 64), (0, 1), (3, 128)])
def test_a_number_of_words_that_does_not_fit_is_refused(words, channels):
    with pytest.raises(GraphError, match=f"{channels} channels take .* words, found {words}"):
        unpack_words(np.zeros((2, words), np.uint64), channels)


@pytest.mark.parametrize("channels", [1, 63, 65, 100])
def test_words_with_bits_past_the_last_channel_are_refused(channels):
    words = pack_words(np.zeros((2, channels), bool))
    words[1, -1] |= np.uint64(1) << np.uint64(channels % 64)
    with pytest.raises(GraphError, match="bits past the last channel must be zero"):
        unpack_words(words, channels)


# --- BitArray --------------------------------------------------------------------------------


def test_bit_one_stands_for_minus_one():
    signs = BitArray.from_signs([[-3.0, 2.0, -0.5], [1.0, -1.0, 7.0]])
    assert signs.bits().tolist() == [[True, False, True], [False, True, False]]
    assert signs.signs().tolist() == [[-1, 1, -1], [1, -1, 1]]
    assert signs.signs().dtype == np.int8
    assert signs.stream.tolist() == [0b010101]


def test_both_zeros_count_as_plus_one():
    assert BitArray.from_signs([0.0, -0.0, -1e-300]).signs().tolist() == [1, 1, -1]


def test_nan_has_no_sign():
    with pytest.raises(GraphError, match="NaN has no sign"):
        BitArray.from_signs([1.0, np.nan])


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_a_bit_array_gives_back_its_bits_in_c_order(shape, seed):
    bits = np.random.default_rng(seed).random(shape) < 0.5
    array = BitArray.from_bits(bits)
    assert (array.shape, array.size, array.planes) == (tuple(shape), bits.size, 1)
    np.testing.assert_array_equal(array.bits(), bits, strict=True)
    for index, bit in enumerate(bits.ravel()):
        assert array.stream[index // 8] >> index % 8 & 1 == bit
    assert int.from_bytes(array.stream.tobytes(), "little").bit_count() == bits.sum()


def test_a_transposed_array_is_packed_in_the_order_of_its_own_axes():
    bits = random_bits(5, 3, 2).T
    np.testing.assert_array_equal(BitArray.from_bits(bits).bits(), bits)


def test_the_stream_is_a_read_only_copy():
    stream = np.array([5], np.uint8)
    array = BitArray((3,), stream)
    stream[0] = 0
    assert array.stream.tolist() == [5]
    assert not array.stream.flags.writeable


def test_several_planes_follow_one_another_without_a_gap():
    array = BitArray((3,), np.array([0b110101], np.uint8), planes=2)
    assert array.size == 3
    with pytest.raises(GraphError, match="expected a bit array of one plane, found 2"):
        array.bits()


@pytest.mark.parametrize(
    ("shape", "stream", "planes", "message"),
    [
        ((9,), np.zeros(1, np.uint8), 1, "takes 2 bytes, found an array of shape \\(1,\\)"),
        ((8,), np.zeros(2, np.uint8), 1, "takes 1 bytes, found an array of shape \\(2,\\)"),
        ((8,), np.zeros((1, 1), np.uint8), 1, "found an array of shape \\(1, 1\\)"),
        ((8,), np.zeros(1, np.uint8), 2, "in 2 plane\\(s\\) takes 2 bytes"),
        ((3,), np.array([8], np.uint8), 1, "past the last element .* must be zero"),
        ((3,), np.array([64], np.uint8), 2, "past the last element .* must be zero"),
        ((8,), np.zeros(1), 1, "kept in uint8, found float64"),
        ((8,), [0], 1, "kept in uint8, found int64"),
        ((-1, -8), np.zeros(1, np.uint8), 1, "does not exist"),
        ((8,), np.zeros(0, np.uint8), 0, "does not exist"),
        ((8.0,), np.zeros(1, np.uint8), 1, "shape takes up to 16 integers"),
        (8, np.zeros(1, np.uint8), 1, "shape takes up to 16 integers"),
        ((8,), np.zeros(1, np.uint8), "1", "planes takes an integer"),
        ((2**31 - 1,) * 16, np.zeros(1, np.uint8), 1, "takes \\d+ bytes, found"),
    ],
)
def test_a_bit_array_that_does_not_fit_its_stream_is_refused(shape, stream, planes, message):
    with pytest.raises(GraphError, match=message):
        BitArray(shape, stream, planes)
