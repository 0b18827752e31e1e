"""Tables in the pages of the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A table; all columns from number `left` on to the right."""
    rule = [*["---"] * left, *["---:"] * (len(header) - left)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def split_at_marks(page: Path, begin: str, end: str) -> tuple[str, str, str]:
    """What stands before, between and after the first mark and the next second one."""
    before, begins, rest = page.read_text(encoding="utf-8").partition(begin)
    between, ends, after = rest.partition(end)
    if not (begins and ends):
        raise SystemExit(f"{page}: has no marks {begin} and {end}")
    return before, between, after


def write_between(page: Path, begin: str, end: str, text: str) -> None:
    """Replace what stands between two marks."""
    before, _, after = split_at_marks(page, begin, end)
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
