"""The commands of the command line."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from bitconv import __version__
from bitconv.classification import Classification, Failure, class_scores, classify
from bitconv.shipped import DEFAULT_MODEL, SAMPLE_PICTURE, model_path, shipped_models
from bitconv.text import printable, table

if TYPE_CHECKING:
    from bitconv.model import Model

app = typer.Typer(
    name="bitconv",
    help="Run binarized convolutional networks.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

ModelName = Annotated[
    str, typer.Argument(metavar="MODEL", help="A shipped name or the path of an .h5 file.")
]
Threads = Annotated[
    int | None, typer.Option(min=1, help="Threads to use; all usable cores by default.")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"bitconv {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Run binarized convolutional networks."""


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


def _load(name: str, threads: int | None, quiet: bool = False) -> Model:
    """The model, compiled and warm; tells of compiling unless `quiet`."""
    from bitconv.model import load
    from bitconv.terminal import compile_kernels

    loaded = load(name, threads=threads)
    compile_kernels(loaded, quiet)
    # The first run starts threads and touches memory, which is not the time of a picture.
    class_scores(loaded, np.zeros((1, *loaded.input_shape), np.uint8))
    return loaded


@app.command()
def run(
    images: Annotated[
        list[Path] | None,
        typer.Argument(metavar="IMAGE", help="Pictures; by default one of a cat."),
    ] = None,
    model: Annotated[
        str, typer.Option(help="A shipped name or the path of an .h5 file.")
    ] = DEFAULT_MODEL,
    top: Annotated[int, typer.Option(min=1, help="How many labels to print.")] = 5,
    threads: Threads = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Classify pictures."""
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
        raise typer.Exit(1)


@app.command()
def info(model: ModelName) -> None:
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
def evaluate(
    model: ModelName,
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="CIFAR-10's binary batches, or a folder with one folder of pictures a class.",
        ),
    ],
    threads: Threads = None,
) -> None:
    """Measure the accuracy of a model on labelled pictures."""
    from bitconv import evaluation
    from bitconv.datasets import open_dataset
    from bitconv.terminal import image_progress

    dataset = open_dataset(data)
    loaded = _load(model, threads)
    with image_progress() as progress:
        result = evaluation.evaluate(loaded, dataset, progress)
    print(f"{result}\n\n{Engine.of(loaded, model)}")


@app.command()
def doctor() -> None:
    """Look at what bitconv runs on, and say what of it costs speed."""
    from bitconv.environment import inspect_environment

    print(inspect_environment())
