"""Encoding maps of the arena, and decoding them into the program of a step.

An encoded map is a little-endian int64, the number of bytes behind it, and the bytes: what the
codec makes of one strip of pixels after another. A map that does not fit its place has the number
TOO_LARGE. A decoded strip stays in the cache while the pointwise program runs on it, so what the
readers need, signs or a sum with another map, is made without a decoded map in memory.

A codec is a transform, between the values of a strip and bytes, and a coder of those bytes; see
`bitconv.kernels.codecs`. Both are called by address.

Threads share the images: where a strip begins is known once the one before it is decoded.
"""

from __future__ import annotations

import numpy as np

from bitconv.kernels.jit import kernel, subroutine
from bitconv.kernels.linking import ask_address, call_address
from bitconv.kernels.program import locate
from bitconv.kernels.records import BLOCK_PIXELS, CODING, DECODE_MAP, ENCODE_MAP, LENGTH_BYTES
from bitconv.kernels.views import seen_as

TOO_LARGE = -1


@kernel
def encode_map(arena, constants, parameters, program, run_program, images, thread, share, shares):
    """Encode the maps of one share of the images."""
    first_image, end_image = images * share // shares, images * (share + 1) // shares
    if first_image == end_image:
        return  # before the codec is prepared
    p = seen_as(parameters, ENCODE_MAP)[0]
    known, memory = _own(arena, constants, p, thread)
    gathered = seen_as(memory[: p.symbols], np.float32)
    _prepare(p, known, memory, memory[p.spare :])
    pixels = p.rows * p.columns
    for n in range(first_image, end_image):
        start = p.target + n * p.target_image + LENGTH_BYTES
        end = start + p.target_bytes
        place = start
        for first in range(0, pixels, p.strip):
            size = min(p.strip, pixels - first) * p.channels
            if p.gathers:
                strip = gathered[:size]
                _gather(arena, p, n, first, strip)
            else:
                source = p.source_offset + n * p.source_image + first * p.channels
                strip = seen_as(arena[4 * source : 4 * (source + size)], np.float32)
            length = _encode_strip(p, strip, arena[place:end], known, memory)
            if length < 0:
                place = start + TOO_LARGE
                break
            place += length
        seen_as(arena[start - LENGTH_BYTES : start], np.int64)[0] = place - start


@kernel
def decode_map(arena, constants, parameters, program, run_program, images, thread, share, shares):
    """Decode the maps of one share of the images, and run the program on every block of pixels."""
    first_image, end_image = images * share // shares, images * (share + 1) // shares
    if first_image == end_image:
        return  # before the codec is prepared
    p = seen_as(parameters, DECODE_MAP)[0]
    known, memory = _own(arena, constants, p, thread)
    values = seen_as(memory[: p.symbols], np.float32)
    coordinates = seen_as(memory[p.coordinates :], np.int64)
    image, row = coordinates[:BLOCK_PIXELS], coordinates[BLOCK_PIXELS : 2 * BLOCK_PIXELS]
    column = coordinates[2 * BLOCK_PIXELS : 3 * BLOCK_PIXELS]
    _prepare(p, known, memory, memory[: p.symbols])
    pixels = p.rows * p.columns
    for n in range(first_image, end_image):
        place = p.source + n * p.source_image + LENGTH_BYTES
        length = seen_as(arena[place - LENGTH_BYTES : place], np.int64)[0]
        end = place + length
        for first in range(0, pixels, p.strip):
            count = min(p.strip, pixels - first)
            strip = values[: count * p.channels]
            place += _decode_strip(p, strip, arena[place:end], known, memory)
            for block in range(0, count, BLOCK_PIXELS):
                size = min(BLOCK_PIXELS, count - block)
                locate(n * pixels + first + block, size, p.rows, p.columns, image, row, column)
                rows_of_block = (
                    values[block * p.channels :],
                    p.channels,
                    0,
                    p.channels,
                    0,
                    image,
                    row,
                    column,
                    size,
                )
                call_address(run_program, (arena, constants, program, *rows_of_block))


@kernel
def encode_strips(values, data, constants, coding, memory):
    """Encode the values of a map, or of some strips of it, to `data`.

    Parameters
    ----------
    values : float32 array
        In one row.
    data : uint8 array
        May be written to everywhere.
    constants : uint8 array
        `Codec.constants`.
    coding : uint8 array
        A CODING record.
    memory : uint8 array
        See `bitconv.kernels.strips`.

    Returns
    -------
    int
        Bytes written, or −1 where `data` is too short.
    """
    p = seen_as(coding, CODING)[0]
    _prepare(p, constants, memory, memory[p.spare :])
    place, step = 0, p.strip * p.channels
    for first in range(0, values.size, step):
        used = _encode_strip(p, values[first : first + step], data[place:], constants, memory)
        if used < 0:
            return -1
        place += used
    return place


@kernel
def decode_strips(values, data, constants, coding, memory):
    """The inverse: the number of bytes used, where `data` may go on.

    Or −1 where they are no such map; then the values are undefined.
    """
    p = seen_as(coding, CODING)[0]
    _prepare(p, constants, memory, memory[: p.symbols])
    place, step = 0, p.strip * p.channels
    for first in range(0, values.size, step):
        used = _decode_strip(p, values[first : first + step], data[place:], constants, memory)
        if used < 0:
            return -1
        place += used
    return place


@subroutine
def _own(arena, constants, p, thread):
    """What the codec knows, and the memory that a thread works in."""
    start = p.workspace + thread * p.workspace_step
    known = constants[p.constants : p.constants + p.constant_bytes]
    return known, arena[start : start + p.workspace_step]


@subroutine
def _prepare(p, known, memory, scratch):
    """Make the tables of the coder, if it has any."""
    if p.prepare:
        call_address(p.prepare, (known, memory[p.tables : p.spare], scratch))


@subroutine
def _encode_strip(p, values, data, known, memory):
    symbols, tables = memory[p.symbols : p.tables], memory[p.tables : p.spare]
    scratch = memory[p.spare : p.coordinates]
    call_address(p.transform, (values, symbols, p.channels, known, scratch))
    count = values.size // p.channels * p.pixel_symbols
    return ask_address(p.code, (symbols, count, data, known, tables, scratch))


@subroutine
def _decode_strip(p, values, data, known, memory):
    """Decode into `values`; where the values of a strip lie in the memory, the coder works."""
    symbols, tables = memory[p.symbols : p.tables], memory[p.tables : p.spare]
    count = values.size // p.channels * p.pixel_symbols
    used = ask_address(p.code, (symbols, count, data, known, tables, memory[: p.symbols]))
    if used >= 0:
        scratch = memory[p.spare : p.coordinates]
        call_address(p.transform, (values, symbols, p.channels, known, scratch))
    return used


@subroutine
def _gather(arena, p, n, first, values):
    """Copy pixels of a map, from pixel `first` on, to where they follow each other."""
    floats = seen_as(arena, np.float32)
    row, column = first // p.columns, first % p.columns
    for start in range(0, values.size, p.channels):
        place = p.source_offset + n * p.source_image + row * p.source_row + column * p.source_pixel
        read = floats[place : place + p.channels]
        written = values[start : start + p.channels]
        for c in range(p.channels):
            written[c] = read[c]
        column += 1
        if column == p.columns:
            column = 0
            row += 1
