"""What bitconv's speed is held against, and what this run measured of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import prod

from convolutions import LAYERS
from timings import Timings

from bitconv.environment import inspect_environment

CODED_SHAPE = (112, 112, 64)  # of the map that codecs are measured on, as behind ResNet-18's stem
DENSITIES = (0.2, 0.5, 0.8)  # of a late map of a ResNet, an early one, and its residual stream
LARGE, SMALL = "224×224, 1 image, 1 thread", "32×32, 1 image, 1 thread"
BATCH = "32×32, 64 images, 2 threads"
TWICE = "1 twice at once"  # two runs on one thread each, side by side


@dataclass(frozen=True)
class Aim:
    """A figure to reach.

    Attributes
    ----------
    what, least, measured : str
    at_most : str
        What would be measured if our side took no longer than its multiply-accumulates take on
        registers alone, or if threads never waited for each other; empty where neither says
        anything.
    """

    what: str
    least: str
    measured: str
    at_most: str = ""

    @property
    def cells(self) -> tuple[str, str, str, str]:
        return self.what, self.least, self.measured, self.at_most


def aims_of(timings: Timings) -> list[Aim]:
    """All aims of which this run measured what they compare, and the registers."""
    found = []
    speed = (_kernel, _layer, _large, _small, _threads, _batch, _waits, _codecs)
    for aim in (*speed, _process, _memory):
        found.extend(_measured(aim, timings))
    return found


def _measured(aim: Callable[[Timings], Iterator[Aim]], timings: Timings) -> list[Aim]:
    try:
        return list(aim(timings))
    except KeyError:  # some side was not measured
        return []


def _median(timings: Timings, *key: str) -> float:
    if key not in timings.seconds:
        raise KeyError(key)
    return timings.median(*key)


def _ratio(timings: Timings, question: str, subject: str, side: str, ours: str) -> float:
    """How many times as long as ours a side takes."""
    return _median(timings, question, subject, side) / _median(timings, question, subject, ours)


def of_roofline(timings: Timings, layer: str) -> float:
    """The kernel's rate over that of the popcount roofline, on one layer."""
    return _ratio(timings, "convolution", layer, "registers", "bitconv-kernel")


def _kernel(timings: Timings) -> Iterator[Aim]:
    fractions = [of_roofline(timings, str(layer)) for layer in LAYERS]
    facts = {fact.name: fact.value for fact in inspect_environment().facts}
    yield Aim(
        "binary convolution, packed to dot products, the four shapes, 1 thread",
        "92 % of the roofline on three, 85 % on one; with AVX2 95 %",
        f"{', '.join(f'{fraction:.0%}' for fraction in fractions)} ({facts['instruction set']})",
    )


def _layer(timings: Timings) -> Iterator[Aim]:
    for side, name, least in (
        ("openvino-binary", "OpenVINO BinaryConvolution", 1.5),
        ("onnxruntime", "onnxruntime float32", 12),
        ("onnxruntime-int8", "onnxruntime int8", 3),
    ):
        measured, at_most = (
            ", ".join(
                f"{_ratio(timings, 'convolution', str(layer), side, ours):.2f}×" for layer in LAYERS
            )
            for ours in ("bitconv-layer", "registers")
        )
        yield Aim(f"the whole binary layer beside {name}, 1 thread", f"{least}×", measured, at_most)


def _network(timings: Timings, setting: str, sides: dict[str, tuple[str, float]]) -> Iterator[Aim]:
    for side, (name, least) in sides.items():
        measured, at_most = (
            f"{_ratio(timings, 'resnet18', setting, side, ours):.2f}×"
            for ours in ("bitconv", "registers")
        )
        yield Aim(f"XNOR ResNet-18 at {setting}, beside {name}", f"{least}×", measured, at_most)


def _large(timings: Timings) -> Iterator[Aim]:
    sides = {
        "onnxruntime": ("onnxruntime float32", 7.0),
        "openvino-bfloat16": ("OpenVINO bfloat16", 3.5),
        "onnxruntime-int8": ("onnxruntime int8", 2.0),
        "openvino-int8": ("OpenVINO int8", 1.6),
    }
    yield from _network(timings, LARGE, sides)


def _small(timings: Timings) -> Iterator[Aim]:
    sides = {
        "onnxruntime": ("onnxruntime float32", 13.0),
        "openvino-bfloat16": ("OpenVINO bfloat16", 6.0),
        "onnxruntime-int8": ("onnxruntime int8", 3.0),
        "openvino-int8": ("OpenVINO int8", 3.0),
    }
    yield from _network(timings, SMALL, sides)


def _threads(timings: Timings) -> Iterator[Aim]:
    facts = {fact.name: fact.value for fact in inspect_environment().facts}
    layer = facts["threading layer"]
    one, two, twice = (
        _median(timings, "threads", f"{layer} alone", side) for side in ("1", "2", TWICE)
    )
    yield Aim(
        "two threads over one, XNOR ResNet-18 at 224×224",
        "1.7×",
        f"{one / two:.2f}× ({layer})",
        f"{2 * one / twice:.2f}×",
    )


def _batch(timings: Timings) -> Iterator[Aim]:
    yield from _network(timings, BATCH, {"onnxruntime": ("onnxruntime float32", 12.0)})


def _waits(timings: Timings) -> Iterator[Aim]:
    for subject in timings.subjects("threads"):
        if "busy" in subject:
            key = ("threads", subject, "2")
            tail = timings.percentile99(*key) / timings.median(*key)
            yield Aim(f"p99 ÷ median of 2 threads, {subject}", "below 2", f"{tail:.2f}")


def coding_speed(of: Callable[..., float], density: str, *tasks: str) -> float:
    """Megabytes of the 8-bit map a second, if all tasks are done one after another.

    `of` gives the time of each: `Timings.median` or `Timings.minimum`.
    """
    return prod(CODED_SHAPE) / 1e6 / sum(of("codec", density, task) for task in tasks)


def _codecs(timings: Timings) -> Iterator[Aim]:
    densities = ", ".join(map(str, DENSITIES))
    for codec in ("dct-cm", "zero-mask"):
        tasks = (f"{codec} encode", f"{codec} decode")
        speeds = (
            coding_speed(partial(_median, timings), f"density {density}", *tasks)
            for density in DENSITIES
        )
        yield Aim(
            f"{codec}, encoding and decoding maps of density {densities}, 1 thread",
            "500 MB of 8 bits/s",
            f"{', '.join(f'{speed:.0f}' for speed in speeds)} MB/s",
        )


def _process(timings: Timings) -> Iterator[Aim]:
    for name, key, least in (
        ("`import bitconv`, Python's start included", ("warm", "import"), "below 0.1 s"),
        ("load and first label, kernels on disk", ("warm", "label"), "below 0.7 s"),
        ("first label with nothing compiled", ("cold", "label"), "below 12 s"),
    ):
        if ("process", *key) in timings.seconds:
            yield Aim(name, least, f"{timings.median('process', *key):.3g} s")


def _memory(timings: Timings) -> Iterator[Aim]:
    figures = timings.figures
    size = "224×224"
    ratio = figures["memory", size, "arena"] / figures["memory", size, "alive"]
    yield Aim(f"arena at {size} ÷ the largest sum of maps alive", "below 1.3", f"{ratio:.3f}")
    peak = figures["memory", size, "peak"]
    yield Aim("allocated in a warm `predict`", "below 64 KiB", f"{peak / 1024:.1f} KiB")
