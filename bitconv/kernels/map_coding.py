"""Encoding maps of the arena, and decoding them into the program of a step.

An encoded map is a little-endian int64, the number of bytes behind it, and the bytes: what the
codec makes of one strip of pixels after another. A map that does not fit its place has the number
TOO_LARGE. A decoded strip stays in the cache while the pointwise program runs on it, so what the
readers need, signs or a sum with another map, is made without a decoded map in memory.

Threads share the images: where a strip begins is known once the one before it is decoded.
"""

from __future__ import annotations

import numpy as np

from bitconv.kernels import dct_cm, eight_bit, transform_coding, zero_mask
from bitconv.kernels.cache import kernel
from bitconv.kernels.linking import call_address
from bitconv.kernels.program import locate
from bitconv.kernels.records import BLOCK_PIXELS, DECODE_MAP, ENCODE_MAP, LENGTH_BYTES, STRIP_VALUES
from bitconv.kernels.strips import strip_pixels

TOO_LARGE = -1
_COORDINATES = BLOCK_PIXELS * 8
_BEYOND = 64 * 4  # bytes behind the values, as packing signs reads whole bytes of bits


def workspace_bytes(channels: int, scratch: int) -> int:
    """Memory that a thread needs: values of a strip, coordinates of a block, a codec's scratch."""
    return max(STRIP_VALUES, channels) * 4 + _BEYOND + 3 * _COORDINATES + scratch


@kernel
def _workspace(arena, p, share):
    """Values (float32), image, row and column (int64), and the scratch of the codec (uint8)."""
    at = p.workspace + share * p.workspace_step
    size = max(STRIP_VALUES, p.channels) * 4 + _BEYOND
    values = arena[at : at + size].view(np.float32)
    at += size
    image = arena[at : at + _COORDINATES].view(np.int64)
    row = arena[at + _COORDINATES : at + 2 * _COORDINATES].view(np.int64)
    column = arena[at + 2 * _COORDINATES : at + 3 * _COORDINATES].view(np.int64)
    at += 3 * _COORDINATES
    return values, image, row, column, arena[at : at + p.scratch_bytes]


@kernel
def _encode_maps(encode, arena, constants, parameters, images, share, shares):
    """Encode the maps of one share of the images."""
    p = parameters.view(ENCODE_MAP)[0]
    known = constants[p.constants : p.constants + p.constant_bytes]
    values, _, _, _, scratch = _workspace(arena, p, share)
    pixels, step = p.rows * p.columns, strip_pixels(p.channels)
    for n in range(images * share // shares, images * (share + 1) // shares):
        start = p.target + n * p.target_image + LENGTH_BYTES
        end = start + p.target_bytes
        place = start
        for first in range(0, pixels, step):
            count = min(step, pixels - first)
            _gather(arena, p, n, first, count, values)
            strip = values[: count * p.channels]
            length = encode(strip, p.channels, known, scratch, arena[place:end])
            if length < 0:
                place = start + TOO_LARGE
                break
            place += length
        arena[start - LENGTH_BYTES : start].view(np.int64)[0] = place - start


@kernel
def _gather(arena, p, n, first, count, values):
    """Copy `count` pixels of a map, from pixel `first` on, to where they follow each other."""
    floats = arena.view(np.float32)
    row, column = first // p.columns, first % p.columns
    for pixel in range(count):
        place = p.source_offset + n * p.source_image + row * p.source_row + column * p.source_pixel
        read = floats[place : place + p.channels]
        written = values[pixel * p.channels : (pixel + 1) * p.channels]
        for c in range(p.channels):
            written[c] = read[c]
        column += 1
        if column == p.columns:
            column = 0
            row += 1


@kernel
def _decode_maps(decode, arena, constants, parameters, program, run_program, images, share, shares):
    """Decode the maps of one share of the images, and run the program on every block of pixels."""
    p = parameters.view(DECODE_MAP)[0]
    known = constants[p.constants : p.constants + p.constant_bytes]
    values, image, row, column, scratch = _workspace(arena, p, share)
    pixels, step = p.rows * p.columns, strip_pixels(p.channels)
    for n in range(images * share // shares, images * (share + 1) // shares):
        place = p.source + n * p.source_image + LENGTH_BYTES
        length = arena[place - LENGTH_BYTES : place].view(np.int64)[0]
        end = place + length
        for first in range(0, pixels, step):
            count = min(step, pixels - first)
            strip = values[: count * p.channels]
            place += decode(arena[place:end], p.channels, known, scratch, strip)
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
def encode_dct_cm(arena, constants, parameters, program, run_program, images, share, shares):
    _encode_maps(dct_cm.encode_dct_cm, arena, constants, parameters, images, share, shares)


@kernel
def decode_dct_cm(arena, constants, parameters, program, run_program, images, share, shares):
    _decode_maps(
        dct_cm.decode_dct_cm,
        arena,
        constants,
        parameters,
        program,
        run_program,
        images,
        share,
        shares,
    )


@kernel
def encode_eight_bit(arena, constants, parameters, program, run_program, images, share, shares):
    _encode_maps(eight_bit.encode_eight_bit, arena, constants, parameters, images, share, shares)


@kernel
def decode_eight_bit(arena, constants, parameters, program, run_program, images, share, shares):
    _decode_maps(
        eight_bit.decode_eight_bit,
        arena,
        constants,
        parameters,
        program,
        run_program,
        images,
        share,
        shares,
    )


@kernel
def encode_transform_coding(
    arena, constants, parameters, program, run_program, images, share, shares
):
    _encode_maps(
        transform_coding.encode_transform_coding,
        arena,
        constants,
        parameters,
        images,
        share,
        shares,
    )


@kernel
def decode_transform_coding(
    arena, constants, parameters, program, run_program, images, share, shares
):
    _decode_maps(
        transform_coding.decode_transform_coding,
        arena,
        constants,
        parameters,
        program,
        run_program,
        images,
        share,
        shares,
    )


@kernel
def encode_zero_mask(arena, constants, parameters, program, run_program, images, share, shares):
    _encode_maps(zero_mask.encode_zero_mask, arena, constants, parameters, images, share, shares)


@kernel
def decode_zero_mask(arena, constants, parameters, program, run_program, images, share, shares):
    _decode_maps(
        zero_mask.decode_zero_mask,
        arena,
        constants,
        parameters,
        program,
        run_program,
        images,
        share,
        shares,
    )
