"""A profile as a chart (the extra ``plot``)."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from bitconv.errors import InputError, MissingPackageError
from bitconv.file import replace_file
from bitconv.profiling import Profile, StepProfile

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch
except ImportError as error:
    raise MissingPackageError(
        "a chart needs matplotlib; install it with: pip install 'bitconv[plot]'"
    ) from error

COLOURS = {
    "signs": "tab:blue",
    "additions": "tab:green",
    "float": "tab:orange",
    "": "tab:gray",
}
LEGEND = {
    "signs": "signs",
    "additions": "binary weights, float maps",
    "float": "floats",
    "": "no multiply-accumulates",
}
INCHES_PER_BAR = 0.25


def check_format(path: Path) -> None:
    """Raise `InputError` unless a chart can be kept in a file of that name."""
    known = Figure().canvas.get_supported_filetypes()
    if path.suffix.lower().removeprefix(".") not in known:
        raise InputError(f"{path}: no name of a picture; it may end in {', '.join(sorted(known))}")


def plot(profile: Profile, path: Path) -> None:
    """Draw the time of every step, in order, as a bar with its fraction of the roofline.

    Parameters
    ----------
    profile : Profile
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
    steps = profile.steps
    figure, axes = bar_figure(len(steps))
    bars = axes.barh(
        range(len(steps)),
        [1e3 * step.seconds for step in steps],
        color=[COLOURS[step.arithmetic] for step in steps],
    )
    axes.bar_label(bars, [_label(step) for step in steps], padding=3, fontsize=7)
    titles = [step.title for step in steps]
    axes.set_yticks(range(len(steps)), titles, fontsize=7, parse_math=False)
    axes.invert_yaxis()
    axes.margins(x=0.1, y=0.01)
    axes.set_xlabel(f"ms, {1e3 * profile.seconds:.3f} in all; percentages are of the roofline")
    present = [kind for kind in COLOURS if any(step.arithmetic == kind for step in steps)]
    axes.legend(handles=[Patch(color=COLOURS[kind], label=LEGEND[kind]) for kind in present])
    save(figure, path)


def bar_figure(bars: int) -> tuple[Figure, Axes]:
    """An empty chart with room for so many bars below each other."""
    figure = Figure(figsize=(9, 1.5 + INCHES_PER_BAR * bars), layout="constrained")
    return figure, figure.add_subplot()


def save(figure: Figure, path: Path) -> None:
    """Write a whole chart at once, or raise `FileError`."""
    image = BytesIO()
    figure.savefig(image, format=path.suffix.lower().removeprefix("."))
    replace_file(path, image.getvalue())


def _label(step: StepProfile) -> str:
    return "" if step.of_roofline is None else f"{100 * step.of_roofline:.0f} %"
