"""The report of a run: tables of measured times, what follows from them, and operation counts."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from math import floor, log10
from pathlib import Path

from aims import CODED_SHAPE, TWICE, aims_of, coding_speed, of_roofline
from convolutions import LAYERS, Layer
from pages import write_between
from timings import TURNS, Timings

from bitconv.environment import inspect_environment

COMMAND = "python -m pytest benchmarks --report docs/measured.md --readme README.md"
MARKS = ("<!-- aims, written by the benchmarks -->", "<!-- end of aims -->")
WORD_BITS = 64

CONVOLUTION_SIDES = {
    "registers": "its multiply-accumulates on registers alone, the popcount roofline",
    "bitconv-kernel": "bitconv, the kernel: packed signs to dot products",
    "bitconv-layer": "bitconv, a whole layer: sign, pack, convolve, scale, batch norm",
    "openvino-binary": "OpenVINO BinaryConvolution, the same whole layer",
    "numpy": "NumPy float32: im2col and BLAS",
    "onnxruntime": "onnxruntime float32",
    "onnxruntime-int8": "onnxruntime int8",
    "openvino": "OpenVINO float32",
    "openvino-bfloat16": "OpenVINO, bfloat16 allowed",
    "openvino-int8": "OpenVINO int8",
    "scalar-loop": "scalar float32 loop, compiled by Numba",
}
NETWORK_SIDES = {
    "bitconv": "bitconv",
    "onnxruntime-signs": "onnxruntime float32, same numbers",
    "onnxruntime-float": "onnxruntime float32, same layers without signs",
}
RESNET_SIDES = {
    "registers": "the multiply-accumulates of one thread on registers alone",
    "bitconv": "bitconv, XNOR ResNet-18",
    "onnxruntime": "onnxruntime float32",
    "onnxruntime-int8": "onnxruntime int8",
    "openvino": "OpenVINO float32",
    "openvino-bfloat16": "OpenVINO, bfloat16 allowed",
    "openvino-int8": "OpenVINO int8",
}
WEIGHT_SIDES = {
    "bitconv-bits": "weights of one bit",
    "bitconv-floats": "weights −1 and +1 in float32",
}
PROCESSES = {
    ("warm", "python"): "Python itself, doing nothing",
    ("warm", "import"): "`import bitconv`",
    ("warm", "label"): "import, load, label of a picture; kernels on disk",
    ("cold", "label"): "the same, compiling all kernels",
    ("warm", "command"): "`bitconv run`; kernels on disk",
}


def report(timings: Timings) -> str:
    """All sections of which bitconv's sides, and the registers, were measured, as Markdown."""
    sections = [_conditions(timings)]
    if {"registers", "bitconv-kernel", "bitconv-layer"} <= set(timings.sides("convolution")):
        sections.append(_convolution_section(timings))
    if set(WEIGHT_SIDES) <= set(timings.sides("weights")):
        sections.append(_weights_section(timings))
    if "bitconv" in timings.sides("network"):
        sections.append(_network_section(timings))
    if "bitconv" in timings.sides("resnet18"):
        sections.append(_resnet_section(timings))
    if timings.subjects("threads"):
        sections.append(_threads_section(timings))
    if timings.subjects("codec"):
        sections.append(_codec_section(timings))
    if timings.subjects("process"):
        sections.append(_process_section(timings))
    if timings.figures:
        sections.append(_memory_section(timings))
    if aims_of(timings):
        sections.append(f"""## What was aimed at

The aims are for a processor with AVX-512 VPOPCNTDQ; the figures are of the machine above.

{_aims_table(timings)}""")
    return "\n\n".join(sections) + "\n"


def write_aims(page: Path, timings: Timings) -> None:
    """Put the table of aims, with date and machine, between the marks of a page."""
    facts = {fact.name: fact.value for fact in inspect_environment().facts}
    machine = f"{facts['processor']} with {facts['instruction set']}, threads: {facts['threads']},"
    text = f"""On {_date(timings)}, on an {machine} by {facts["threading layer"]};
load average {timings.load:.2f} when it began. Medians, by

    {COMMAND}

{_aims_table(timings)}"""
    write_between(page, *MARKS, text)


def _aims_table(timings: Timings) -> str:
    header = ["aim", "at least", "measured", "at most"]
    cells = [[*aim.cells] for aim in aims_of(timings)]
    return f"""{table(header, cells, left=len(header))}

*At most*: what would be measured if only multiply-accumulates on registers took time, those of
signs by XOR, population count and addition, those of floats by multiplication and addition.
Counting in another way, as the kernel does with AVX2, may pass that. Of two threads: what two runs
on one thread each, which never wait for each other, get done at once."""


def _date(timings: Timings) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", timings.started)


def _conditions(timings: Timings) -> str:
    facts = {fact.name: fact.value for fact in inspect_environment().facts}
    versions = ", ".join(f"{name} {facts[name]}" for name in ("bitconv", "numpy", "numba"))
    peers = ", ".join(f"{name} {_version(name)}" for name in ("onnxruntime", "openvino"))
    return f"""# Measured

    {COMMAND}

- {_date(timings)}; load average {timings.load:.2f} when it began
- {facts["processor"]}, of which bitconv used {facts["instruction set"]}
- threads: {facts["threads"]}, by {facts["threading layer"]}
- Python {platform.python_version()}, {versions}, {peers}
- Times are medians, in brackets minima. The sides take turns; each is warm before its turn and,
  but for bare arithmetic on registers, was checked to compute the right numbers. Ratios are of
  medians."""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _convolution_section(timings: Timings) -> str:
    question = "convolution"
    layers = {str(layer): layer for layer in LAYERS if str(layer) in timings.subjects(question)}

    def rate(layer: str, side: str) -> float:
        return layers[layer].macs / timings.median(question, layer, side) / 1e9

    def counted(speedup: Callable[[Layer], float]) -> list[str]:
        return [_digits(speedup(layer)) for layer in layers.values()]

    rows = [
        *_times(timings, question, CONVOLUTION_SIDES, 1e3),
        *_ratios(timings, question, CONVOLUTION_SIDES, "bitconv-kernel", "the kernel"),
        *_ratios(timings, question, CONVOLUTION_SIDES, "bitconv-layer", "the whole layer"),
        ["the roofline, GMAC/s", *(_digits(rate(layer, "registers")) for layer in layers)],
        ["the kernel, GMAC/s", *(_digits(rate(layer, "bitconv-kernel")) for layer in layers)],
        [
            "the kernel's rate ÷ the roofline's",
            *(f"{of_roofline(timings, layer):.0%}" for layer in layers),
        ],
    ]
    counts = [
        ["a multiply-accumulate as one operation", *counted(lambda c: _operations(c, 1))],
        ["a multiply-accumulate as two operations", *counted(lambda c: _operations(c, 2))],
    ]
    return f"""## A binary convolution beside float ones

The 3×3 convolutions of stride 1 of a ResNet-18 (rows² × channels, as many filters), padding 1, one
image, one thread. Milliseconds; then how many times as long the others take.

{table(["measured", *layers], rows)}

The kernel's time includes storing the dot products as float32. The whole layer starts with a copy
of a float32 map and ends in one. GMAC/s count the taps on padding as well. The float sides convolve
the signs as float32, onnxruntime with channels first; a batch norm would cost them nothing, as it
folds into weights and bias. The scalar loop computes one output after another and may not reorder
its additions.

The roofline does as much XOR, population count and addition without loading or storing anything, in
turn with the other sides. A kernel that counts bits in another way may exceed it.

Not times but counts of operations: how many times fewer the layer has than in float32, at one for
64 binary multiply-accumulates and one for the scale of each output.

{table(["operation count, not measured", *layers], counts)}"""


def _operations(layer: Layer, per_mac: int) -> float:
    """``64·p·n / (n + 64)`` for outputs of n products, at p operations a float product."""
    products = layer.macs / (layer.size**2 * layer.channels)
    return per_mac * products / (products / WORD_BITS + 1)


def _weights_section(timings: Timings) -> str:
    question = "weights"
    layers = timings.subjects(question)
    bits, floats = WEIGHT_SIDES

    def speed(of: Callable[..., float], layer: str) -> str:
        return f"{of(question, layer, floats) / of(question, layer, bits):.2f}×"

    rows = [
        *_times(timings, question, WEIGHT_SIDES, 1e3),
        ["speed with one bit ÷ float32, medians", *(speed(timings.median, x) for x in layers)],
        ["speed with one bit ÷ float32, minima", *(speed(timings.minimum, x) for x in layers)],
    ]
    return f"""## Binary weights on a float map, beside float weights

The same convolutions of a float map, one image, one thread, the step of the convolution alone. Both
sides give the same numbers bit for bit. Milliseconds; then how fast the bits are beside the floats.

{table(["measured", *layers], rows)}"""


def _network_section(timings: Timings) -> str:
    question = "network"
    settings = timings.subjects(question)
    rows = [
        *_times(timings, question, NETWORK_SIDES, 1e3),
        *_ratios(timings, question, NETWORK_SIDES, "bitconv", "bitconv"),
    ]
    per_second = [
        int(setting.split()[0]) / timings.median(question, setting, "bitconv")
        for setting in settings
    ]
    rows.append(["bitconv, images a second", *map(_digits, per_second)])
    return f"""## The shipped network beside its layers in float32

From uint8 images to class scores. Milliseconds; then how many times as long the others take.

{table(["measured", *settings], rows)}

"Same numbers" is the same graph with float32 weights α·sign(W) and binarized activations; it gives
the same scores. Without the signs it is the float network of these layers."""


def _codec_section(timings: Timings) -> str:
    question = "codec"
    maps, sides = timings.subjects(question), timings.sides(question)

    def speed(density: str, *tasks: str) -> str:
        speeds = (coding_speed(of, density, *tasks) for of in (timings.median, timings.minimum))
        return "{} ({})".format(*map(_digits, speeds))

    codecs = dict.fromkeys(side.split()[0] for side in sides)
    rows = [
        [
            f"{codec}, {'both' if len(tasks) > 1 else tasks[0]}",
            *(speed(density, *(f"{codec} {task}" for task in tasks)) for density in maps),
        ]
        for codec in codecs
        for tasks in (("encode",), ("decode",), ("encode", "decode"))
        if all(f"{codec} {task}" in sides for task in tasks)
    ]
    return f"""## Codecs of feature maps

One map of {CODED_SHAPE} float32 values to bytes and back, one thread. Megabytes of the 8-bit map a
second, in brackets at best, by the share of the values that are not zero. About 15 µs of each are
what Python takes to call a kernel; a plan does that once for all of its steps.

{table(["MB/s", *maps], rows)}"""


def _resnet_section(timings: Timings) -> str:
    question = "resnet18"
    settings = timings.subjects(question)
    rows = [
        *_times(timings, question, RESNET_SIDES, 1e3),
        *_ratios(timings, question, RESNET_SIDES, "bitconv", "bitconv"),
    ]
    return f"""## An XNOR ResNet-18 beside the float one

From float32 images to scores, random weights. The binary network has signs where the float one has
rectifiers; its stem, 1×1 shortcuts and classifier are float. Batch norm is folded on both sides.
Eight bits: activations quantized statically, weights by channel. Every step of the binary network
was verified against its reference, the other engines against the float network's. On registers
alone, products of signs are XOR, population count and addition, those of floats multiplication and
addition. Milliseconds; then how many times as long the others take.

{table(["measured", *settings], rows)}"""


def _threads_section(timings: Timings) -> str:
    rows = []
    for subject in timings.subjects("threads"):
        one, two, twice = (("threads", subject, side) for side in ("1", "2", TWICE))
        medians = [timings.median(*key) for key in (one, two, twice)]
        slowest = timings.percentile99(*two)
        speedups = (f"{medians[0] / medians[1]:.2f}×", f"{2 * medians[0] / medians[2]:.2f}×")
        times = (_digits(1e3 * seconds) for seconds in (*medians[:2], slowest))
        rows.append([subject, *times, *speedups, f"{slowest / medians[1]:.2f}"])
    header = ("layer", "1 thread", "2 threads", "p99 of 2", "gain", "of two runs", "p99 ÷ median")
    return f"""## Two threads, and a busy neighbour

The XNOR ResNet-18 at 224×224, one image, by Numba's threading layer, {TURNS} processes each; the
neighbour is a process that keeps one of the cores busy. Milliseconds. *Of two runs*: what is gained
by two runs on one thread each at once, which never wait for each other.

{table(header, rows)}"""


def _memory_section(timings: Timings) -> str:
    labels = {
        "arena": "arena, bytes",
        "alive": "largest sum of maps alive at once, bytes",
        "constants": "weights and other constants, bytes",
        "peak": "allocated during a warm `predict` at most (tracemalloc), bytes",
    }
    sizes = list(dict.fromkeys(subject for _, subject, _ in timings.figures))
    rows = [
        [label, *(f"{timings.figures['memory', size, name]:,.0f}" for size in sizes)]
        for name, label in labels.items()
    ]
    return f"""## Memory of the XNOR ResNet-18

{table(["measured", *sizes], rows)}"""


def _process_section(timings: Timings) -> str:
    rows = [
        [label, _time(timings, ("process", *key), 1)]
        for key, label in PROCESSES.items()
        if ("process", *key) in timings.seconds
    ]
    return f"""## A fresh process

From starting Python to its end, all threads, files in the system's cache. Seconds.

{table(["measured", "s"], rows)}"""


def _times(
    timings: Timings, question: str, labels: Mapping[str, str], unit: float
) -> list[list[str]]:
    """A row for every side that was measured."""
    subjects, sides = timings.subjects(question), timings.sides(question)
    return [
        [label, *(_time(timings, (question, subject, side), unit) for subject in subjects)]
        for side, label in labels.items()
        if side in sides
    ]


def _time(timings: Timings, key: tuple[str, str, str], unit: float) -> str:
    return f"{_digits(timings.median(*key) * unit)} ({_digits(timings.minimum(*key) * unit)})"


def _ratios(
    timings: Timings, question: str, labels: Mapping[str, str], base: str, name: str
) -> list[list[str]]:
    """How many times as long as `base` every side takes that is another's."""
    rows = []
    for side in timings.sides(question):
        if not side.startswith(("bitconv", "registers")):
            ratios = [
                timings.median(question, subject, side) / timings.median(question, subject, base)
                for subject in timings.subjects(question)
            ]
            rows.append([f"{labels[side]} ÷ {name}", *(f"{_digits(ratio)}×" for ratio in ratios)])
    return rows


def _digits(number: float) -> str:
    """Three digits, or all before the point."""
    return f"{number:,.{max(0, 2 - floor(log10(number)))}f}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Markdown, aligned for the terminal; all columns from number `left` on to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = ["-" * width for width in widths[:left]]
    rule += ["-" * (width - 1) + ":" for width in widths[left:]]
    lines = [_line(cells, widths, left) for cells in (header, rule, *rows)]
    return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int], left: int) -> str:
    padded = [
        cell.ljust(width) if number < left else cell.rjust(width)
        for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return f"| {' | '.join(padded)} |"
