"""Bytes as they are."""

from __future__ import annotations

from bitconv.kernels.jit import kernel


@kernel
def pack_plain(symbols, count, out, constants, tables, scratch):
    """Copy `count` bytes; see `bitconv.kernels.codecs.Coder`."""
    if out.size < count:
        return -1
    for index in range(count):
        out[index] = symbols[index]
    return count


@kernel
def unpack_plain(symbols, count, data, constants, tables, scratch):
    """The inverse; any bytes will do if there are enough."""
    if data.size < count:
        return -1
    for index in range(count):
        symbols[index] = data[index]
    return count
