"""The commands that measure: how often a model is right, and how long it takes."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

import click

from bitconv.command_parts import Engine, check_chart, load_compiled, threads_option
from bitconv.shipped import DEFAULT_MODEL


@click.command()
@click.argument("model")
@click.argument("data", type=click.Path(path_type=Path))
@threads_option
def evaluate(model: str, data: Path, threads: int | None) -> None:
    """Measure the accuracy of a model on labelled pictures.

    DATA is a folder or file of CIFAR-10's binary batches, or a folder with one folder of pictures
    a class.
    """
    from bitconv import evaluation
    from bitconv.datasets import open_dataset
    from bitconv.terminal import image_progress

    dataset = open_dataset(data)
    loaded = load_compiled(model, threads)
    with image_progress() as progress:
        result = evaluation.evaluate(loaded, dataset, progress)
    print(f"{result}\n\n{Engine.of(loaded, model)}")


@click.command()
@click.argument("model")
@click.argument("image", required=False, type=click.Path(path_type=Path))
@click.option(
    "--plot",
    "picture",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Draw the steps as bars; the ending decides the format.",
)
@threads_option
@click.option(
    "--repeat",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="How many runs to take medians of.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
def profile(
    model: str,
    image: Path | None,
    picture: Path | None,
    threads: int | None,
    repeat: int,
    as_json: bool,
) -> None:
    """Time every step of a model on a picture; by default on noise."""
    check_chart(picture)
    loaded = load_compiled(model, threads, quiet=as_json)
    result = loaded.profile(image, repeat=repeat)
    engine = Engine.of(loaded, model)
    if as_json:
        print(json.dumps({**asdict(engine), **asdict(result)}, indent=2))
    else:
        print(f"{result}\n\n{engine}")
    if picture is not None:
        from bitconv.profile_plot import plot

        plot(result, picture)


@click.command()
@click.argument("model", default=DEFAULT_MODEL)
def bench(model: str) -> None:
    """Time a model beside its layers in float32 in other engines, for a minute or so."""
    from bitconv.peers.bench import compare_engines

    loaded = load_compiled(model, None)
    print(compare_engines(loaded.graph, partial(print, file=sys.stderr)))
