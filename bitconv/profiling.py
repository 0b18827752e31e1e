"""Where the time of a network goes, step by step of its plan."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from bitconv.compiler.plan import Plan, Step
from bitconv.cost import Cost, Layer, summarize
from bitconv.graph import Graph
from bitconv.roofline import Roofline, measure_roofline
from bitconv.text import printable, short_count, table

GIGA = 1e9


@dataclass(frozen=True)
class StepProfile:
    """One step of the plan, on one image.

    Attributes
    ----------
    kernel : str
    nodes : tuple of str
        The nodes of the graph whose work the step does.
    arithmetic : str
        What its multiply-accumulates are: ``signs``, ``additions`` (binary weights, float input),
        ``float`` or nothing.
    threads : int
    seconds : float
        The median over all repeats.
    share : float
        Of the time of all steps.
    macs : int
        Multiply-accumulates, taps on padding included.
    macs_per_second : float
    of_roofline : float or None
        The rate as a fraction of what `threads` cores could do at most; see
        `bitconv.roofline.Roofline`. None without multiply-accumulates.
    bytes_read, bytes_written : int
        Maps and constants, each counted once.
    """

    kernel: str
    nodes: tuple[str, ...]
    arithmetic: str
    threads: int
    seconds: float
    share: float
    macs: int
    macs_per_second: float
    of_roofline: float | None
    bytes_read: int
    bytes_written: int

    @property
    def title(self) -> str:
        """The first and the last of its nodes."""
        first, last = self.nodes[0], self.nodes[-1]
        return printable(first if first == last else f"{first} … {last}")


@dataclass(frozen=True)
class Profile:
    """The steps of a network in the order in which they run; `str()` is a table.

    Attributes
    ----------
    steps : tuple of StepProfile
    seconds : float
        The time of all steps, the sum of their medians.
    predict_seconds : float
        The median time of a whole `Model.predict` of the image, measured in turn with the steps.
    repeats : int
    roofline : Roofline
        Of one core.
    """

    steps: tuple[StepProfile, ...]
    seconds: float
    predict_seconds: float
    repeats: int
    roofline: Roofline

    def __str__(self) -> str:
        header = ("step", "kernel", "ms", "share", "MACs", "GMAC/s", "of roofline")
        rows = [_row(step) for step in self.steps]
        read = sum(step.bytes_read for step in self.steps)
        written = sum(step.bytes_written for step in self.steps)
        macs = sum(step.macs for step in self.steps)
        rate = macs / self.seconds / GIGA
        total = ("total", "", _ms(self.seconds), "100.0 %", short_count(macs), f"{rate:.1f}")
        rows.append((*total, "", short_count(read), short_count(written)))
        lines = table((*header, "read", "written"), rows, left=2)
        signs, floats = self.roofline.signs / GIGA, self.roofline.floats / GIGA
        return (
            f"{lines}\n\n"
            f"The whole predict takes {_ms(self.predict_seconds)} ms. Times are medians of "
            f"{self.repeats} runs of one image;\n"
            "bytes read and written are those of maps and constants.\n"
            f"Roofline of a core: {signs:.0f} GMAC/s of signs, {floats:.1f} of float32."
        )


def profile_steps(
    graph: Graph,
    plan: Plan,
    run_steps: Callable[[], Sequence[float]],
    run_whole: Callable[[], object],
    repeats: int,
) -> Profile:
    """Time the steps of a plan, and the whole run beside them.

    Parameters
    ----------
    graph : Graph
    plan : Plan
        Of that graph, for one image.
    run_steps : callable
        Runs the plan; the seconds that every step took.
    run_whole : callable
        Does all that a user waits for.
    repeats : int
    """
    roofline = measure_roofline()
    for warm_up in (run_steps, run_whole):
        warm_up()
    times, whole = [], []
    for _ in range(repeats):  # in turn, so that what slows the machine hits both
        times.append(run_steps())
        started = time.perf_counter()
        run_whole()
        whole.append(time.perf_counter() - started)
    seconds = [median(step_times) for step_times in zip(*times, strict=True)]
    threads = _threads(plan)
    layers = _layers_by_step(graph, plan)
    steps = [
        _step_profile(step, layers[index], threads[index], seconds[index], sum(seconds), roofline)
        for index, step in enumerate(plan.steps)
    ]
    return Profile(tuple(steps), sum(seconds), median(whole), repeats, roofline)


def _step_profile(
    step: Step,
    layers: Sequence[Layer],
    threads: int,
    seconds: float,
    all_seconds: float,
    roofline: Roofline,
) -> StepProfile:
    cost = sum((layer.cost for layer in layers), Cost())
    least = roofline.seconds(cost) / threads
    return StepProfile(
        kernel=step.kernel,
        nodes=step.nodes,
        arithmetic=next((layer.arithmetic for layer in layers if layer.arithmetic), ""),
        threads=threads,
        seconds=seconds,
        share=seconds / all_seconds,
        macs=cost.macs,
        macs_per_second=cost.macs / seconds,
        of_roofline=least / seconds if cost.macs else None,
        bytes_read=step.bytes_read,
        bytes_written=step.bytes_written,
    )


def _threads(plan: Plan) -> list[int]:
    """The threads that each step runs on."""
    from bitconv.kernels.threads import may_run_parallel

    spreads = may_run_parallel()
    return [plan.threads if step.parallel and spreads else 1 for step in plan.steps]


def _layers_by_step(graph: Graph, plan: Plan) -> list[list[Layer]]:
    """The layers that each step computes; a step that only copies a value names its layer again."""
    layers = {layer.name: layer for layer in summarize(graph).layers}
    return [[layers.pop(name) for name in step.nodes if name in layers] for step in plan.steps]


def _row(step: StepProfile) -> tuple[str, ...]:
    rates = ("", "", "")
    if step.of_roofline is not None:
        rate, fraction = step.macs_per_second / GIGA, 100 * step.of_roofline
        rates = (short_count(step.macs), f"{rate:.1f}", f"{fraction:.0f} %")
    return (
        step.title,
        step.kernel if step.threads == 1 else f"{step.kernel} ×{step.threads}",
        _ms(step.seconds),
        f"{100 * step.share:.1f} %",
        *rates,
        short_count(step.bytes_read),
        short_count(step.bytes_written),
    )


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3f}"
