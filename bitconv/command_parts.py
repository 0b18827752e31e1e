"""What several commands share: arguments, a model that is ready, and what it ran on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bitconv.errors import InputError
from bitconv.text import printable

if TYPE_CHECKING:
    from bitconv.model import Model

MODEL_HELP = "A shipped name or the path of an .h5 file."
threads_option = click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Threads to use; all usable cores by default.",
)


@dataclass(frozen=True)
class Engine:
    """What ran: the model as the user named it, and on what."""

    model: str
    threads: int
    instruction_set: str
    vector_bits: int

    @classmethod
    def of(cls, loaded: Model, name: str) -> Engine:
        from bitconv.kernels.target import instruction_set, vector_bits

        return cls(name, loaded.threads, instruction_set(), vector_bits())

    def __str__(self) -> str:
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return (
            f"{printable(self.model)} on {threads}, "
            f"{self.instruction_set} ({self.vector_bits}-bit vectors)"
        )


def load_compiled(name: str, threads: int | None, quiet: bool = False) -> Model:
    """The model with its kernels; tells of compiling unless `quiet`."""
    from bitconv.model import load
    from bitconv.terminal import compile_kernels

    loaded = load(name, threads=threads)
    compile_kernels(loaded, quiet)
    return loaded


def check_place(out: Path, model: Path) -> None:
    """Refuse a place for a model that cannot be written to before there is anything to lose."""
    if os.path.realpath(out) == os.path.realpath(model):
        raise InputError(f"{out}: is the model itself; the new one needs a place of its own")
    check_file_place(out)


def check_file_place(out: Path) -> None:
    """Refuse a place that no file can be written to."""
    if os.path.isdir(out):
        raise InputError(f"{out}: is a folder; name the file to write")
    if os.path.exists(out) and not os.path.isfile(out):
        raise InputError(f"{out}: is no regular file, and cannot be replaced by one")
    if not os.path.isdir(out.parent):
        raise InputError(f"{out}: there is no folder {out.parent}")
    if not os.access(out.parent, os.W_OK):
        raise InputError(f"{out}: the folder {out.parent} cannot be written to")


def check_chart(out: Path | None) -> None:
    """Refuse a chart that cannot be drawn or kept before anything is measured for it."""
    if out is not None:
        from bitconv.profile_plot import check_format

        check_file_place(out)
        check_format(out)
