"""Bytes as masks, one bit a byte, and the bytes that are not zero; both under Huffman codes.

`bitconv.feature_maps.masked_bytes` says what is written.
"""

from __future__ import annotations

import numpy as np

from bitconv.kernels.byte_masks import compress, expand, mask_of
from bitconv.kernels.cache import kernel
from bitconv.kernels.huffman import read_four, write_bytes
from bitconv.kernels.records import LONGEST_CODE
from bitconv.kernels.words import WORD_BYTES, count_bits, load_word, store_word

_WRITING, _READING = 2 * 256, 2**LONGEST_CODE  # entries of the tables of a code
TABLE_ENTRIES = 2 * (_WRITING + _READING)
STREAMS = 4
_HEAD = 2 * (STREAMS - 1)  # bytes in front: the lengths of all streams but the last one
_UNCODED = 0xFFFF  # in place of the first one: the bytes follow as they are
_SLACK = 4 + WORD_BYTES  # beyond the bytes: what codes may take, and a last word


@kernel
def masked_room(count):
    """Bytes that hold `count` bytes in whole words, and may be written to a word behind them."""
    return (count + 2 * WORD_BYTES - 1) // WORD_BYTES * WORD_BYTES


@kernel
def masked_scratch(scratch, count):
    """The scratch memory cut up: for all bytes, for masks, for bytes to keep, and the rest."""
    room = masked_room(count)
    masks = room // WORD_BYTES
    rest = 2 * room + (masks + WORD_BYTES - 1) // WORD_BYTES * WORD_BYTES
    return scratch[:room], scratch[2 * room :][:masks], scratch[room : 2 * room], scratch[rest:]


@kernel
def encode_masked(symbols, count, tables, masks, kept, out):
    """Encode `count` bytes.

    Parameters
    ----------
    symbols : uint8 array
        The bytes, with room to the end of a word.
    tables : uint32 array
        `MaskedBytes.tables`.
    masks, kept : uint8 arrays
        Of `masked_scratch`.
    out : uint8 array

    Returns
    -------
    int
        Bytes written; −1 where they do not fit, with a word to spare.
    """
    blocks = (count + 7) // 8
    for index in range(count, WORD_BYTES * blocks):
        symbols[index] = 0
    all_kept = _take_zeros_out(symbols, blocks, masks, kept)
    size = min(out.size, count + _SLACK)
    start = _HEAD
    for piece in range(STREAMS):
        at = 8 * start
        for part in range(2):  # a loop where two calls would do: it compiles in half the time
            these, total = (masks, blocks) if part == 0 else (kept, all_kept)
            codes = tables[part * _WRITING : (part + 1) * _WRITING]
            at = write_bytes(these, *_piece(total, piece), codes, out, size, at)
        if at < 0:
            return _copy(symbols, count, out)
        end = (at + 7) >> 3
        if piece < STREAMS - 1:
            _set_number(out, piece, end - start)
        start = end
    return start


@kernel
def decode_masked(data, tables, masks, kept, symbols, count):
    """The inverse of `encode_masked`; bytes behind what it wrote are not looked at.

    Returns
    -------
    int
        Bytes used, or −1 where `data` is nothing that was encoded. Nothing but the scratch memory
        and `symbols` is written to, up to the end of a word, whatever there is in `data`.
    """
    if data.size < 2:
        return -1
    if _number(data, 0) == _UNCODED:
        if data.size < 2 + count:
            return -1
        for index in range(count):
            symbols[index] = data[2 + index]
        return 2 + count
    if data.size < _HEAD:
        return -1
    end0 = _HEAD + _number(data, 0)
    end1 = end0 + _number(data, 1)
    end2 = end1 + _number(data, 2)
    blocks = (count + 7) // 8
    at = (8 * _HEAD, 8 * end0, 8 * end1, 8 * end2)
    these, total = masks, blocks
    for part in range(2):
        codes = tables[part * _WRITING : (part + 1) * _WRITING]
        table = tables[2 * _WRITING + part * _READING :]
        at = read_four(data, table, codes, these, at, _bounds(total))
        these, total = kept, _count_kept(masks, blocks)
        if np.int64(masks[blocks - 1]) >> ((count - 1) % 8 + 1):
            return -1
    _put_zeros_in(symbols, blocks, masks, kept)
    used = (at[3] + 7) >> 3
    fits = (at[0] + 7) >> 3 == end0 and (at[1] + 7) >> 3 == end1 and (at[2] + 7) >> 3 == end2
    return used if fits and used <= data.size else -1


@kernel
def _piece(count, number):
    """First and end of one of STREAMS pieces of `count` things."""
    return count * number // STREAMS, count * (number + 1) // STREAMS


@kernel
def _bounds(count):
    return 0, count // STREAMS, count * 2 // STREAMS, count * 3 // STREAMS, count


@kernel
def _number(data, place):
    return np.int64(data[2 * place]) | np.int64(data[2 * place + 1]) << 8


@kernel
def _set_number(out, place, number):
    out[2 * place], out[2 * place + 1] = np.uint8(number), np.uint8(number >> 8)


@kernel
def _copy(symbols, count, out):
    """Encode without codes."""
    if out.size < count + _SLACK:
        return -1
    _set_number(out, 0, _UNCODED)
    for index in range(count):
        out[2 + index] = symbols[index]
    return 2 + count


@kernel
def _take_zeros_out(symbols, blocks, masks, kept):
    """Masks of the words, and behind each other the bytes that are not zero; the number of them."""
    at = 0
    for block in range(blocks):
        word = load_word(symbols, WORD_BYTES * block)
        mask = mask_of(word)
        masks[np.uint64(block)] = np.uint8(mask)
        store_word(kept, at, compress(word, mask))
        at += count_bits(mask)
    return at


@kernel
def _put_zeros_in(symbols, blocks, masks, kept):
    at = 0
    for block in range(blocks):
        mask = np.uint64(masks[np.uint64(block)])
        store_word(symbols, WORD_BYTES * block, expand(load_word(kept, at), mask))
        at += count_bits(mask)


@kernel
def _count_kept(masks, blocks):
    kept = 0
    for block in range(blocks):
        kept += count_bits(np.uint64(masks[np.uint64(block)]))
    return kept
