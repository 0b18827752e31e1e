"""Progress on stderr: a bar on a terminal, a line of text elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

COMPILING = "Compiling the kernels for this machine (only the first time)"

if TYPE_CHECKING:
    from rich.progress import Progress

    from bitconv.model import Model


def compile_kernels(model: Model, quiet: bool = False) -> None:
    """Make a model ready to run; say so where that takes compiling, unless `quiet`."""
    from bitconv.kernels.warmup import compile_side_by_side

    missing = model.uncompiled()
    if not missing:
        pass
    elif quiet:
        compile_side_by_side(missing)
    elif not sys.stderr.isatty():
        print(f"{COMPILING} ...", file=sys.stderr)
        compile_side_by_side(missing)
    else:
        with _bar(COMPILING) as progress:
            task = progress.add_task("", total=len(missing), doing="")

            def report(done: int, kernel: str) -> None:
                progress.update(task, completed=done, doing=kernel)

            compile_side_by_side(missing, report)
    model.prepare()


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
