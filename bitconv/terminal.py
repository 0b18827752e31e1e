"""Progress on stderr: a bar on a terminal, a line of text elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

    from bitconv.model import Model


def compile_kernels(model: Model, quiet: bool = False) -> None:
    """Make a model ready to run; say so where that takes compiling, unless `quiet`."""
    if quiet or model.compiled:
        model.prepare()
        return
    notice = "Compiling the kernels for this machine (only the first time)"
    if not sys.stderr.isatty():
        print(f"{notice} ...", file=sys.stderr)
        model.prepare()
        return
    with _bar(notice) as progress:
        task = progress.add_task("", total=None, doing="")

        def report(done: int, total: int, kernel: str) -> None:
            progress.update(task, completed=done, total=total, doing=kernel)

        model.prepare(report)


@contextmanager
def image_progress() -> Iterator[Callable[[int, int], None] | None]:
    """A bar for images done of images in all; nothing where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    with _bar("Classifying") as progress:
        task = progress.add_task("", total=None, doing="")

        def report(done: int, total: int) -> None:
            progress.update(
                task, completed=done, total=total, doing=f"{done:,} of {total:,} images"
            )

        yield report


def _bar(title: str) -> Progress:
    """A bar that leaves no trace."""
    # Imported here, because most commands finish without a bar.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn(title),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[doing]}", markup=False),
        console=Console(stderr=True),
        transient=True,
    )
