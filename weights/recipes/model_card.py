"""The measured figures in a model's card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

BEGIN = "<!-- figures, written by the recipe -->"
END = "<!-- end of figures -->"


def write_figures(card: Path, figures: Mapping[str, str]) -> None:
    """Replace the table between the card's two marks; a folder without a card stays without."""
    if not card.exists():
        return
    before, begin, rest = card.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{card}: has no place for figures between {BEGIN!r} and {END!r}")
    rows = [f"| {name} | {value} |" for name, value in figures.items()]
    table = "\n".join(["| | |", "|---|---|", *rows])
    card.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}")
