"""The tables to write and read Huffman codes by, made from the lengths of the codes.

A codec keeps the lengths alone; tables are made where and as long as they are needed. The codes are
canonical, see `bitconv.feature_maps.huffman`: shorter ones first, the first bit lowest.
"""

from __future__ import annotations

import numpy as np

from bitconv.kernels.jit import kernel, subroutine
from bitconv.kernels.records import CODE_COUNTERS, CODE_SYMBOLS, LONGEST_CODE
from bitconv.kernels.views import seen_as

WRITE_ENTRIES = 2 * CODE_SYMBOLS
READ_ENTRIES = 2**LONGEST_CODE
_ESCAPE = CODE_SYMBOLS - 1
_RAW_BITS = 8
_CODES = 2  # of masks and of kept bytes
_FIRST, _SECOND = 16, 24  # where they start
_ONE = 1 << 8  # as a count
_REVERSED = np.array(  # numbers of LONGEST_CODE bits, by their bits in the other order
    [int(f"{code:0{LONGEST_CODE}b}"[::-1], 2) for code in range(READ_ENTRIES)], np.uint16
)


@kernel
def prepare_writing(constants, tables, scratch):
    """The tables to write by, one code's behind the other's: for each byte, bits and their number.

    A byte without a code has that of the escape with its own eight bits behind it.
    """
    entries = seen_as(tables, np.uint32)
    following = seen_as(scratch[: 8 * CODE_COUNTERS], np.int64)
    for number in range(_CODES):
        table = entries[number * WRITE_ENTRIES : (number + 1) * WRITE_ENTRIES]
        lengths = constants[number * CODE_SYMBOLS : (number + 1) * CODE_SYMBOLS]
        _first_codes(lengths, following)
        for symbol in range(CODE_SYMBOLS):
            length = np.int64(lengths[symbol])  # 0: what is written here is replaced below
            table[2 * symbol] = _next_code(following, length)
            table[2 * symbol + 1] = length
        escape, taken = np.int64(table[2 * _ESCAPE]), np.int64(table[2 * _ESCAPE + 1])
        for symbol in range(_ESCAPE):
            if lengths[symbol] == 0:
                table[2 * symbol] = symbol << taken | escape
                table[2 * symbol + 1] = taken + _RAW_BITS


@kernel
def prepare_reading(constants, tables, scratch):
    """The tables to read by, one code's behind the other's: what the next bits begin with.

    An entry is ``second << 24 | first << 16 | count << 8 | bits``: one or two bytes and the bits
    that they take together. An escape has the count and bits 0, and its length in place of a byte.
    """
    entries = seen_as(tables, np.uint32)
    following = seen_as(scratch[: 8 * CODE_COUNTERS], np.int64)
    for number in range(_CODES):
        table = entries[number * READ_ENTRIES : (number + 1) * READ_ENTRIES]
        lengths = constants[number * CODE_SYMBOLS : (number + 1) * CODE_SYMBOLS]
        _first_codes(lengths, following)
        shortest = np.int64(LONGEST_CODE)
        for symbol in range(CODE_SYMBOLS):
            length = np.int64(lengths[symbol])
            if length == 0:
                continue
            if length < shortest:
                shortest = length
            entry = symbol << _FIRST | _ONE | length
            entry = entry if symbol != _ESCAPE else length << _FIRST
            for place in range(_next_code(following, length), READ_ENTRIES, 1 << length):
                table[place] = entry
        if 2 * shortest <= LONGEST_CODE:  # else no two codes fit into an entry
            _pair(table)


@subroutine
def _pair(table):
    """Make entries of two bytes where both codes fit; what follows is an entry further down."""
    for place in range(READ_ENTRIES - 1, -1, -1):
        entry = np.int64(table[place])
        behind = np.int64(table[place >> (entry & 0xFF)])
        bits = (entry & 0xFF) + (behind & 0xFF)
        both = (behind >> _FIRST) << _SECOND | (entry >> _FIRST) << _FIRST | 2 * _ONE | bits
        single = (entry & behind & _ONE) != 0
        table[place] = both if single & (bits <= LONGEST_CODE) else entry


@subroutine
def _first_codes(lengths, following):
    """The first code of each length, the first bit highest."""
    following[0] = code = 0
    for length in range(1, LONGEST_CODE + 1):
        following[length] = code
        for symbol in range(CODE_SYMBOLS):
            code += lengths[symbol] == length
        code <<= 1


@subroutine
def _next_code(following, length):
    """The next code of a length, the first bit lowest."""
    code = following[length]
    following[length] = code + 1
    return np.int64(_REVERSED[code]) >> (LONGEST_CODE - length)
