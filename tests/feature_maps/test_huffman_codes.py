"""Canonical Huffman codes over bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bitconv.errors import GraphError
from bitconv.feature_maps.huffman import ESCAPE, LONGEST, HuffmanCode
from bitconv.feature_maps.masked_bytes import MaskedBytes
from bitconv.kernels.codecs import PREPARE_READING, PREPARE_WRITING
from bitconv.kernels.huffman_tables import READ_ENTRIES, WRITE_ENTRIES
from bitconv.kernels.registry import function

OCTETS = st.binary(max_size=300).map(lambda octets: np.frombuffer(octets, np.uint8))
STEEP = st.builds(  # counts that an unlimited code would give very long codes
    lambda seed, size: np.random.default_rng(seed).geometric(0.5, size).clip(1, 255),
    st.integers(0, 2**32),
    st.integers(1, 3000),
).map(lambda symbols: symbols.astype(np.uint8))


def test_the_codes_of_a_small_alphabet():
    code = HuffmanCode.from_symbols(np.uint8([7] * 8 + [3] * 4 + [200] * 2))
    known = {symbol: int(code.lengths[symbol]) for symbol in (7, 3, 200, ESCAPE)}
    assert known == {7: 1, 3: 2, 200: 3, ESCAPE: 3}
    # Canonical 0, 10, 110 and 111, with the first bit lowest
    assert [int(code.codes[symbol]) for symbol in known] == [0b0, 0b01, 0b011, 0b111]
    assert code.bits(np.uint8([3, 7, 200])).tolist() == [1, 0, 0, 1, 1, 0]


def test_a_byte_without_a_code_is_escaped():
    code = HuffmanCode.from_symbols(np.uint8([7] * 8 + [3] * 4))
    assert code.bits(np.uint8([5])).tolist() == [1, 1, *(1, 0, 1, 0, 0, 0, 0, 0)]


@settings(max_examples=100, deadline=None)
@given(st.one_of(OCTETS, STEEP), OCTETS)
def test_any_bytes_are_read_as_they_were_written(seen, symbols):
    code = HuffmanCode.from_symbols(seen)
    found = code.read(iter(code.bits(symbols)), len(symbols))
    np.testing.assert_array_equal(found, symbols)


@settings(max_examples=100, deadline=None)
@given(st.one_of(OCTETS, STEEP))
def test_a_code_takes_at_most_a_bit_more_than_the_entropy(seen):
    counts = np.bincount(seen, minlength=256)
    shares = np.append(counts, 1) / (len(seen) + 1)  # the escape counts as one
    used = shares > 0
    entropy = -(shares[used] * np.log2(shares[used])).sum()
    code = HuffmanCode.from_symbols(seen)
    mean = (code.lengths * shares).sum()
    # What a limit of 10 bits costs is small, but no theorem says how small
    assert entropy - 1e-9 <= mean <= entropy + (1 if code.lengths.max() < LONGEST else 1.1)


def table_of(code: HuffmanCode, prepare: str, entries: int):
    """The table that a kernel makes for the kept bytes, behind that of another code."""
    masks = HuffmanCode.from_symbols(np.uint8([1, 2]))
    tables = np.zeros(2 * 4 * entries, np.uint8)
    function(prepare)(MaskedBytes(masks, code).lengths, tables, np.zeros(1000, np.uint8))
    return tables.view(np.uint32)[entries:]


@settings(max_examples=20, deadline=None)
@given(st.one_of(OCTETS, STEEP))
def test_the_table_to_write_by_has_the_code_of_every_byte(seen):
    code = HuffmanCode.from_symbols(seen)
    table = table_of(code, PREPARE_WRITING, WRITE_ENTRIES)
    for symbol in range(256):
        bits = code.bits(np.uint8([symbol]))
        assert table[2 * symbol] == sum(int(bit) << place for place, bit in enumerate(bits))
        assert table[2 * symbol + 1] == len(bits) == code.taken[symbol]


@settings(max_examples=20, deadline=None)
@given(st.one_of(OCTETS, STEEP))
@example(np.arange(200, dtype=np.uint8))  # no two codes fit into an entry
def test_the_table_to_read_by_says_what_bits_begin_with(seen):
    code = HuffmanCode.from_symbols(seen)
    table = table_of(code, PREPARE_READING, READ_ENTRIES)
    for index in range(0, 2**LONGEST, 31):
        entry = int(table[index])
        count, taken, symbols = entry >> 8 & 0xFF, entry & 0xFF, (entry >> 16 & 0xFF, entry >> 24)
        bits = [index >> place & 1 for place in range(LONGEST)]
        if count:
            expected = code.read(iter(bits), count)
            assert symbols[:count] == tuple(expected)
            assert taken == len(code.bits(expected)) <= LONGEST
            assert count == codes_within(code, bits)
        else:
            assert taken == 0
            assert symbols[0] == code.lengths[ESCAPE]


def codes_within(code, bits):
    """How many bytes' own codes, two at most, some bits are known to begin with."""
    (first,) = code.read(iter(bits), 1)
    rest = bits[code.lengths[first] :]
    known = [byte for byte in range(256) if 0 < code.lengths[byte] <= len(rest)]
    codes = [code.bits(np.uint8([byte])).tolist() for byte in known]
    return 1 + any(rest[: len(each)] == each for each in codes)


def lengths(**changes):
    code = np.zeros(257, np.uint8)
    code[[1, 2, ESCAPE]] = 1, 2, 2
    for place, length in changes.items():
        code[int(place[1:])] = length
    return code


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lengths()[:256], "257 lengths in uint8"),
        (lengths().astype(np.int64), "257 lengths in uint8"),
        (lengths(_256=0, _1=1, _2=1), "has an escape"),
        (lengths(_2=11), "at most 10 bits"),
        (lengths(_3=2), "no code unused"),
        (lengths(_1=2), "no code unused"),
    ],
)
def test_lengths_of_no_complete_code_are_refused(given, message):
    assert HuffmanCode(lengths()).lengths[ESCAPE] == 2
    with pytest.raises(GraphError, match=message):
        HuffmanCode(given)
