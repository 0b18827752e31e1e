"""What a step tells its kernel: records of plain numbers.

Every kernel has the signature ``(arena, constants, parameters, program, run_program, images,
thread, share, shares)``: four byte arrays, of which `parameters` holds records of the kernel's own
dtype and `program` INSTRUCTION records; the address of the function that runs the program; the
number of images; whose scratch memory to use, and which share of the work to do. Offsets count
elements of the type they point to (uint8, float32, int32 or uint64), from the start of the arena or
of the constants.
"""

from __future__ import annotations

import enum

import numpy as np

BLOCK_PIXELS = 32  # output pixels a kernel handles at a time
FLOAT_BLOCK_PIXELS = 64  # the same for float maps, whose weights come from further away
BLOCK_CHANNELS = 64  # channels a kernel without filters handles at a time
STRIP_VALUES = 4096  # of a map, encoded together; one pixel, if it has more channels
LONGEST_CODE = 10  # bits of a Huffman code; a table to read by has two to that many entries
CODE_COUNTERS = LONGEST_CODE + 1  # int64 that making a table takes, one a length and one for 0
LENGTH_BYTES = 8  # the int64 in front of an encoded map
MASKED_HEAD = 6  # bytes in front of masked ones: the lengths of all streams but the last one
MASKED_MOST = 4  # bytes beyond the given ones that codes may take
MASKED_SLACK = MASKED_MOST + 8  # those that may be written to: a last word
PIXELS_BLOCK = 8  # pixels that transform coding rotates together
RESTORED_CHANNELS = 64  # that it rotates back together
PANEL_STEPS = 192  # weights of a filter that are floats at a time where all are bits; 64 · 3 taps
PACKED_WORDS = 16  # words of a window at most that is packed before its bits are compared


def _integers(*names: str) -> list[tuple[str, str]]:
    return [(name, "<i8") for name in names]


def _place(name: str) -> list[tuple[str, str]]:
    """Where a map lies in the arena: its first pixel, and the way to the next ones."""
    return _integers(*(f"{name}_{part}" for part in ("offset", "image", "row", "pixel")))


_WINDOW = _integers("kernel_rows", "kernel_columns", "stride_rows", "stride_columns")
_OUTPUT = _integers("rows", "columns")
_SCRATCH = _integers("scratch", "scratch_step")  # bytes


class Opcode(enum.IntEnum):
    """The operations of a pointwise program, on the float32 values x of a block."""

    ADD_VECTOR = 0  # x + v[channel]
    MULTIPLY_VECTOR = 1  # x · v[channel]
    DIVIDE_VECTOR = 2  # x / v[channel]
    ADD_MAP = 3  # x + m[pixel, channel]
    MULTIPLY_PIXEL = 4  # x · m[pixel, group]
    RELU = 5  # x where x > 0, else 0
    PRELU = 6  # x where x > 0, else x · v[channel]
    CLIP = 7  # limited to [low, high]
    STORE = 8  # m[pixel, channel] = x
    SIGN_BELOW = 9  # bit of m = x < v[channel]
    SIGN_NOT_ABOVE = 10  # bit of m = x <= v[channel]
    RESCALE = 11  # x · v[channel] · factor[channel] + offset[channel]


# A kernel to call. Of the last run: how many shares of its work were taken and how many done, and
# the ticks of the clock when the first was begun and the last one done. Then into how many shares
# several threads divide it, and addresses of code and records, for one process.
CALL = np.dtype(
    _integers(
        *("taken", "done", "begun", "ended", "shares"),
        *("kernel", "run_program", "parameters", "parameter_bytes", "program", "program_bytes"),
    )
)

INSTRUCTION = np.dtype(
    [
        # vectors hold a number a channel, repeated for `rows` rows of a block
        *_integers("opcode", "vector", "factor", "offset", "rows"),
        *_place("map"),
        *_integers("height", "width", "channels", "words", "top", "left", "bottom", "right"),
        ("low", "<f4"),
        ("high", "<f4"),
    ],
    align=True,
)

POINTWISE = np.dtype(
    [
        *_place("source"),
        *_OUTPUT,
        *_integers("channels", "source_is_uint8"),
        *_integers("table"),  # 256 floats a channel, what bytes become; -1: themselves
        *_SCRATCH,
    ]
)

POOL = np.dtype(
    [
        *_place("source"),
        *_OUTPUT,
        *_WINDOW,
        *_integers("channels", "height", "width", "top", "left", "largest", "count_padding"),
        *_SCRATCH,
    ]
)

POOL_BITS = np.dtype(
    [
        *_place("source"),
        *_place("target"),
        *_OUTPUT,
        *_WINDOW,
        *_integers("words", "height", "width", "top", "left"),
        *_integers("target_top", "target_left", "target_bottom", "target_right"),
        *_integers("turned"),  # words that change the sign of some channels; -1 when none does
    ]
)

CONV2D = np.dtype(
    [
        *_place("source"),
        *_OUTPUT,
        # steps to the next output row and column, kernel row, and tap within a kernel row
        *_integers("stride_row", "stride_column", "kernel_rows", "row_step", "taps", "tap_step"),
        *_integers("length", "groups", "group_channels", "group_filters", "tiles", "weights"),
        *_SCRATCH,
    ]
)

BINARY_WEIGHT_CONV2D = np.dtype(
    [
        *_place("source"),
        *_OUTPUT,
        *_integers("stride_row", "stride_column", "kernel_rows", "row_step", "taps", "tap_step"),
        *_integers("groups", "group_channels", "group_filters", "tiles", "weights", "depth"),
        # int64 table of a (channel, length, weight start) for every run that shares a scale
        *_integers("runs", "run_table"),
        *_integers("scales"),  # -1 when the program does the scaling
        *_SCRATCH,
    ]
)

BINARY_CONV2D = np.dtype(
    [
        *_place("source"),
        *_OUTPUT,
        *_integers("stride_row", "stride_column", "kernel_rows", "row_step", "taps", "tap_step"),
        *_integers("groups", "group_filters", "tiles", "weights", "filter_words"),
        # int64 table of a (word, length, weight start) for every group and scale segment
        *_integers("segments", "segment_table"),
        # dot product of a window that equals its weights, for every border class
        *_integers("bases", "classes", "row_classes", "column_classes", "column_class_count"),
        *_integers("scales", "limits"),  # -1 when there are none
        # packed windows: signs of a tap, 0 to read the map itself; taps, and the steps between them
        *_integers("tap_signs", "tap_rows", "tap_columns", "tap_row_step", "tap_column_step"),
        *_SCRATCH,
    ]
)

COPY = np.dtype(
    [
        *_integers("source", "source_image", "target", "target_image"),  # source -1: fill instead
        *_integers(*(f"length{axis}" for axis in range(4))),
        *_integers(*(f"source_step{axis}" for axis in range(4))),
        *_integers(*(f"target_step{axis}" for axis in range(4))),
        *_integers("clear", "clear_length"),  # a run of every image to zero first; length 0: none
        ("fill", "<f8"),
    ]
)

SCALE_MAP = np.dtype(
    [
        *_place("source"),
        *_place("target"),
        *_OUTPUT,
        *_WINDOW,
        *_integers("dilation_rows", "dilation_columns", "groups", "group_channels"),
        *_integers("height", "width", "top", "left", "means"),
    ]
)

SOFTMAX = np.dtype([*_place("source"), *_place("target"), *_OUTPUT, *_integers("channels")])

# How strips are encoded, or decoded.
CODING = np.dtype(
    _integers(
        *("prepare", "transform", "code"),  # addresses of functions, for one process; 0: none
        *("channels", "strip", "pixel_symbols"),  # pixels of a strip, bytes that each becomes
        *("symbols", "tables", "spare", "coordinates"),  # in the memory of a thread, see strips
    )
)
_STEP = _integers("constants", "constant_bytes", "workspace", "workspace_step")

ENCODE_MAP = np.dtype(
    [
        *_place("source"),
        *_OUTPUT,
        *_integers("gathers"),  # whether the pixels of a strip do not follow each other
        *_integers("target", "target_image", "target_bytes"),
        *_STEP,
        *CODING.descr,
    ]
)

DECODE_MAP = np.dtype([*_integers("source", "source_image"), *_OUTPUT, *_STEP, *CODING.descr])

# What codecs know. In front of it, where bytes are masked: the lengths of the codes of masks and
# kept bytes, CODE_SYMBOLS of each, and zeros up to LENGTHS_BYTES.
CODE_SYMBOLS = 257  # bytes, and the escape in front of one without a code
LENGTHS_BYTES = 520

LEVELS = np.dtype([("step", "<f8"), *_integers("zero")])
DCT_CM = np.dtype([("step", "<f8"), *_integers("zero"), ("coarseness", "<f8")])  # 0: no DCT

TRANSFORM_CODING = np.dtype([("step", "<f8"), *_integers("components", "after_relu")])
