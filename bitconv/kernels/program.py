"""The pointwise program: what happens to a block of values before it leaves the cache.

A kernel leaves its results as float32 rows, one a pixel, in a block of at most
FLOAT_BLOCK_PIXELS × width values. The program then goes over the block once an instruction:

    x ← x · v[c]      x ← x + v[c]      x ← x + m[p, c]      m[p, c] ← x      bit ← x < v[c] ...

Each instruction rounds to float32, in the order of the operators' references, so the result is
theirs bit for bit. The block stays in the first-level cache, and no map exists between operators.
"""

from __future__ import annotations

import numpy as np

from bitconv.kernels.jit import kernel, subroutine
from bitconv.kernels.packing import (
    pack_below,
    pack_not_above,
    pack_word_below,
    pack_word_not_above,
)
from bitconv.kernels.records import INSTRUCTION, Opcode
from bitconv.kernels.spans import (
    add_span,
    copy_span,
    divide_span,
    multiply_span,
    prelu_span,
    relu_span,
    rescale_span,
)
from bitconv.kernels.views import seen_as

FLOAT_BYTES, WORD_BYTES = 4, 8
ADD_VECTOR = int(Opcode.ADD_VECTOR)
MULTIPLY_VECTOR = int(Opcode.MULTIPLY_VECTOR)
DIVIDE_VECTOR = int(Opcode.DIVIDE_VECTOR)
ADD_MAP = int(Opcode.ADD_MAP)
MULTIPLY_PIXEL = int(Opcode.MULTIPLY_PIXEL)
RELU = int(Opcode.RELU)
PRELU = int(Opcode.PRELU)
CLIP = int(Opcode.CLIP)
STORE = int(Opcode.STORE)
SIGN_BELOW = int(Opcode.SIGN_BELOW)
SIGN_NOT_ABOVE = int(Opcode.SIGN_NOT_ABOVE)
RESCALE = int(Opcode.RESCALE)


@subroutine
def locate(first, count, rows, columns, image, row, column):
    """Coordinates of `count` pixels, counted over all images row by row, from pixel `first`."""
    n = first // (rows * columns)
    y = first // columns - n * rows
    x = first % columns
    for pixel in range(count):
        image[pixel], row[pixel], column[pixel] = n, y, x
        x += 1
        if x == columns:
            x = 0
            y += 1
            if y == rows:
                y = 0
                n += 1


@subroutine
def zero(octets, first, end):
    """Zero the bytes from `first` up to `end`."""
    for octet in range(first, end):
        octets[octet] = 0


@subroutine
def clear_ring(arena, item, offset, row_step, pixel_step, height, width, top, left, bottom, right):
    """Zero the ring of pixels around one map whose first inner pixel lies at `offset`.

    Offset and steps count elements of `item` bytes.
    """
    first = offset * item
    row, pixel = row_step * item, pixel_step * item
    zero(arena, first - top * row - left * pixel, first)
    for y in range(height - 1):
        end = first + y * row + width * pixel
        zero(arena, end, end + (left + right) * pixel)
    end = first + (height - 1) * row + width * pixel
    zero(arena, end, end + right * pixel + bottom * row)


@subroutine
def clear_rings(arena, item, instruction, image, row, column, count):
    """Zero the ring of a stored map for every image whose first pixel is in the block."""
    i = instruction
    if i.top + i.left + i.bottom + i.right == 0:
        return
    for pixel in range(count):
        if row[pixel] == 0 and column[pixel] == 0:
            clear_ring(
                arena,
                item,
                i.map_offset + image[pixel] * i.map_image,
                i.map_row,
                i.map_pixel,
                i.height,
                i.width,
                i.top,
                i.left,
                i.bottom,
                i.right,
            )


@subroutine
def clear_tail(octets, offset, channels, words):
    """Zero the bytes of a packed pixel that lie past its last channel."""
    zero(octets, offset + (channels + 7) // 8, offset + words * 8)


@kernel
def run_program(
    arena,
    constants,
    instructions,
    block,
    width,
    channel,
    channels,
    group,
    image,
    row,
    column,
    count,
):
    """Run all instructions on a block; kernels call it by its address.

    Parameters
    ----------
    block : float32 array of at least count × width values
        Row ``p`` holds pixel p's values of the channels from `channel` on.
    width, channel, channels : int
        Row length, first channel, and how many of the row's values exist in the maps.
    group : int
        Convolution group of the channels.
    image, row, column : int64 arrays
        Coordinates of the `count` pixels.
    """
    program = seen_as(instructions, INSTRUCTION)
    floats = seen_as(arena, np.float32)
    words = seen_as(arena, np.uint64)
    vectors = seen_as(constants, np.float32)
    length = count * width
    packed = (channels + 7) // 8 * 8
    values = block[:length]  # a slice: as indices start at zero, Numba leaves out negative ones
    for index in range(len(program)):
        i = program[index]
        opcode = i.opcode
        vector = i.vector + channel * i.rows
        if opcode == MULTIPLY_VECTOR:
            for first in range(0, length, i.rows * width):
                multiply_span(block, first, vectors, vector, min(i.rows * width, length - first))
        elif opcode == RESCALE:
            factor, offset = i.factor + channel * i.rows, i.offset + channel * i.rows
            for first in range(0, length, i.rows * width):
                span = min(i.rows * width, length - first)
                rescale_span(block, first, vectors, vector, vectors, factor, vectors, offset, span)
        elif opcode == ADD_VECTOR:
            for first in range(0, length, i.rows * width):
                add_span(block, first, vectors, vector, min(i.rows * width, length - first))
        elif opcode == DIVIDE_VECTOR:
            for first in range(0, length, i.rows * width):
                divide_span(block, first, vectors, vector, min(i.rows * width, length - first))
        elif opcode == ADD_MAP:
            pixel = 0
            while pixel < count:
                pixels = pixels_at_once(i, width, channels, column, pixel, count)
                place = _place(i, image[pixel], row[pixel], column[pixel]) + channel
                add_span(block, pixel * width, floats, place, pixels * channels)
                pixel += pixels
        elif opcode == MULTIPLY_PIXEL:
            for pixel in range(count):
                x = block[pixel * width : (pixel + 1) * width]
                factor = floats[_place(i, image[pixel], row[pixel], column[pixel]) + group]
                for c in range(width):
                    x[c] *= factor
        elif opcode == RELU:
            relu_span(block, 0, length)
        elif opcode == PRELU:
            for first in range(0, length, i.rows * width):
                prelu_span(block, first, vectors, vector, min(i.rows * width, length - first))
        elif opcode == CLIP:
            low, high = i.low, i.high
            for position in range(len(values)):
                value = values[position]
                value = low if value < low else (high if value > high else value)
                values[position] = value + np.float32(0)  # no masked store, see `spans`
        elif opcode == STORE:
            if channel == 0:
                clear_rings(arena, FLOAT_BYTES, i, image, row, column, count)
            pixel = 0
            while pixel < count:
                pixels = pixels_at_once(i, width, channels, column, pixel, count)
                place = _place(i, image[pixel], row[pixel], column[pixel]) + channel
                copy_span(floats, place, block, pixel * width, pixels * channels)
                pixel += pixels
        else:
            if channel == 0:
                clear_rings(arena, WORD_BYTES, i, image, row, column, count)
            last_block = channel + channels == i.channels
            whole_word = last_block and channel % 64 == 0 and channels <= 64
            for pixel in range(count):
                at = pixel * width
                place = _place(i, image[pixel], row[pixel], column[pixel])
                last, octet = place + i.words - 1, 8 * place + channel // 8
                if whole_word and opcode == SIGN_BELOW:
                    pack_word_below(block, at, vectors, vector, packed, words, last)
                elif whole_word:
                    pack_word_not_above(block, at, vectors, vector, packed, words, last)
                elif opcode == SIGN_BELOW:
                    pack_below(block, at, vectors, vector, packed, arena, octet)
                else:
                    pack_not_above(block, at, vectors, vector, packed, arena, octet)
                if last_block and not whole_word:
                    clear_tail(arena, 8 * place, i.channels, i.words)


@subroutine
def pixels_at_once(instruction, width, channels, column, pixel, count):
    """How many pixels from `pixel` on lie in the map as they lie in the block, without gaps."""
    if not instruction.map_pixel == width == channels:
        return 1
    return min(count - pixel, instruction.width - column[pixel])


@subroutine
def _place(instruction, image, row, column):
    i = instruction
    return i.map_offset + image * i.map_image + row * i.map_row + column * i.map_pixel
