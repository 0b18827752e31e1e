"""Progress on stderr: a bar on a terminal, a line of text elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING

COMPILING = "Compiling the kernels for this machine (only the first time)"

if TYPE_CHECKING:
    from rich.progress import Progress

    from bitconv.kernels.warmup import Report
    from bitconv.model import Model


def compile_kernels(model: Model, quiet: bool = False) -> None:
    """Make a model ready to run; say so where that takes compiling, unless `quiet`."""
    with nullcontext() if quiet else compile_progress() as progress:
        model.prepare(progress)


@contextmanager
def compile_progress() -> Iterator[Report]:
    """A bar for the functions that are compiled, from the first one on."""
    with ExitStack() as stack:
        bar: Progress | None = None

        def report(done: int, total: int, function: str) -> None:
            nonlocal bar
            if bar is None and sys.stderr.isatty():
                bar = stack.enter_context(_bar(COMPILING))
                bar.add_task("", total=total, doing="")
            if bar is not None:
                bar.update(bar.task_ids[0], completed=done, doing=function)
            elif done == 0:
                print(f"{COMPILING} ...", file=sys.stderr)

        yield report


def image_progress() -> AbstractContextManager[Callable[[int, int], None] | None]:
    """A bar for images done of images in all; nothing where stderr is no terminal."""
    return progress_bar("Classifying", "images")


@contextmanager
def progress_bar(title: str, things: str) -> Iterator[Callable[[int, int], None] | None]:
    """A bar for things done of things in all; nothing where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    with _bar(title) as progress:
        task = progress.add_task("", total=None, doing="")

        def report(done: int, total: int) -> None:
            progress.update(
                task, completed=done, total=total, doing=f"{done:,} of {total:,} {things}"
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
