"""A network beside the float network of the same layers in other engines, on this machine."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.environment import inspect_environment
from bitconv.errors import MissingPackageError, UnsupportedError
from bitconv.graph import Graph
from bitconv.model import Model
from bitconv.operators import Sign
from bitconv.peers.checking import difference, reference_outputs, relative_error
from bitconv.peers.engines import ENGINES, Run, installed_version
from bitconv.peers.float_network import float_network
from bitconv.peers.onnx_writer import to_onnx
from bitconv.text import printable, table

BATCHES = (1, 64)
TURNS = 5  # of every side, so that what slows the machine hits all alike
TURN_SECONDS = 0.1
LEAST_RUNS = 2  # in a turn
SAME = 1e-3  # of the largest score: what float32 adds up to over a whole network
OURS, SAME_NUMBERS, FLOAT = "bitconv", "same numbers", "float network"
FACTS = ("processor", "instruction set", "threads", "threading layer")

EXPLANATION = f"""\
Milliseconds for a batch, the median and in brackets the minimum of {TURNS} turns; then how many
times as long as bitconv the others take, by their medians.
{SAME_NUMBERS}: the same network in float32, weights α·sign(W), activations −1 and +1.
{FLOAT}: the same layers without the signs, activations as they are.
Every node of both was checked beforehand to compute what its definition says."""


@dataclass(frozen=True)
class Setting:
    """What is run at once, and on how many threads."""

    images: int
    threads: int

    def __str__(self) -> str:
        images = "1 image" if self.images == 1 else f"{self.images} images"
        return f"{images}, {self.threads} thread{'s' if self.threads > 1 else ''}"


@dataclass(frozen=True)
class Times:
    """The times of a side in one setting, in seconds."""

    median: float
    minimum: float
    runs: int

    def __str__(self) -> str:
        return f"{1e3 * self.median:.2f} ({1e3 * self.minimum:.2f})"


@dataclass(frozen=True)
class Bench:
    """What was measured; `str()` is a report.

    Attributes
    ----------
    conditions : mapping of str to str
        The date, machine and versions.
    settings : tuple of Setting
    times : mapping of str to tuple of Times
        Of every side, bitconv first, one a setting.
    left_out : mapping of str to str
        Sides that were not timed, and why.
    same_scores : mapping of str to float
        For the sides of the same numbers, the fraction of images whose scores are bitconv's up to
        rounding. Where rounding flips a sign, those of an image differ a little.
    """

    conditions: Mapping[str, str]
    settings: tuple[Setting, ...]
    times: Mapping[str, tuple[Times, ...]]
    left_out: Mapping[str, str]
    same_scores: Mapping[str, float]

    def ratios(self, side: str) -> list[float]:
        """How many times as long as bitconv a side takes, by the medians, in every setting."""
        pairs = zip(self.times[side], self.times[OURS], strict=True)
        return [theirs.median / ours.median for theirs, ours in pairs]

    def __str__(self) -> str:
        width = max(map(len, self.conditions))
        settings = [str(setting) for setting in self.settings]
        times = [(side, *map(str, times)) for side, times in self.times.items()]
        ratios = [
            (f"{side} ÷ {OURS}", *(f"{ratio:.2f}×" for ratio in self.ratios(side)))
            for side in self.times
            if side != OURS
        ]
        notes = [
            f"{side}: equal scores for {100 * share:.0f} % of the images"
            for side, share in self.same_scores.items()
        ]
        notes += [f"{side}: not timed, {printable(why)}" for side, why in self.left_out.items()]
        facts = [f"{name:{width}}  {printable(fact)}" for name, fact in self.conditions.items()]
        body = table(("ms", *settings), [*times, *ratios])
        return "\n".join([*facts, "", body, "", EXPLANATION, *notes])


def compare_engines(graph: Graph, report: Callable[[str], None] | None = None) -> Bench:
    """Time a network beside the same layers in other engines.

    Parameters
    ----------
    graph : Graph
        With one input and one output.
    report : callable, optional
        Told in words what is being done.

    Raises
    ------
    MissingPackageError
        onnx, or every engine, is missing.
    UnsupportedError
        The network has no counterpart in ONNX.
    """
    if len(graph.outputs) != 1:
        raise UnsupportedError(
            f"a comparison takes one output, the network has {', '.join(graph.outputs)}"
        )
    if not any(map(installed_version, ENGINES)):
        raise MissingPackageError(
            "a comparison takes another engine, onnxruntime or openvino: "
            "pip install 'bitconv[bench]'"
        )
    tell = report or (lambda _: None)
    models = {threads: Model(graph, threads=threads) for threads in _thread_counts(graph)}
    settings = [Setting(images, threads) for images in BATCHES for threads in models]
    tell("Checking that all sides compute the right numbers")
    sides, left_out = _checked_sides(graph, _noise(graph, 1))
    times: dict[str, list[Times]] = {side: [] for side in (OURS, *sides)}
    same_scores: dict[str, float] = {}
    for setting in settings:
        tell(f"Timing {setting}")
        batch = _noise(graph, setting.images)
        runs: dict[str, Callable[[], Any]] = {
            OURS: partial(models[setting.threads].predict, batch),
            **{side: partial(make(setting), [batch]) for side, make in sides.items()},
        }
        expected = runs[OURS]()
        for side in sides:
            if side.endswith(SAME_NUMBERS):
                same_scores[side] = _same(runs[side]()[0], expected)
        for side, seconds in _in_turns(runs).items():
            times[side].append(Times(median(seconds), min(seconds), len(seconds)))
    return Bench(
        _conditions(),
        tuple(settings),
        {side: tuple(of_side) for side, of_side in times.items()},
        left_out,
        same_scores,
    )


@dataclass(frozen=True, eq=False)
class _Side:
    """A network in another engine."""

    engine: str
    graph: Graph

    def __call__(self, setting: Setting) -> Run:
        return ENGINES[self.engine](to_onnx(self.graph, setting.images), setting.threads)


def _checked_sides(graph: Graph, image: NDArray[Any]) -> tuple[dict[str, _Side], dict[str, str]]:
    """The sides that compute the right numbers, and why the others are left out."""
    graphs, sides, left_out = {}, {}, {}
    if any(isinstance(node.operator, Sign) for node in graph.nodes):
        graphs[SAME_NUMBERS] = graph
    try:
        graphs[FLOAT] = float_network(graph)
    except UnsupportedError as error:
        left_out[FLOAT] = str(error)
    for engine in ENGINES:
        release = installed_version(engine)
        if release is None:
            left_out[engine] = "not installed"
            continue
        for what, variant in graphs.items():
            title, side = f"{engine} {release}, {what}", _Side(engine, variant)
            problem = _problem(side, image, whole=what == FLOAT)
            if problem:
                left_out[title] = problem
            else:
                sides[title] = side
    return sides, left_out


def _problem(side: _Side, image: NDArray[Any], *, whole: bool) -> str:
    """What is wrong with a side; empty where nothing is.

    `whole` compares the optimized run as well, which without signs has to agree to the end.
    """
    try:
        problem = difference(ENGINES[side.engine], side.graph, image)
        if problem or not whole:
            return problem
        (found,), (expected,) = side(Setting(1, 1))([image]), reference_outputs(side.graph, image)
    except (MissingPackageError, UnsupportedError):
        raise
    except Exception as failure:  # engines fail in ways of their own, which is worth telling
        return f"{type(failure).__name__}: {str(failure).strip().partition(chr(10))[0]}"
    error = relative_error(found, expected)
    return "" if error <= SAME else f"the scores are off by {error:.1e} of the largest"


def _same(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """The fraction of images whose scores agree up to rounding."""
    errors = [relative_error(*pair) for pair in zip(found, expected, strict=True)]
    return float(np.mean([error <= SAME for error in errors]))


def _in_turns(runs: Mapping[str, Callable[[], object]]) -> dict[str, list[float]]:
    """All times of every side, each warm."""
    seconds: dict[str, list[float]] = {side: [] for side in runs}
    for run in runs.values():
        run()
    for _ in range(TURNS):
        for side, run in runs.items():
            run()  # the side before had the caches
            seconds[side] += _turn(run)
    return seconds


def _turn(run: Callable[[], object]) -> list[float]:
    seconds: list[float] = []
    while len(seconds) < LEAST_RUNS or sum(seconds) < TURN_SECONDS:
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return seconds


def _thread_counts(graph: Graph) -> Sequence[int]:
    """One, and all that there are."""
    return sorted({1, Model(graph).threads})


def _noise(graph: Graph, images: int) -> NDArray[Any]:
    """A batch; no time here depends on what a picture shows."""
    ((_, value),) = graph.inputs.items()
    batch = np.random.default_rng(0).integers(0, 256, (images, *value.shape))
    return batch.astype(value.dtype)


def _conditions() -> dict[str, str]:
    facts = {fact.name: fact.value for fact in inspect_environment().facts}
    versions = [f"{name} {facts[name]}" for name in ("bitconv", "numpy", "numba")]
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        **{name: facts[name] for name in FACTS if name in facts},
        "python": ", ".join([platform.python_version(), *versions]),
    }
