"""Moving elements: concatenation, padding, slices, transposition and other packings of bits.

Each record of the parameters copies a four-dimensional box,

    target[t + Σ i_k · target_step_k] = source[s + Σ i_k · source_step_k]

or fills it with a constant. Offsets and steps count elements; in `copy_bits` they count bits.
"""

from __future__ import annotations

import numpy as np

from bitconv.kernels.jit import kernel, subroutine
from bitconv.kernels.records import COPY
from bitconv.kernels.views import seen_as


@kernel
def copy_floats(arena, constants, parameters, program, run_program, images, thread, share, shares):
    """Boxes of float32."""
    boxes = seen_as(parameters, COPY)
    values = seen_as(arena, np.float32)
    for image in range(images * share // shares, images * (share + 1) // shares):
        for index in range(len(boxes)):
            p = boxes[index]
            _clear(values, p, image)
            _copy_box(values, p, image, np.float32(p.fill))


@kernel
def copy_words(arena, constants, parameters, program, run_program, images, thread, share, shares):
    """Boxes of packed bits whose channels fill whole words."""
    boxes = seen_as(parameters, COPY)
    values = seen_as(arena, np.uint64)
    for image in range(images * share // shares, images * (share + 1) // shares):
        for index in range(len(boxes)):
            p = boxes[index]
            _clear(values, p, image)
            _copy_box(values, p, image, np.uint64(0))


@kernel
def copy_bytes(arena, constants, parameters, program, run_program, images, thread, share, shares):
    """Boxes of bytes."""
    boxes = seen_as(parameters, COPY)
    for image in range(images * share // shares, images * (share + 1) // shares):
        for index in range(len(boxes)):
            p = boxes[index]
            _clear(arena, p, image)
            _copy_box(arena, p, image, np.uint8(p.fill))


@kernel
def copy_bits(arena, constants, parameters, program, run_program, images, thread, share, shares):
    """Boxes of packed bits at any offset."""
    boxes = seen_as(parameters, COPY)
    words = seen_as(arena, np.uint64)
    for image in range(images * share // shares, images * (share + 1) // shares):
        for index in range(len(boxes)):
            p = boxes[index]
            _clear(words, p, image)
            _copy_bit_box(words, p, image)


@subroutine
def _clear(values, p, image):
    start = p.clear + image * p.target_image
    for element in range(start, start + p.clear_length):
        values[element] = 0


@subroutine
def _copy_box(values, p, image, fill):
    source = p.source + image * p.source_image
    target = p.target + image * p.target_image
    for i in range(p.length0):
        for j in range(p.length1):
            for k in range(p.length2):
                there = target + i * p.target_step0 + j * p.target_step1 + k * p.target_step2
                if p.source < 0:
                    for c in range(p.length3):
                        values[there + c * p.target_step3] = fill
                else:
                    here = source + i * p.source_step0 + j * p.source_step1 + k * p.source_step2
                    for c in range(p.length3):
                        values[there + c * p.target_step3] = values[here + c * p.source_step3]


@subroutine
def _copy_bit_box(words, p, image):
    """`_copy_box` bit by bit; −1 in `fill` sets bits, as bit 1 stands for −1."""
    source = p.source + image * p.source_image * 64
    target = p.target + image * p.target_image * 64
    for i in range(p.length0):
        for j in range(p.length1):
            for k in range(p.length2):
                for c in range(p.length3):
                    there = (
                        target
                        + i * p.target_step0
                        + j * p.target_step1
                        + k * p.target_step2
                        + c * p.target_step3
                    )
                    bit = np.uint64(p.fill < 0)
                    if p.source >= 0:
                        here = (
                            source
                            + i * p.source_step0
                            + j * p.source_step1
                            + k * p.source_step2
                            + c * p.source_step3
                        )
                        bit = words[here // 64] >> np.uint64(here % 64) & np.uint64(1)
                    place = np.uint64(there % 64)
                    rest = words[there // 64] & ~(np.uint64(1) << place)
                    words[there // 64] = rest | bit << place
