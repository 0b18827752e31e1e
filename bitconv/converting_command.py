"""The command that converts networks of other frameworks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from numpy.typing import NDArray

from bitconv.command_parts import check_file_place
from bitconv.errors import FileError, InputError
from bitconv.text import printable

if TYPE_CHECKING:
    from bitconv.convert.onnx import Conversion
    from bitconv.convert.onnx.verification import Agreement
    from bitconv.graph import Graph
    from bitconv.operators import Normalize

KERAS_SIGNATURES = (b"\x89HDF\r\n\x1a\n", b"PK\x03\x04")  # of HDF5, and of .keras, a ZIP archive
CHUNK = 64  # images at a time


@click.command()
@click.argument("network", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--labels",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A text file with the name of one class a line.",
)
@click.option("--mean", metavar="NUMBERS", help="Subtract from pixels 0 to 255: one, or R,G,B.")
@click.option("--std", metavar="NUMBERS", help="Then divide by: one, or R,G,B.")
@click.option(
    "--resize", metavar="SIZE", help="Resize pictures: 256 for the shorter side, or HEIGHTxWIDTH."
)
@click.option(
    "--verify",
    "images",
    metavar="IMAGES",
    type=click.Path(path_type=Path),
    help="Of ONNX: compare with onnxruntime on a picture, a folder of them or a CIFAR-10 batch.",
)
def convert(
    network: Path,
    out: Path,
    labels: Path | None,
    mean: str | None,
    std: str | None,
    resize: str | None,
    images: Path | None,
) -> None:
    """Convert an ONNX file, or a Keras or Larq model (.h5 or .keras).

    The network takes what it took before, pixels 0 to 255 unless --mean and --std say otherwise.
    """
    from bitconv.convert import keras, onnx
    from bitconv.file import write

    _check_places(network, out)
    names = None if labels is None else _read_labels(labels)
    normalize = _normalization(mean, std)
    is_keras = _is_keras(network)
    if is_keras and images is not None:
        raise InputError(
            "--verify compares ONNX networks with onnxruntime; docs/convert-keras.md shows how to "
            "compare with what Keras computed"
        )
    conversion = keras.convert(network) if is_keras else onnx.convert(network)
    print(f"{conversion.report}\n")
    graph = _completed(conversion.graph, names, normalize, resize)
    write(graph, out)
    print(f"Wrote {printable(str(out))} ({out.stat().st_size:,} bytes).")
    if isinstance(conversion, onnx.Conversion) and images is not None:
        print(f"\n{_verified(network, conversion, graph, normalize, images)}")


def _verified(
    network: Path,
    conversion: Conversion,
    graph: Graph,
    normalize: Normalize | None,
    images: Path,
) -> Agreement:
    """The agreement of the finished graph with onnxruntime."""
    from bitconv.convert.onnx.verification import verify
    from bitconv.model import Model
    from bitconv.terminal import compile_kernels

    model = Model(graph)
    compile_kernels(model)
    prepare = None if normalize is None else normalize.reference
    return verify(network, conversion, _chunks(images, graph), model, prepare)


def _check_places(network: Path, out: Path) -> None:
    if not network.is_file():
        found = "a folder or a device" if network.exists() else "no such file"
        raise InputError(f"{network}: {found}")
    if network.resolve() == out.resolve():
        raise InputError(f"{out}: is the network itself; the new one needs a place of its own")
    check_file_place(out)


def _is_keras(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(8).startswith(KERAS_SIGNATURES)
    except OSError as error:
        raise FileError(f"{path}: {error.strerror or error}") from error


def _read_labels(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}") from error
    return tuple(line.strip() for line in lines if line.strip())


def _numbers(text: str, what: str) -> NDArray[np.float32]:
    try:
        numbers = np.array([float(part) for part in text.split(",")], np.float32)
    except ValueError as error:
        raise InputError(f"{what} takes numbers such as 127.5 or 123.7,116.3,103.5") from error
    return numbers


def _normalization(mean: str | None, std: str | None) -> Normalize | None:
    from bitconv.operators import Normalize

    if mean is None and std is None:
        return None
    return Normalize(_numbers(mean or "0", "--mean"), _numbers(std or "1", "--std"))


def _completed(
    graph: Graph, labels: tuple[str, ...] | None, normalize: Normalize | None, resize: str | None
) -> Graph:
    """The graph with what `run` needs for pictures."""
    from bitconv.graph import Node, Preparation, TensorType

    metadata = graph.metadata
    if labels is not None:
        metadata = replace(metadata, labels=labels)
    if resize is not None:
        metadata = replace(metadata, preparation=Preparation(_size(resize)))
    inputs, nodes = dict(graph.inputs), graph.nodes
    if normalize is not None:
        (name,) = inputs
        before = f"{name} before normalization"
        inputs = {before: TensorType(inputs[name].shape, "uint8")}
        nodes = (Node(name, normalize, (before,)), *nodes)
    return replace(graph, inputs=inputs, nodes=nodes, metadata=metadata)


def _size(text: str) -> tuple[int, ...]:
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() for part in parts):
        raise InputError(f"--resize takes a size such as 256 or 224x224, found {text!r}")
    return tuple(map(int, parts))


def _chunks(path: Path, graph: Graph) -> Iterator[NDArray[Any]]:
    """Prepared images in batches."""
    from bitconv.images import prepare

    (value,) = graph.inputs.values()
    batch = []
    for image in _images(path):
        batch.append(prepare(image, value.shape, graph.metadata.preparation))
        if len(batch) == CHUNK:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)


def _images(path: Path) -> Iterator[Any]:
    from bitconv.datasets import CIFAR10_TEST_BATCH, PICTURE_SUFFIXES, open_dataset

    if path.is_file() and path.suffix.lower() in PICTURE_SUFFIXES:
        yield path
    elif path.is_dir() and not (path / CIFAR10_TEST_BATCH).is_file():
        pictures = sorted(p for p in path.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES)
        if not pictures:
            raise InputError(f"{path}: there is no picture in it")
        yield from pictures
    else:
        dataset = open_dataset(path)
        yield from (dataset.image(index) for index in range(len(dataset)))
