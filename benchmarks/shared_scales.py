"""What sharing scales costs and saves: the table, the raw figures and the plot of the study.

    python benchmarks/shared_scales.py runs/shared-scales cifar-10-batches-bin

The first folder holds the models that ``weights/recipes/shared_scales.py`` exported. How often each
was right goes to ``docs/shared-scales.csv``; ``docs/shared-scales.svg`` and the table between the
marks of ``docs/shared-scales.md`` are made of that, of what the files hold and of times measured
here. Rows of which the folder has no model stay as they are.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields
from functools import cached_property
from pathlib import Path
from statistics import mean, median, stdev
from typing import get_type_hints

import numpy as np
from numpy.typing import NDArray
from pages import markdown, split_at_marks, write_between

from bitconv import Model, read
from bitconv.compiler import compile_graph
from bitconv.cost import Cost, summarize
from bitconv.datasets import open_dataset
from bitconv.evaluation import evaluate
from bitconv.executor import Workspace
from bitconv.graph import Graph
from bitconv.operators import BinaryConv2d, Conv2d
from bitconv.peers.engines import onnxruntime
from bitconv.peers.float_network import float_network
from bitconv.peers.onnx_writer import to_onnx

DOCS = Path(__file__).resolve().parents[1] / "docs"
TURNS, RUNS_A_TURN = 7, 30
MODES = ("float", "bwn", "xnor")
SCALES = ("", "1x8", "1xI", "4xI", "16xI", "OxI")  # from fine to coarse
PER_FILTER = "1xI"  # what the others are compared with
WIDE = "wide-"
MARKS = ("<!-- table, written by the command -->", "<!-- end of table -->")


@dataclass(frozen=True)
class Run:
    """One trained network and how often it was right.

    Attributes
    ----------
    row : str
        Mode and sharing of scales, such as ``xnor-16xI``.
    seed, images, correct : int
    file_bytes, scales : int
        Of the whole file; stored numbers of all grids.
    """

    row: str
    seed: int
    images: int
    correct: int
    file_bytes: int
    scales: int


@dataclass(frozen=True, eq=False)
class Row:
    """All runs of a row.

    Attributes
    ----------
    name : str
    runs : tuple of Run
        By seed.
    """

    name: str
    runs: tuple[Run, ...]

    @property
    def kind(self) -> tuple[bool, str, str]:
        """Whether it is wide, mode and sharing; a float row has no sharing."""
        wide = self.name.startswith(WIDE)
        mode, _, scale = self.name.removeprefix(WIDE).partition("-")
        return wide, mode, scale

    @property
    def parent(self) -> str:
        """The row with a scale a filter that this one is compared with."""
        return self.name.removesuffix(self.kind[2]) + PER_FILTER

    @property
    def float_row(self) -> str:
        """The float row of the same width."""
        return f"{WIDE if self.kind[0] else ''}float"

    @property
    def order(self) -> tuple[bool, int, int]:
        """Wide rows last, float first, then from fine to coarse grids."""
        wide, mode, scale = self.kind
        return wide, MODES.index(mode), SCALES.index(scale)

    @cached_property
    def accuracy(self) -> dict[int, float]:
        """In percent, of every seed."""
        return {run.seed: 100 * run.correct / run.images for run in self.runs}


@dataclass(frozen=True, eq=False)
class MeasuredRow(Row):
    """A row with a model.

    Attributes
    ----------
    graph : Graph
        The network of the first run.
    """

    graph: Graph

    @cached_property
    def cost(self) -> Cost:
        """Of the whole network."""
        return summarize(self.graph).total

    @cached_property
    def binary_cost(self) -> Cost:
        """Of its binary layers."""
        layers = summarize(self.graph).layers
        return sum((layer.cost for layer in layers if layer.cost.scales), Cost())


# --- Accuracy --------------------------------------------------------------------------------


def evaluated(models: Path, data: Path) -> list[MeasuredRow]:
    """Every model of the folder, run on the test images, by row and seed."""
    dataset = open_dataset(data)
    runs: dict[str, list[Run]] = {}
    graphs: dict[str, Graph] = {}
    for path in sorted(models.glob("*-seed*.h5")):
        name, _, seed = path.stem.rpartition("-seed")
        model = Model(read(path))
        result = evaluate(model, dataset)
        graphs.setdefault(name, model.graph)
        runs.setdefault(name, []).append(
            Run(
                row=name,
                seed=int(seed),
                images=result.images,
                correct=result.correct,
                file_bytes=path.stat().st_size,
                scales=summarize(model.graph).total.scales,
            )
        )
        print(f"{path.name}: {100 * result.accuracy:.2f} %", flush=True)
    return [MeasuredRow(name, tuple(runs[name]), graphs[name]) for name in runs]


def read_runs(path: Path) -> list[Row]:
    """The rows of the raw results."""
    kinds = get_type_hints(Run)
    runs: dict[str, list[Run]] = {}
    with path.open(newline="") as file:
        for line in csv.DictReader(file):
            run = Run(**{name: kinds[name](text) for name, text in line.items()})
            runs.setdefault(run.row, []).append(run)
    return [Row(name, tuple(runs[name])) for name in runs]


def write_runs(rows: Sequence[Row], path: Path) -> None:
    """The raw results, a line a run."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in fields(Run))
        writer.writerows(astuple(run) for row in rows for run in row.runs)


# --- Time ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Times:
    """Medians in seconds, for one image on one thread.

    Attributes
    ----------
    network : float
        From the image to the scores.
    layers : float
        The steps of the 3x3 layers behind the stem, with what is fused into them.
    """

    network: float
    layers: float


def measured(rows: Sequence[MeasuredRow]) -> tuple[dict[str, Times], dict[str, float]]:
    """The times of every row, and those of the float rows in onnxruntime; all take turns."""
    runs: dict[tuple[str, str], Callable[[], object]] = {}
    for row in rows:
        runs[row.name, "network"] = _network(row.graph)
        runs[row.name, "layers"] = _layers(row.graph)
        if row.name == row.float_row:
            runs[row.name, "onnxruntime"] = _onnxruntime(row.graph)
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
    for _ in range(TURNS):
        for key, run in runs.items():
            run()
            seconds[key] += [_seconds(run) for _ in range(RUNS_A_TURN)]
    return (
        {
            row.name: Times(
                median(seconds[row.name, "network"]), median(seconds[row.name, "layers"])
            )
            for row in rows
        },
        {name: median(times) for (name, what), times in seconds.items() if what == "onnxruntime"},
    )


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _network(graph: Graph) -> Callable[[], object]:
    model, image = Model(graph, threads=1), _image(graph)
    return lambda: model.predict(image)


def _layers(graph: Graph) -> Callable[[], object]:
    """The steps of all convolutions but the stem, on what a run left in the arena."""
    plan = compile_graph(graph, images=1, threads=1)
    workspace = Workspace(plan)
    workspace.run(*graph.inputs, _image(graph))
    kinds = Conv2d | BinaryConv2d
    _stem, *layers = [node.name for node in graph.nodes if isinstance(node.operator, kinds)]
    chosen = [
        slice(index, index + 1)
        for index, step in enumerate(plan.steps)
        if not set(layers).isdisjoint(step.nodes)
    ]

    def run() -> None:
        for steps in chosen:
            workspace.run_steps(steps, 1)

    return run


def _onnxruntime(graph: Graph) -> Callable[[], object]:
    """The float network in onnxruntime, with the same scores as ours."""
    peer, image = onnxruntime(to_onnx(float_network(graph), 1), 1), _image(graph)
    expected = Model(graph).predict(image)
    np.testing.assert_allclose(peer([image])[0], expected, rtol=1e-3, atol=1e-3)

    return lambda: peer([image])


def _image(graph: Graph) -> NDArray[np.uint8]:
    """Noise: no time here depends on what a picture shows."""
    ((_, value),) = graph.inputs.items()
    return np.random.default_rng(0).integers(0, 256, (1, *value.shape)).astype(np.uint8)


# --- Page ------------------------------------------------------------------------------------

HEADER = (
    *("network", "seeds", "accuracy, %", "to 1xI", "file, bytes", "scales"),
    *("memory", "its binary layers", "operations, 1", "operations, 2"),
    *("network, ms", "3×3 layers, ms", "to onnxruntime"),
)


Line = tuple[str, ...]


def table(rows: Sequence[Row], lines: dict[str, Line]) -> str:
    """A Markdown table of `lines`: those of the rows, then of the float networks in onnxruntime."""
    peers = sorted(lines.keys() - {row.name for row in rows})
    names = [*(row.name for row in rows), *peers]
    return markdown(HEADER, [lines[name] for name in names])


def lines_of(
    rows: Sequence[MeasuredRow],
    parents: dict[str, Row],
    times: dict[str, Times],
    theirs: dict[str, float],
) -> dict[str, Line]:
    """What the table says of each row, and of each float network in onnxruntime."""
    lines: dict[str, Line] = {}
    for row in rows:
        own, cost = times[row.name], row.cost
        binary = f"{row.binary_cost.memory_ratio:.1f}×" if row.binary_cost.bytes else ""
        peer = theirs.get(row.float_row)
        lines[row.name] = (
            row.name,
            str(len(row.runs)),
            _spread(list(row.accuracy.values())),
            _difference(row, parents.get(row.parent)),
            f"{row.runs[0].file_bytes:,}",
            f"{cost.scales:,}",
            f"{cost.memory_ratio:.1f}×",
            binary,
            f"{cost.speed_up(1):.1f}×",
            f"{cost.speed_up(2):.1f}×",
            f"{1e3 * own.network:.2f}",
            f"{1e3 * own.layers:.2f}",
            f"{peer / own.network:.2f}×" if peer else "",
        )
    for name, seconds in theirs.items():
        blank = [""] * (len(HEADER) - 4)
        title = f"{name}, onnxruntime"
        lines[title] = (title, *blank, f"{1e3 * seconds:.2f}", "", "1")
    return lines


def _difference(row: Row, parent: Row | None) -> str:
    """To the parent, seed by seed."""
    if parent is None or row is parent:
        return ""
    shared = sorted(row.accuracy.keys() & parent.accuracy.keys())
    return _spread([row.accuracy[seed] - parent.accuracy[seed] for seed in shared], signed=True)


def _spread(values: Sequence[float], signed: bool = False) -> str:
    """The mean, and the standard deviation where there are several."""
    centre = f"{mean(values):+.2f}" if signed else f"{mean(values):.2f}"
    return f"{centre} ± {stdev(values):.2f}" if len(values) > 1 else centre


def plot(rows: Sequence[Row], path: Path) -> None:
    """Accuracy against the bytes of the file."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = path.name  # the same picture from the same figures
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    for mode, marker in zip(MODES, "so^", strict=True):
        chosen = [row for row in rows if row.kind[1] == mode]
        points = [
            (run.file_bytes, value)
            for row in chosen
            for run, value in zip(row.runs, row.accuracy.values(), strict=True)
        ]
        axes.plot(*zip(*points, strict=True), marker, label=mode, alpha=0.6)
        for row in chosen:
            place = row.runs[0].file_bytes, mean(row.accuracy.values())
            axes.annotate(row.name, place, textcoords="offset points", xytext=(6, 3), fontsize=7)
    axes.set(xscale="log", xlabel="bytes of the file", ylabel="test accuracy, %")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, metadata={"Date": None})


def read_lines(page: Path) -> dict[str, Line]:
    """The lines of the page's table, by their first cells."""
    _before, between, _after = split_at_marks(page, *MARKS)
    _header, _rule, *lines = between.strip().splitlines()
    cells = [tuple(line.removeprefix("| ").removesuffix(" |").split(" | ")) for line in lines]
    return {line[0]: line for line in cells}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", type=Path, help="folder of the exported models")
    parser.add_argument("data", type=Path, help="folder of CIFAR-10's binary batches")
    options = parser.parse_args()
    runs, page = DOCS / "shared-scales.csv", DOCS / "shared-scales.md"
    here = evaluated(options.models, options.data)
    by_name: dict[str, Row] = {row.name: row for row in (*read_runs(runs), *here)}
    rows = sorted(by_name.values(), key=lambda row: row.order)
    write_runs(rows, runs)
    plot(rows, DOCS / "shared-scales.svg")
    lines = read_lines(page) | lines_of(here, by_name, *measured(here))
    write_between(page, *MARKS, table(rows, lines))


if __name__ == "__main__":
    main()
