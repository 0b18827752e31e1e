"""What codecs of feature maps are made of: a transform of strips to bytes, and a coder of bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bitconv.kernels.records import CODE_COUNTERS, CODE_SYMBOLS, LONGEST_CODE


@dataclass(frozen=True)
class Coder:
    """A way to write bytes in fewer, without loss, strip by strip: ``pack_NAME``, ``unpack_NAME``.

    Both have the signature ``(symbols, count, data, constants, tables, scratch)``. Packing writes
    `count` bytes from `symbols`, which has room to the end of a word, to `data`; it may write to
    all of `data`. It returns the number of bytes written, or −1 where `data` is too short.
    Unpacking returns the number of bytes used, where `data` may go on, or −1 where they are nothing
    that was packed; then `symbols` is undefined. It touches nothing else, whatever the data.

    Attributes
    ----------
    module : str
    scratch_bytes : callable
        What both need to pack so many bytes.
    write_tables, read_tables : int
        Bytes of the tables that `PREPARE_WRITING` or `PREPARE_READING` make beforehand, with the
        signature ``(constants, tables, scratch)``; 0 where there are none.
    """

    module: str
    scratch_bytes: Callable[[int], int] = lambda _count: 0
    write_tables: int = 0
    read_tables: int = 0


def _masked_scratch(count: int) -> int:
    """Bytes to keep and a word, masks in whole words, and two int64 for each of four streams.

    Or, before, what making the tables takes.
    """
    words = -(-count // 8)
    return 8 * max(words + 1 + -(-words // 8) + 2 * 4, CODE_COUNTERS)


CODERS = {
    "masked": Coder(
        "masked_bytes",
        _masked_scratch,
        write_tables=2 * 2 * CODE_SYMBOLS * 4,
        read_tables=2 * 2**LONGEST_CODE * 4,
    ),
    "plain": Coder("plain_bytes"),
    "zero_mask": Coder("zero_mask"),
}
# What makes bytes of a strip: ``quantize_NAME`` and ``restore_NAME``, by the module that holds
# them. Both have the signature ``(values, symbols, channels, constants, scratch)``.
TRANSFORMS = {"components": "transform_coding", "dct_cm": "dct_cm", "levels": "levels"}
PREPARE_WRITING, PREPARE_READING = "prepare_writing", "prepare_reading"


def encoding_functions(transform: str, coder: str) -> dict[str, str]:
    """What encodes, by the fields of a record that take the addresses."""
    functions = {"transform": f"quantize_{transform}", "code": f"pack_{coder}"}
    if CODERS[coder].write_tables:
        functions["prepare"] = PREPARE_WRITING
    return functions


def decoding_functions(transform: str, coder: str) -> dict[str, str]:
    """What decodes, by the fields of a record that take the addresses."""
    functions = {"transform": f"restore_{transform}", "code": f"unpack_{coder}"}
    if CODERS[coder].read_tables:
        functions["prepare"] = PREPARE_READING
    return functions
