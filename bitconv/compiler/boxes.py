"""Copies of boxes of elements: what concatenation, padding, slices and repacking come down to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bitconv.bits import WORD_BITS
from bitconv.compiler.builder import Address, PlanBuilder, Value
from bitconv.errors import UnsupportedError

MAX_AXES = 4


@dataclass(frozen=True)
class Box:
    """A block of elements to copy, or to fill where there is no source.

    Attributes
    ----------
    shape : tuple of int
    source_steps, target_steps : tuple of int
        Elements (or bits) from one index to the next along each axis.
    source, target : int
        Elements (or bits) before the first one, from the first inner pixel.
    """

    shape: tuple[int, ...]
    source_steps: tuple[int, ...]
    target_steps: tuple[int, ...]
    source: int = 0
    target: int = 0

    def merged(self) -> Box:
        """The same box with as few axes as possible."""
        axes = [
            axis
            for axis in zip(self.shape, self.source_steps, self.target_steps, strict=True)
            if axis[0] > 1
        ]
        merged: list[tuple[int, int, int]] = []
        for axis in axes:
            length, here, there = axis
            if merged and merged[-1][1:] == (length * here, length * there):
                merged[-1] = (merged[-1][0] * length, here, there)
            else:
                merged.append(axis)
        shape, source, target = zip(*(merged or [(1, 0, 0)]), strict=True)
        return replace(self, shape=shape, source_steps=source, target_steps=target)


def steps_of(value: Value, shape: Sequence[int]) -> tuple[int, ...]:
    """Elements, or bits, from one index of a value to the next along each axis of its shape."""
    layout = value.layout
    unit = WORD_BITS if layout.stored == "bits" else 1
    if len(shape) == 3:
        return (layout.row * unit, layout.pixel * unit, 1)
    pixels = [math.prod(shape[axis + 1 : -1]) for axis in range(len(shape) - 1)]
    return (*(count * layout.pixel * unit for count in pixels), 1)


def copy(
    builder: PlanBuilder,
    nodes: Sequence[str],
    reads: Mapping[str, Value],
    writes: Mapping[str, Value],
    boxes: Sequence[tuple[Value | None, Box]],
    fill: float = 0.0,
    clear: bool = True,
) -> None:
    """Append the step that copies all boxes, in order, into the one value of `writes`.

    What no box covers is zeroed before, but not where `clear` says that something is there.
    """
    (target,) = writes.values()
    merged = [(source, box.merged()) for source, box in boxes]
    for _, box in merged:
        if len(box.shape) > MAX_AXES:
            raise UnsupportedError(
                f"node {nodes[0]!r}: moves elements along {len(box.shape)} axes at once, "
                f"at most {MAX_AXES}"
            )
    stored = target.layout.stored
    kernel = {"uint8": "copy_bytes", "float32": "copy_floats", "bits": "copy_bits"}[stored]
    item_bits = 1 if stored == "bits" else target.layout.item_bytes * 8
    if stored == "bits" and all(s is not None and _whole_words(b) for s, b in merged):
        kernel, item_bits = "copy_words", WORD_BITS
        merged = [(source, _in_words(box)) for source, box in merged]
    records = [_record(source, target, box, item_bits, fill) for source, box in merged]
    if clear and (stored == "bits" or not target.layout.dense):
        first = Address(target.buffer, target.layout.item_bytes * 8)
        records[0] |= {"clear": first, "clear_length": target.layout.image}
    builder.add_step(kernel, nodes=nodes, reads=reads.items(), writes=writes, records=records)


def _record(
    source: Value | None, target: Value, box: Box, item_bits: int, fill: float
) -> dict[str, Any]:
    def first(value: Value, offset: int) -> Address:
        inner = value.layout.first * value.layout.item_bytes * 8 // item_bits
        return Address(value.buffer, item_bits, inner + offset)

    record: dict[str, Any] = {
        "source": -1 if source is None else first(source, box.source),
        "source_image": 0 if source is None else source.layout.image,
        "target": first(target, box.target),
        "target_image": target.layout.image,
        "fill": fill,
    }
    skipped = MAX_AXES - len(box.shape)
    for axis in range(MAX_AXES):
        inside = axis >= skipped
        record[f"length{axis}"] = box.shape[axis - skipped] if inside else 1
        record[f"source_step{axis}"] = box.source_steps[axis - skipped] if inside else 0
        record[f"target_step{axis}"] = box.target_steps[axis - skipped] if inside else 0
    return record


def _whole_words(box: Box) -> bool:
    numbers = (
        box.shape[-1],
        box.source,
        box.target,
        *box.source_steps[:-1],
        *box.target_steps[:-1],
    )
    contiguous = box.source_steps[-1] == box.target_steps[-1] == 1
    return contiguous and all(number % WORD_BITS == 0 for number in numbers)


def _in_words(box: Box) -> Box:
    def divided(numbers: tuple[int, ...]) -> tuple[int, ...]:
        return (*(number // WORD_BITS for number in numbers[:-1]), numbers[-1])

    shape = (*box.shape[:-1], box.shape[-1] // WORD_BITS)
    return Box(
        shape,
        divided(box.source_steps),
        divided(box.target_steps),
        box.source // WORD_BITS,
        box.target // WORD_BITS,
    )
