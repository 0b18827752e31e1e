"""The commands for feature maps that are kept encoded."""

from __future__ import annotations

from pathlib import Path

import click

from bitconv.command_parts import check_chart, check_place
from bitconv.shipped import model_path
from bitconv.text import printable

CALIBRATION_IMAGES = 1000  # evenly spread over all that are given
IMAGES_HELP = (
    "IMAGES are a binary batch of CIFAR-10, or the folder of all ({batches}); a folder with one "
    "folder of pictures a class; or a folder of pictures without labels."
)


@click.command(epilog=IMAGES_HELP.format(batches="of which the training batches are taken"))
@click.argument("model")
@click.argument("images", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--feature-maps",
    "codec",
    metavar="CODEC",
    required=True,
    help="zero-mask, dct-cm, transform-coding, eight-bit, or best, the best of the first three "
    "for each map, which needs --max-loss.",
)
@click.option(
    "--max-loss",
    type=click.FloatRange(0, 100),
    help="Make the maps as small as this loss allows: percentage points of accuracy on IMAGES, or "
    "per cent of changed labels where there are no classes.",
)
def calibrate(model: str, images: Path, out: Path, codec: str, max_loss: float | None) -> None:
    """Write a model with a codec for each of its feature maps.

    The codecs are fitted to at most 1,000 of the IMAGES, which should not be those that the model
    is tested on.
    """
    from bitconv.feature_maps.calibration import calibrate as choose
    from bitconv.feature_maps.calibration import check_choice
    from bitconv.feature_maps.sample import read_sample
    from bitconv.file import read, write
    from bitconv.model import Model
    from bitconv.terminal import progress_bar

    path = model_path(model)
    check_place(out, path)
    check_choice(codec, max_loss)
    graph = read(path)
    sample = read_sample(Model(graph), images, CALIBRATION_IMAGES, training=True)
    with progress_bar("Trying codecs", "maps") as progress:
        result = choose(graph, sample, codec, max_loss, progress)
    write(result.graph, out)
    sizes = f"{path.stat().st_size:,} → {out.stat().st_size:,}"
    print(f"{result}\n\nWrote {printable(str(out))} ({sizes} bytes).")


@click.command(epilog=IMAGES_HELP.format(batches="of which the test batch is taken"))
@click.argument("model")
@click.argument("images", type=click.Path(path_type=Path))
@click.option(
    "--plot",
    "picture",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Draw the maps as bars; the ending decides the format.",
)
def maps(model: str, images: Path, picture: Path | None) -> None:
    """Show what the codecs of a model's feature maps save, and what they cost."""
    check_chart(picture)
    from bitconv.feature_maps.report import report
    from bitconv.feature_maps.sample import read_sample
    from bitconv.file import read
    from bitconv.model import Model
    from bitconv.terminal import progress_bar

    graph = read(model_path(model))
    sample = read_sample(Model(graph), images)
    with progress_bar("Encoding", "maps") as progress:
        result = report(graph, sample, progress)
    print(result)
    if picture is not None:
        from bitconv.feature_maps.plot import plot

        plot(result, picture)
