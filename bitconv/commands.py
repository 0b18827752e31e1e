"""The commands of the command line."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from bitconv import __version__
from bitconv.classification import Classification, Failure, class_scores, classify
from bitconv.command_parts import (
    MODEL_HELP,
    Engine,
    check_place,
    load_compiled,
    threads_option,
)
from bitconv.converting_command import convert
from bitconv.feature_map_commands import calibrate, maps
from bitconv.measuring_commands import bench, evaluate, profile
from bitconv.scales import ScaleSharing
from bitconv.shipped import DEFAULT_MODEL, SAMPLE_PICTURE, model_path, shipped_models
from bitconv.text import printable, table

if TYPE_CHECKING:
    from bitconv.comparison import Comparison
    from bitconv.datasets import Dataset
    from bitconv.graph import Graph
    from bitconv.model import Model

SCALE_HELP = (
    "Adjacent filters x input channels that share a scale: 1xI is one scale a filter, 16xI one for "
    "16 filters, 1x8 one for 8 channels of a filter, OxI one a layer."
)


@click.group(no_args_is_help=True)
@click.version_option(__version__, message="bitconv %(version)s")
def app() -> None:
    """Run binarized convolutional networks."""


for command in (evaluate, profile, bench, convert, calibrate, maps):
    app.add_command(command)


def _load(name: str, threads: int | None, quiet: bool) -> Model:
    """The model, compiled and warm; tells of compiling unless `quiet`."""
    loaded = load_compiled(name, threads, quiet)
    # The first run starts threads and touches memory, which is not the time of a picture.
    class_scores(loaded, np.zeros((1, *loaded.input_shape), np.uint8))
    return loaded


@app.command()
@click.argument("images", metavar="[IMAGE]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--model", default=DEFAULT_MODEL, show_default=True, help=MODEL_HELP)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="How many labels to print.",
)
@threads_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
def run(images: tuple[Path, ...], model: str, top: int, threads: int | None, as_json: bool) -> None:
    """Classify pictures; by default one of a cat."""
    loaded = _load(model, threads, quiet=as_json)
    results: list[Classification | Failure] = []
    for image in images or [SAMPLE_PICTURE]:
        result = classify(loaded, image, top)
        results.append(result)
        if isinstance(result, Failure):
            print(f"bitconv: {result}", file=sys.stderr)
        elif not as_json:
            print(f"{result}\n", flush=True)
    engine = Engine.of(loaded, model)
    if as_json:
        records = [asdict(result) for result in results]
        print(json.dumps({**asdict(engine), "images": records}, indent=2))
    else:
        print(engine)
    if any(isinstance(result, Failure) for result in results):
        sys.exit(1)


@app.command()
@click.argument("model")
def info(model: str) -> None:
    """Describe a model and what each layer costs."""
    from bitconv.cost import summarize
    from bitconv.file import read

    path = model_path(model)
    graph = read(path)
    about = graph.metadata
    inputs = ", ".join(f"{name} ({value})" for name, value in graph.inputs.items())
    outputs = ", ".join(f"{name} ({graph.types[name]})" for name in graph.outputs)
    lines = {
        "name": about.name,
        "file": f"{path} ({path.stat().st_size:,} bytes)",
        "inputs": inputs,
        "outputs": outputs,
        "codecs": _codecs(graph),
        "labels": ", ".join(about.labels),
        "accuracy": about.accuracy,
        "trained on": about.training_data,
        "source": about.source,
        "licence": about.licence,
    }
    for title, text in lines.items():
        if text:
            print(f"{title:10}  {printable(text)}")
    print(f"\n{summarize(graph)}")


def _codecs(graph: Graph) -> str:
    """How many feature maps have codecs, and which."""
    names = sorted({each.codec.name for each in graph.codecs.values()})
    return f"{', '.join(names)} for {len(graph.codecs)} feature maps" if names else ""


@app.command()
@click.argument("model")
@click.option("--scale", metavar="GRID", help=f"Compare with other scales. {SCALE_HELP}")
def cost(model: str, scale: str | None) -> None:
    """Count what a model stores and computes, beside float32."""
    from bitconv.cost_report import report
    from bitconv.file import read

    print(report(read(model_path(model)), scale))


@app.command()
def models() -> None:
    """List the models that came with bitconv."""
    from bitconv.file import read

    header = ("name", "input", "classes", "bytes", "accuracy")
    rows = []
    for name, path in shipped_models().items():
        graph = read(path)
        shapes = ", ".join(" × ".join(map(str, value.shape)) for value in graph.inputs.values())
        classes, size = f"{len(graph.metadata.labels)}", f"{path.stat().st_size:,}"
        rows.append((name, shapes, classes, size, printable(graph.metadata.accuracy)))
    print(table(header, rows, left=len(header)) if rows else "No model came with this bitconv.")


@app.command()
@click.argument("model")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--scale", metavar="GRID", required=True, help=SCALE_HELP)
@click.option(
    "--images",
    metavar="DATA",
    type=click.Path(path_type=Path),
    help="Labelled pictures, as evaluate takes them: count the labels that change.",
)
def reshare(model: str, out: Path, scale: str, images: Path | None) -> None:
    """Write a model whose binary weights share their scales in another way."""
    from bitconv import resharing
    from bitconv.datasets import open_dataset
    from bitconv.file import read, write

    sharing, path = ScaleSharing.parse(scale), model_path(model)
    check_place(out, path)
    dataset = None if images is None else open_dataset(images)
    before = read(path)
    result = resharing.reshare(before, sharing)
    after = result.graph
    print(result)
    if dataset is not None:
        comparison = _compare(before, after, dataset)
        print(f"\n{comparison}")
        correct = f"{100 * comparison.accuracy_after:.2f} %"
        name = printable(dataset.source.resolve().name)
        accuracy = f"{correct} of the {comparison.images:,} images of {name}"
        after = replace(after, metadata=replace(after.metadata, accuracy=accuracy))
    write(after, out)
    sizes = f"{path.stat().st_size:,} → {out.stat().st_size:,}"
    print(f"\nWrote {printable(str(out))} ({sizes} bytes).")


def _compare(before: Graph, after: Graph, dataset: Dataset) -> Comparison:
    from bitconv.comparison import compare
    from bitconv.model import Model
    from bitconv.terminal import compile_kernels, image_progress

    models = Model(before), Model(after)
    for loaded in models:
        compile_kernels(loaded)
    with image_progress() as progress:
        return compare(*models, dataset, progress)


@app.command()
@click.argument("models", metavar="[MODEL]...", nargs=-1)
def warmup(models: tuple[str, ...]) -> None:
    """Compile the kernels that models need, ahead of time.

    Without a MODEL, for all that came with bitconv. The cache on disk keeps what was compiled, so
    no later run on this kind of processor waits: with one picture or many, on one thread or many.
    """
    from bitconv.kernels.target import instruction_set, vector_bits
    from bitconv.terminal import compile_progress
    from bitconv.warming import warmup as compile_ahead

    with compile_progress() as progress:
        cache = compile_ahead(*models, report=progress)
    print(f"Compiled for {instruction_set()} ({vector_bits()}-bit vectors): {cache}")


@app.command()
def doctor() -> None:
    """Look at what bitconv runs on, and say what of it costs speed."""
    from bitconv.environment import inspect_environment

    print(inspect_environment())
