"""A small network that has every operator, and a way to spoil its file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest

from bitconv.bits import BitArray
from bitconv.file import write
from bitconv.graph import Graph, Metadata, Node, Preparation, TensorType
from bitconv.operators import (
    ActivationScaleMap,
    Add,
    AvgPool2d,
    BatchNorm,
    BinaryConv2d,
    BinaryDense,
    Clip,
    Concat,
    Conv2d,
    Dense,
    Flatten,
    GlobalAvgPool2d,
    MaxPool2d,
    Multiply,
    Normalize,
    Pad,
    PRelu,
    Relu,
    Reshape,
    Sign,
    Slice,
    Softmax,
    Transpose,
)
from bitconv.scales import ScaleGrid


def build_every_operator() -> Graph:
    """8 × 6 pixels, 3 channels, 5 classes; every operator once or more."""
    random = np.random.default_rng(7)

    def numbers(*shape: int) -> np.ndarray:
        return random.standard_normal(shape).astype(np.float32)

    def signs(*shape: int) -> BitArray:
        return BitArray.from_signs(numbers(*shape))

    statistics = np.stack([numbers(8), numbers(8), numbers(8), 1 + numbers(8) ** 2])
    nodes = (
        Node("normalize", Normalize([120.0, 115.0, 100.0], [60.0, 61.0, 62.0]), ("picture",)),
        Node("pad", Pad((1, 0, 0), (0, 1, 0), 0.5), "normalize"),
        Node("stem/convolution", Conv2d(numbers(8, 3, 3, 3), numbers(8), padding=1), "pad"),
        Node("norm", BatchNorm(statistics, 1e-4), "stem/convolution"),
        Node("K", ActivationScaleMap((3, 2), (2, 1), (1, 1), (1, 0, 1, 1), 2), "norm"),
        Node("sign", Sign(numbers(8), zero_is_positive=False), "norm"),
        Node(
            "binary",
            BinaryConv2d(
                signs(6, 3, 2, 4),
                ScaleGrid(numbers(3, 2), 2, 3),
                numbers(6),
                stride=(2, 1),
                padding=(1, 0, 1, 1),
                groups=2,
                pad_value=-1,
                activation_scale=0.75,
            ),
            ("sign", "K"),
        ),
        Node("prelu", PRelu(numbers(6)), "binary"),
        Node("relu", Relu(), "binary"),
        Node("add", Add(), ("prelu", "relu")),
        Node("multiply", Multiply([0.5]), "add"),
        Node("clip", Clip(-1.5, 6.0), "multiply"),
        Node("max_pool", MaxPool2d(2, padding=(1, 0)), "clip"),
        Node("avg_pool", AvgPool2d((2, 2), (2, 2), (1, 0, 1, 0), count_padding=True), "clip"),
        Node("concat", Concat(), ("max_pool", "avg_pool")),
        Node("turned", Transpose((1, 0, 2)), "concat"),
        Node("part", Slice((0, 0, 2), (2, 3, 12), (1, 2, 3)), "turned"),
        Node("flat", Flatten(), "part"),
        Node("wide", Reshape((2, 8)), "flat"),
        Node("vector", Flatten(), "wide"),
        Node("bits", Sign([0.0]), "vector"),
        Node("hidden", BinaryDense(signs(5, 16), ScaleGrid(numbers(1, 2), 5, 9)), "bits"),
        Node("mean", GlobalAvgPool2d(), "concat"),
        Node("scores", Dense(numbers(5, 12), numbers(5)), "mean"),
        Node("sum", Add(), ("scores", "hidden")),
        Node("softmax", Softmax(), "sum"),
    )
    metadata = Metadata(
        name="every operator",
        labels=("cat", "dog", "møøse", "", "a label of several words"),
        licence="CC0-1.0",
        source="random numbers",
        training_data="none",
        accuracy="20 % (chance)",
        preparation=Preparation((12, 10), (8, 6), "bicubic"),
    )
    return Graph({"picture": TensorType((8, 6, 3), "uint8")}, nodes, ("softmax", "sum"), metadata)


@pytest.fixture(scope="session")
def every_operator() -> Graph:
    return build_every_operator()


def walk(item: h5py.Group | h5py.Dataset, path: str = "") -> Iterator[bytes]:
    """The canonical walk of docs/format.md, written with h5py's plain interface."""
    if isinstance(item, h5py.Dataset):
        yield from record("dataset", path, item[()])
    else:
        yield f"group {path or '/'}\n".encode()
    for name in sorted(item.attrs):
        if (path, name) != ("", "sha256"):
            yield from record("attribute", f"{path or '/'}@{name}", item.attrs[name])
    if isinstance(item, h5py.Group):
        for name in sorted(item):
            yield from walk(item[name], f"{path}/{name}")


def record(what: str, path: str, value: np.generic | np.ndarray) -> Iterator[bytes]:
    if isinstance(value, bytes):
        kind, shape, content = "text", str(len(value)), value
    else:
        kind, shape = value.dtype.name, "x".join(map(str, value.shape)) or "scalar"
        content = value.tobytes()
    yield f"{what} {path} {kind} {shape}\n".encode()
    yield content


class Edited:
    """A valid file to spoil with h5py: ``with edited.file() as file: ...``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def file(self, *, sign: bool = True) -> Iterator[h5py.File]:
        """The open file; afterwards its digest fits again, unless `sign` is false."""
        with h5py.File(self.path, "r+", libver=("v110", "v110")) as file:
            yield file
            if sign:
                digest = hashlib.sha256(b"".join(walk(file))).hexdigest()
                file.attrs["sha256"] = np.bytes_(digest)


@pytest.fixture
def edited(every_operator: Graph, tmp_path: Path) -> Edited:
    write(every_operator, tmp_path / "edited.h5")
    return Edited(tmp_path / "edited.h5")
