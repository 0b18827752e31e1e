"""Static Huffman codes over bytes: writing and reading streams of bits.

Bit i of a stream is bit ``i % 8`` of byte ``i // 8``. What the tables hold is said where they are
made, in `bitconv.kernels.huffman_tables`.
"""

from __future__ import annotations

import numpy as np

from bitconv.kernels.jit import subroutine
from bitconv.kernels.records import LONGEST_CODE
from bitconv.kernels.words import WORD_BYTES, load_some, load_word, store_half, store_word

_WRITES = 5  # codes that a word has room for behind seven bits
_LOOKUPS = 5  # codes or pairs of codes that are in a word, even if seven bits are gone
_ROOM = 2 * _LOOKUPS
_PEEK = np.uint64(2**LONGEST_CODE - 1)
_BYTE = np.uint64(0xFF)
_SYMBOLS, _COUNT = np.uint64(16), np.uint64(8)  # where they start in an entry to read by
_COUNT_AND_BITS = np.uint64(0xFFFF)
_SHIFT = np.uint64(63)
STREAMS = 4


@subroutine
def write_bytes(symbols, first, end, table, out, size, at):
    """Append the codes of ``symbols[first:end]`` to a stream.

    Parameters
    ----------
    symbols : uint8 array
    table : uint32 array of shape (WRITE_ENTRIES,)
        See `prepare_writing`.
    out : uint8 array
        The stream. A whole word is written at a time, so bytes behind the end change.
    size : int
        Bytes of `out` that may be written to.
    at : int
        Bits written before, or −1 for what did not fit.

    Returns
    -------
    int
        Bits written, or −1 where not even an empty word would be left in `size`.
    """
    place = at >> 3
    if at < 0 or place + WORD_BYTES > size:
        return -1
    held = np.uint64(at & 7)
    word = np.uint64(out[place]) & ((np.uint64(1) << held) - np.uint64(1))
    index = np.uint64(first)
    for _ in range((end - first) // _WRITES):
        longer, more = word, held
        for ahead in range(_WRITES):
            longer, more = _append(longer, more, table, symbols[index + np.uint64(ahead)])
        if more > _SHIFT:  # there are escapes
            at = _write_slowly(symbols, index, _WRITES, table, out, size, place, word, held)
            if at < 0:
                return -1
            place, held = at >> 3, np.uint64(at & 7)
            word = np.uint64(out[place])
        else:
            place, word, held = _flush(out, place, longer, more)
        if place + WORD_BYTES > size:
            return -1
        index += np.uint64(_WRITES)
    return _write_slowly(
        symbols, index, (end - first) % _WRITES, table, out, size, place, word, held
    )


@subroutine
def _write_slowly(symbols, index, count, table, out, size, place, word, held):
    """`write_bytes` of `count` bytes from a word that holds some bits, one byte after another."""
    for ahead in range(count):
        word, held = _append(word, held, table, symbols[index + np.uint64(ahead)])
        place, word, held = _flush(out, place, word, held)
        if place + WORD_BYTES > size:
            return -1
    out[place] = np.uint8(word)
    return (place << 3) + np.int64(held)


@subroutine
def _append(word, held, table, symbol):
    """A word that holds some bits, with those of a byte's code behind them."""
    entry = np.uint64(symbol) << np.uint64(1)
    code, taken = np.uint64(table[entry]), np.uint64(table[entry | np.uint64(1)])
    return word | code << (held & _SHIFT), held + taken


@subroutine
def _flush(out, place, word, held):
    """Write all bits; those of the last byte, if it is not full, are held still."""
    store_word(out, place, word)
    full = held & np.uint64(56)
    return place + np.int64(full >> np.uint64(3)), word >> full, held & np.uint64(7)


@subroutine
def read_four(data, table, lengths, symbols, count, at, index):
    """Read the STREAMS pieces of ``symbols[:count]``, each from a stream of its own, at once.

    A processor waits for each entry before it can look up the next one; meanwhile it can do the
    same for other streams.

    Parameters
    ----------
    data, table, lengths, symbols
        See `read_bytes`.
    at : int64 array of shape (STREAMS,)
        Bits read before, and afterwards, of each stream.
    index : int64 array of shape (STREAMS,)
        For the next symbol of each stream.
    """
    for piece in range(STREAMS):
        index[piece] = first_of(count, piece)
    escaped = True
    while escaped:
        escaped = _read_to_an_escape(data, table, symbols, count, at, index)
        for piece in range(STREAMS):
            end = first_of(count, piece + 1)
            end = min(index[piece] + 1, end) if escaped else end
            at[piece] = read_bytes(data, table, lengths, symbols, at[piece], index[piece], end)
            index[piece] = end


@subroutine
def first_of(count, piece):
    """Where a piece of `count` things starts, of STREAMS pieces, and the one before it ends."""
    return count * piece // STREAMS


@subroutine
def _read_to_an_escape(data, table, symbols, count, at, index):
    """Read from all streams until one stands at an escape, or has few symbols or bytes left.

    Returns
    -------
    bool
        Whether a stream stands at an escape.
    """
    at0, at1, at2, at3 = at[0], at[1], at[2], at[3]
    index0, index1, index2, index3 = index[0], index[1], index[2], index[3]
    end0, end1, end2 = first_of(count, 1), first_of(count, 2), first_of(count, 3)
    last = data.size - WORD_BYTES
    escaped = False
    while (
        not escaped
        and min(min(end0 - index0, end1 - index1), min(end2 - index2, count - index3)) >= _ROOM
        and max(max(at0, at1), max(at2, at3)) >> 3 <= last
    ):
        window0 = load_word(data, at0 >> 3) >> np.uint64(at0 & 7)
        window1 = load_word(data, at1 >> 3) >> np.uint64(at1 & 7)
        window2 = load_word(data, at2 >> 3) >> np.uint64(at2 & 7)
        window3 = load_word(data, at3 >> 3) >> np.uint64(at3 & 7)
        done0, done1 = np.uint64(index0) << _COUNT, np.uint64(index1) << _COUNT
        done2, done3 = np.uint64(index2) << _COUNT, np.uint64(index3) << _COUNT
        taken0 = taken1 = taken2 = taken3 = np.uint64(0)
        for _ in range(_LOOKUPS):
            window0, done0, taken0 = _look_up(table, symbols, window0, done0)
            window1, done1, taken1 = _look_up(table, symbols, window1, done1)
            window2, done2, taken2 = _look_up(table, symbols, window2, done2)
            window3, done3, taken3 = _look_up(table, symbols, window3, done3)
        at0, index0 = at0 + np.int64(done0 & _BYTE), np.int64(done0 >> _COUNT)
        at1, index1 = at1 + np.int64(done1 & _BYTE), np.int64(done1 >> _COUNT)
        at2, index2 = at2 + np.int64(done2 & _BYTE), np.int64(done2 >> _COUNT)
        at3, index3 = at3 + np.int64(done3 & _BYTE), np.int64(done3 >> _COUNT)
        escaped = min(min(taken0, taken1), min(taken2, taken3)) == 0
    at[0], at[1], at[2], at[3] = at0, at1, at2, at3
    index[0], index[1], index[2], index[3] = index0, index1, index2, index3
    return escaped


@subroutine
def _look_up(table, symbols, window, done):
    """Take what a window begins with; an escape takes nothing, and is found again.

    `done` is the number of bits taken from the window, and from its second byte on the index of the
    next symbol; what is returned last is what was added to it.
    """
    entry = np.uint64(table[window & _PEEK])
    store_half(symbols, np.int64(done >> _COUNT), entry >> _SYMBOLS)
    taken = entry & _COUNT_AND_BITS
    return window >> (entry & _SHIFT), done + taken, taken


@subroutine
def read_bytes(data, table, lengths, symbols, at, index, end):
    """Read ``symbols[index:end]`` from a stream that goes on with zeros behind the end of `data`.

    Parameters
    ----------
    data : uint8 array
    table : uint32 array of shape (READ_ENTRIES,)
        See `prepare_reading`.
    lengths : uint8 array of shape (CODE_SYMBOLS,)
        Bits of the code of each byte.
    symbols : uint8 array
    at : int
        Bits read before.

    Returns
    -------
    int
        Bits read.
    """
    while index < end:
        window = load_some(data, at >> 3) >> np.uint64(at & 7)
        entry = np.uint64(table[window & _PEEK])
        symbol, count = np.uint8(entry >> _SYMBOLS), entry >> _COUNT & _BYTE
        if count == 2 and index + 1 < end:
            store_half(symbols, index, entry >> _SYMBOLS)
            at += np.int64(entry & _BYTE)
            index += 2
        elif count:
            symbols[index] = symbol
            at += np.int64(lengths[symbol])
            index += 1
        else:
            symbols[index] = np.uint8(window >> np.uint64(symbol))
            at += np.int64(symbol) + 8
            index += 1
    return at
