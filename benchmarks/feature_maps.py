"""What compressing feature maps gives: ratio against accuracy, as a table, a file and a plot.

    python benchmarks/feature_maps.py resnet20.h5 resnet56.h5 cifar-10-batches-bin

The codecs are calibrated on training images (``data_batch_1.bin``) and measured on the test images
of the folder. Every codec is measured in every third of its settings for all maps alike, and with
the settings that calibration chooses for each map within a loss, which is one on the training
images.
The results go to ``docs/feature-maps.csv``, ``docs/feature-maps.svg`` and between the marks of
``docs/feature-maps.md``. It takes hours; the same command goes on with what is missing in the first
of these files.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import get_type_hints

from pages import markdown, write_between

from bitconv import Model, read
from bitconv.errors import InputError
from bitconv.feature_maps import CODECS
from bitconv.feature_maps.calibration import BEST, SEARCHED, Calibration, Choice, Search
from bitconv.feature_maps.report import FLOAT_BYTES, report
from bitconv.feature_maps.sample import read_sample

DOCS = Path(__file__).resolve().parents[1] / "docs"
PLAIN = "eight-bit"  # what the ratios are against, and the loss of 8 bits alone
TRAINING_BATCH = "data_batch_1.bin"
CALIBRATION_IMAGES = 1000
LOSSES = (0.1, 0.5, 1.0)  # per cent of the training images


@dataclass(frozen=True)
class Result:
    """A network with one choice of codecs.

    Attributes
    ----------
    network, codec : str
        Codec ``best`` takes the best one of each map.
    setting : str
        The setting of all maps, or the loss that calibration was allowed.
    chosen : bool
        Whether calibration chose the settings map by map.
    mean_ratio, total_ratio : float
        Against 8 bits.
    images, correct_before, correct, changed : int
        Test images; those right without and with codecs; labels that changed.
    """

    network: str
    codec: str
    setting: str
    chosen: bool
    mean_ratio: float
    total_ratio: float
    images: int
    correct_before: int
    correct: int
    changed: int

    @property
    def key(self) -> tuple[str, str, str]:
        """What was measured."""
        return self.network, self.codec, self.setting

    @property
    def accuracy(self) -> float:
        return 100 * self.correct / self.images

    @property
    def loss(self) -> float:
        return 100 * (self.correct_before - self.correct) / self.images


# --- Measuring -------------------------------------------------------------------------------


class Measuring:
    """One network, its test images and what it makes of them without codecs."""

    def __init__(self, path: Path, data: Path, images: int | None) -> None:
        self.network, graph = path.stem, read(path)
        model = Model(graph)
        count = min(images or CALIBRATION_IMAGES, CALIBRATION_IMAGES)
        self.search = Search(graph, read_sample(model, data / TRAINING_BATCH, count))
        self.test = read_sample(model, data, images)
        self.scores = self.test.scores(model)

    def results(self, known: set[tuple[str, str, str]]) -> Iterator[Result]:
        """Codecs in some settings, then what calibration chooses, but for what is known."""
        for codec in (PLAIN, *SEARCHED):
            for settings in CODECS[codec].settings()[::3]:  # enough for a curve
                setting = ", ".join(f"{name} {value:g}" for name, value in settings.items())
                if (self.network, codec, setting) not in known:
                    found = self.search.usual(CODECS[codec], **settings)
                    yield self._result(codec, setting, False, found)
        for codec in (*SEARCHED[1:], BEST):
            for loss in LOSSES:
                if (self.network, codec, f"{loss} %") not in known:
                    with suppress(InputError):  # not even the mildest settings lose so little
                        found = self.search.within(loss, self._choices(codec))
                        yield self._result(codec, f"{loss} %", True, found)

    @cached_property
    def _trials(self) -> dict[str, list[Choice]]:
        return self.search.trials([CODECS[codec] for codec in SEARCHED])

    def _choices(self, codec: str) -> dict[str, list[Choice]]:
        """What there is to choose from for each map, of one codec or for the best of all."""
        return {
            name: [each for each in choices if codec in (BEST, each.codec.codec.name)]
            for name, choices in self._trials.items()
        }

    def _result(self, codec: str, setting: str, chosen: bool, found: Calibration) -> Result:
        measured = report(found.graph, self.test, before=self.scores)
        assert measured.correct_before is not None
        assert measured.correct_after is not None
        result = Result(
            self.network,
            codec,
            setting,
            chosen,
            round(measured.mean_ratio, 4),
            round(measured.total_ratio, 4),
            measured.images,
            measured.correct_before,
            measured.correct_after,
            measured.changed,
        )
        print(result, flush=True)
        return result


# --- Page ------------------------------------------------------------------------------------

HEADER = (
    *("network", "codec", "setting", "mean ratio", "total ratio", "mean to float32"),
    *("accuracy, %", "loss, points", "labels changed"),
)


def table(results: Sequence[Result]) -> str:
    """A Markdown table."""
    lines = []
    for each in results:
        setting = f"chosen within {each.setting}" if each.chosen else each.setting
        lines.append(
            (
                each.network,
                each.codec,
                setting,
                f"{each.mean_ratio:.2f}×",
                f"{each.total_ratio:.2f}×",
                f"{FLOAT_BYTES * each.mean_ratio:.2f}×",
                f"{each.accuracy:.2f}",
                f"{each.loss:.2f}",
                f"{100 * each.changed / each.images:.2f} %",
            )
        )
    return markdown(HEADER, lines, left=3)


def plot(results: Sequence[Result], path: Path) -> None:
    """Lost accuracy against the mean ratio, a panel a network."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = path.name  # the same picture from the same figures
    from matplotlib import pyplot

    networks = list(dict.fromkeys(each.network for each in results))
    figure, panels = pyplot.subplots(
        1, len(networks), figsize=(5 * len(networks), 4.5), layout="constrained", squeeze=False
    )
    colours = {codec: f"C{number}" for number, codec in enumerate((*SEARCHED, BEST, PLAIN))}
    for axes, network in zip(panels[0], networks, strict=True):
        for codec, colour in colours.items():
            for chosen, style in ((False, "o:"), (True, "s-")):
                points = [
                    (each.mean_ratio, each.loss)
                    for each in results
                    if (each.network, each.codec, each.chosen) == (network, codec, chosen)
                ]
                if points:
                    label = f"{codec}, chosen a map" if chosen else codec
                    axes.plot(*zip(*points, strict=True), style, color=colour, label=label)
        axes.set(title=network, xlabel="mean ratio against 8 bits", ylabel="points lost")
        axes.set_yscale("symlog", linthresh=1)
        axes.axhline(0.5, color="gray", linewidth=0.5)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def write_results(results: Sequence[Result], path: Path) -> None:
    """The raw results, a line each; an interruption leaves the file as it was."""
    part = path.with_suffix(".part")
    with part.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in fields(Result))
        writer.writerows(astuple(result) for result in results)
    part.replace(path)


def read_results(path: Path) -> list[Result]:
    """What `write_results` wrote; nothing where there is no file."""
    if not path.exists():
        return []
    kinds = get_type_hints(Result)
    with path.open(newline="") as file:
        return [
            Result(**{name: _read(kinds[name], text) for name, text in line.items()})
            for line in csv.DictReader(file)
        ]


def _read(kind: type, text: str) -> str | int | float | bool:
    return text == "True" if kind is bool else kind(text)


def write_table(page: Path, name: str, text: str) -> None:
    """Replace the page's table of that name."""
    begin = f"<!-- table of {name}, written by the command -->"
    write_between(page, begin, "<!-- end of table -->", text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", type=Path, nargs="+", help="models to measure")
    parser.add_argument("data", type=Path, help="folder of CIFAR-10's binary batches")
    parser.add_argument("--images", type=int, help="test images; all when not given")
    parser.add_argument("--docs", type=Path, default=DOCS, help="where the results go")
    options = parser.parse_args()
    path = options.docs / "feature-maps.csv"
    results = read_results(path)
    for model in options.models:
        known = {result.key for result in results}
        for result in Measuring(model, options.data, options.images).results(known):
            results.append(result)
            write_results(results, path)
    plot(results, options.docs / "feature-maps.svg")
    write_table(options.docs / "feature-maps.md", "ratios", table(results))


if __name__ == "__main__":
    main()
