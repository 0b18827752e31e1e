"""What codecs save as a chart (the extra ``plot``)."""

from __future__ import annotations

from pathlib import Path

from bitconv.feature_maps.report import NetworkReport
from bitconv.profile_plot import bar_figure, check_format, save

COLOURS = ("tab:blue", "tab:green", "tab:orange", "tab:purple")


def plot(report: NetworkReport, path: Path) -> None:
    """Draw the bytes of every map that has a codec, 8-bit and encoded, with the ratio.

    Parameters
    ----------
    report : NetworkReport
    path : Path
        Of a picture; the ending decides its format.

    Raises
    ------
    InputError
        matplotlib knows no such format.
    FileError
        The file cannot be written.
    """
    check_format(path)
    coded = report.coded
    places = range(len(coded))
    figure, axes = bar_figure(len(coded))
    axes.barh(places, [each.values for each in coded], color="lightgray", label="8-bit")
    codecs = list(dict.fromkeys(f"{each.codec} {each.mode}".rstrip() for each in coded))
    for number, codec in enumerate(codecs):
        chosen = [i for i in places if f"{coded[i].codec} {coded[i].mode}".rstrip() == codec]
        colour = COLOURS[number % len(COLOURS)]
        sizes = [coded[i].encoded_bytes for i in chosen]
        bars = axes.barh(chosen, sizes, height=0.5, color=colour, label=codec)
        axes.bar_label(bars, [f"{coded[i].ratio:.1f}×" for i in chosen], padding=3, fontsize=7)
    axes.set_yticks(places, [each.name for each in coded], fontsize=7, parse_math=False)
    axes.invert_yaxis()
    axes.margins(x=0.02, y=0.01)
    axes.set_xlabel(
        f"bytes; mean ratio against 8 bits {report.mean_ratio:.2f}×, "
        f"total {report.total_ratio:.2f}×"
    )
    axes.legend()
    save(figure, path)
