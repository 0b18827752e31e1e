"""The tables to write and read Huffman codes by, made from the lengths of the codes.

A codec keeps the lengths alone; tables are made where and as long as they are needed. The codes are
canonical, see `bitconv.feature_maps.huffman`: shorter ones first, the first bit lowest.
"""

from __future__ import annotations

import numpy as np

from bitconv.kernels.jit import kernel, subroutine
from bitconv.kernels.records import CODE_SYMBOLS, LONGEST_CODE
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
    counts, order = _cut(scratch)
    for number in range(_CODES):
        table = entries[number * WRITE_ENTRIES : (number + 1) * WRITE_ENTRIES]
        _sort(constants[number * CODE_SYMBOLS : (number + 1) * CODE_SYMBOLS], counts, order)
        place, code = counts[0], 0
        for length in range(1, LONGEST_CODE + 1):
            code <<= 1
            for _ in range(counts[length]):
                symbol = np.int64(order[place])
                table[2 * symbol] = np.int64(_REVERSED[code]) >> (LONGEST_CODE - length)
                table[2 * symbol + 1] = length
                place += 1
                code += 1
        escape, taken = np.int64(table[2 * _ESCAPE]), np.int64(table[2 * _ESCAPE + 1])
        for place in range(counts[0]):
            symbol = np.int64(order[place])
            table[2 * symbol] = symbol << taken | escape
            table[2 * symbol + 1] = taken + _RAW_BITS


@kernel
def prepare_reading(constants, tables, scratch):
    """The tables to read by, one code's behind the other's: what the next bits begin with.

    An entry is ``second << 24 | first << 16 | count << 8 | bits``: one or two bytes and the bits
    that they take together. An escape has the count and bits 0, and its length in place of a byte.
    """
    entries = seen_as(tables, np.uint32)
    counts, order = _cut(scratch)
    for number in range(_CODES):
        table = entries[number * READ_ENTRIES : (number + 1) * READ_ENTRIES]
        _sort(constants[number * CODE_SYMBOLS : (number + 1) * CODE_SYMBOLS], counts, order)
        place, code, size, shortest = counts[0], 0, 1, LONGEST_CODE
        for length in range(1, LONGEST_CODE + 1):
            for index in range(size):  # longer codes that begin alike
                table[size + index] = table[index]
            size <<= 1
            code <<= 1
            if counts[length]:
                shortest = min(shortest, length)
            for _ in range(counts[length]):
                symbol = np.int64(order[place])
                entry = symbol << _FIRST | _ONE | length
                turned = np.int64(_REVERSED[code]) >> (LONGEST_CODE - length)
                table[turned] = entry if symbol != _ESCAPE else length << _FIRST
                place += 1
                code += 1
        if 2 * shortest <= LONGEST_CODE:
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
def _cut(scratch):
    """Memory for `_sort`: an int64 a length, and an uint16 a symbol."""
    end = 8 * (LONGEST_CODE + 1)
    counts, order = scratch[:end], scratch[end : end + 2 * CODE_SYMBOLS]
    return seen_as(counts, np.int64), seen_as(order, np.uint16)


@subroutine
def _sort(lengths, counts, order):
    """Count the codes of each length, and put their symbols into canonical order."""
    counts[:] = 0
    for symbol in range(CODE_SYMBOLS):
        counts[lengths[symbol]] += 1
    before = 0
    for length in range(LONGEST_CODE + 1):
        before += counts[length]
        counts[length] = before
    for symbol in range(CODE_SYMBOLS - 1, -1, -1):
        counts[lengths[symbol]] -= 1
        order[counts[lengths[symbol]]] = symbol
    for length in range(LONGEST_CODE):
        counts[length] = counts[length + 1] - counts[length]
    counts[LONGEST_CODE] = CODE_SYMBOLS - counts[LONGEST_CODE]
