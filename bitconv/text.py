"""Plain text for people: aligned tables, numbers with units, safe strings."""

from __future__ import annotations

from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Aligned columns with a rule under the header; the first `left` columns are text."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(_aligned(cells, widths, left) for cells in lines)


def _aligned(cells: Sequence[str], widths: Sequence[int], left: int) -> str:
    padded = [
        cell.ljust(width) if index < left else cell.rjust(width)
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded).rstrip()


def printable(text: str) -> str:
    """The text with control characters replaced, so that it cannot steer a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def printable_lines(text: str) -> str:
    """Several lines, each of them printable."""
    return "\n".join(map(printable, text.split("\n")))


def short_count(number: int) -> str:
    """Three or four digits and a unit: 950, 12.3 k, 37.75 M, 1.82 G."""
    if number < 1000:
        return str(number)
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.4g} {unit}"
    raise AssertionError  # every number from 1000 up has a unit
