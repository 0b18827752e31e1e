"""Bytes as masks, one bit a byte, and the bytes that are not zero; both under Huffman codes.

`bitconv.feature_maps.masked_bytes` says what is written.
"""

from __future__ import annotations

import numpy as np

from bitconv.kernels.byte_masks import compress, expand, mask_of
from bitconv.kernels.huffman import STREAMS, first_of, read_four, write_bytes
from bitconv.kernels.huffman_tables import READ_ENTRIES, WRITE_ENTRIES
from bitconv.kernels.jit import kernel, subroutine
from bitconv.kernels.records import CODE_SYMBOLS, MASKED_HEAD, MASKED_SLACK
from bitconv.kernels.views import seen_as
from bitconv.kernels.words import WORD_BYTES, count_bits, load_word, store_word

_UNCODED = 0xFFFF  # in place of the first length: the bytes follow as they are


@kernel
def pack_masked(symbols, count, out, constants, tables, scratch):
    """Encode `count` bytes; see `bitconv.kernels.codecs.Coder`."""
    blocks = (count + 7) // 8
    for index in range(count, WORD_BYTES * blocks):
        symbols[index] = 0
    masks, kept, _, _ = _cut(scratch, blocks)
    all_kept = _take_zeros_out(symbols, blocks, masks, kept)
    size = min(out.size, count + MASKED_SLACK)
    start = MASKED_HEAD
    for piece in range(STREAMS):
        at = 8 * start
        for part in range(2):  # a loop where two calls would do: it compiles in half the time
            these, total = (masks, blocks) if part == 0 else (kept, all_kept)
            table = seen_as(tables[4 * part * WRITE_ENTRIES :], np.uint32)
            first, end = first_of(total, piece), first_of(total, piece + 1)
            at = write_bytes(these, first, end, table, out, size, at)
        if at < 0:
            return _copy(symbols, count, out)
        end = (at + 7) >> 3
        if piece < STREAMS - 1:
            _set_number(out, piece, end - start)
        start = end
    return start


@kernel
def unpack_masked(symbols, count, data, constants, tables, scratch):
    """Decode `count` bytes; see `bitconv.kernels.codecs.Coder`."""
    if data.size < 2:
        return -1
    if _number(data, 0) == _UNCODED:
        if data.size < 2 + count:
            return -1
        for index in range(count):
            symbols[index] = data[2 + index]
        return 2 + count
    if data.size < MASKED_HEAD:
        return -1
    blocks = (count + 7) // 8
    masks, kept, at, index = _cut(scratch, blocks)
    _set_starts(data, at)
    these, total = masks, blocks
    for part in range(2):
        table = seen_as(tables[4 * part * READ_ENTRIES :], np.uint32)
        lengths = constants[part * CODE_SYMBOLS :]
        read_four(data, table, lengths, these, total, at, index)
        if part == 0:
            if np.int64(masks[blocks - 1]) >> ((count - 1) % 8 + 1):
                return -1
            these, total = kept, _count_kept(masks, blocks)
    _put_zeros_in(symbols, blocks, masks, kept)
    ends, starts = at, index
    for stream in range(STREAMS):
        ends[stream] = (ends[stream] + 7) >> 3
    used = ends[STREAMS - 1]
    _set_starts(data, starts)
    for stream in range(1, STREAMS):
        if starts[stream] != 8 * ends[stream - 1]:
            return -1
    return used if used <= data.size else -1


@subroutine
def _cut(scratch, blocks):
    """The scratch memory: masks, bytes to keep, and two numbers a stream."""
    room = WORD_BYTES * (blocks + 1)  # of bytes to keep: they are stored in words
    first = room + (blocks + WORD_BYTES - 1) // WORD_BYTES * WORD_BYTES
    end = first + 8 * STREAMS
    at, index = scratch[first:end], scratch[end : end + 8 * STREAMS]
    return scratch[room:first], scratch[:room], seen_as(at, np.int64), seen_as(index, np.int64)


@subroutine
def _set_starts(data, at):
    """Where each stream starts, in bits."""
    start = MASKED_HEAD
    for stream in range(STREAMS):
        at[stream] = 8 * start
        if stream < STREAMS - 1:
            start += _number(data, stream)


@subroutine
def _number(data, place):
    return np.int64(data[2 * place]) | np.int64(data[2 * place + 1]) << 8


@subroutine
def _set_number(out, place, number):
    out[2 * place], out[2 * place + 1] = np.uint8(number), np.uint8(number >> 8)


@subroutine
def _copy(symbols, count, out):
    """Encode without codes."""
    if out.size < count + MASKED_SLACK:
        return -1
    _set_number(out, 0, _UNCODED)
    for index in range(count):
        out[2 + index] = symbols[index]
    return 2 + count


@subroutine
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


@subroutine
def _put_zeros_in(symbols, blocks, masks, kept):
    at = 0
    for block in range(blocks):
        mask = np.uint64(masks[np.uint64(block)])
        store_word(symbols, WORD_BYTES * block, expand(load_word(kept, at), mask))
        at += count_bits(mask)


@subroutine
def _count_kept(masks, blocks):
    kept = 0
    for block in range(blocks):
        kept += count_bits(np.uint64(masks[np.uint64(block)]))
    return kept
