"""Train the rows of the study of shared scales: ResNet-20 on CIFAR-10, float, BWN and XNOR.

    python weights/recipes/shared_scales.py cifar-10-batches-bin runs/shared-scales --workers 2

Every row starts from the float network of its seed and width (the parent) and is trained on with
the same schedule, the float row too, so that rows differ only in what their layers are. A finished
run leaves its weights, one line of ``results.jsonl`` and its exported model; the same command goes
on with what is missing. ``benchmarks/shared_scales.py`` measures the models.

The network is ResNet-20 with a shortcut around every 3x3 convolution (as in Bi-Real Net, arXiv
1808.00278) and the activation before it: ReLU for float weights and BWN, the sign for XNOR.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from cifar10 import MEAN, SIDE, STD, augmented, predict, read_batches
from schedule import learning_rate
from torch import Tensor, nn
from torch.nn import functional

from bitconv.datasets import CIFAR10_CLASSES
from bitconv.graph import Metadata, Preparation
from bitconv.operators import Normalize
from bitconv.training import BinaryConv2d, BinarySign, clamp_weights, export

WIDTH, WIDE = 16, 32  # channels of the first stage; the later ones have two and four times as many
BLOCKS_A_STAGE = 6

BATCH = 64
MAX_SHIFT = 2  # pixels
PARENT_SIDES = (16, 16, 16, 24, 24, 24)  # pixels of the images of each epoch
ROW_SIDES = (24, 24)
PARENT_LEARNING_RATE, ROW_LEARNING_RATE = 4e-3, 2e-3  # the peaks

COMPARED_IMAGES = 20  # layer by layer with PyTorch, at export

MAIN_SEEDS = (1, 2, 3)
MAIN_SCALES = ("1xI", "16xI", "OxI")  # 64xI is OxI here, 1x64 is 1xI
OTHER_SCALES = ("4xI", "1x8")


# --- Rows ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A network of the study.

    Attributes
    ----------
    mode : {"float", "bwn", "xnor"}
    scale : str
        The sharing of scales; empty for float weights.
    width : int
        Channels of the first stage.
    """

    mode: str
    scale: str = ""
    width: int = WIDTH

    @property
    def name(self) -> str:
        """Such as ``xnor-16xI`` or ``wide-xnor-OxI``."""
        parts = ["wide"] if self.width == WIDE else []
        return "-".join([*parts, self.mode, *([self.scale] if self.scale else [])])


def planned_runs() -> Iterator[tuple[Row, int]]:
    """Every row and seed, the most telling first."""
    modes = ("bwn", "xnor")
    main = [Row("float"), *(Row(mode, scale) for scale in MAIN_SCALES for mode in modes)]
    for seed in MAIN_SEEDS:
        yield from ((row, seed) for row in main)
    yield from ((Row(mode, scale), 1) for scale in OTHER_SCALES for mode in modes)
    wide = [Row("float", width=WIDE), *(Row("xnor", scale, WIDE) for scale in ("1xI", "OxI"))]
    yield from ((row, 1) for row in wide)


# --- Network ---------------------------------------------------------------------------------


class Block(nn.Module):
    """Activation, convolution, batch norm, and a shortcut around the three."""

    def __init__(self, row: Row, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        geometry = (in_channels, channels, 3, stride, 1)
        self.activation = BinarySign(in_channels) if row.mode == "xnor" else nn.ReLU()
        if row.mode == "float":
            self.convolution: nn.Conv2d = nn.Conv2d(*geometry, bias=False)
        else:
            self.convolution = BinaryConv2d(*geometry, bias=False, mode=row.mode, scale=row.scale)
        self.norm = nn.BatchNorm2d(channels)
        self.stride, self.widens = stride, channels != in_channels

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.convolution(self.activation(x)))
        if self.stride > 1:
            x = functional.avg_pool2d(x, self.stride)
        if self.widens:
            x = torch.cat([x, x], 1)
        return x + y


class ResNet20(nn.Module):
    """Float stem, three stages of six blocks, float classifier."""

    def __init__(self, row: Row) -> None:
        super().__init__()
        channels = row.width
        self.stem = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(channels)
        blocks = []
        for stage in range(3):
            for index in range(BLOCKS_A_STAGE):
                wanted, stride = row.width << stage, 2 if stage and not index else 1
                blocks.append(Block(row, channels, wanted, stride))
                channels = wanted
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(channels, len(CIFAR10_CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.stem_norm(self.stem(x)))
        return self.classifier(functional.relu(x).mean(dim=(2, 3)))


def _forward(model: nn.Module, batch: Tensor) -> Tensor:
    return model(batch)


# --- Training --------------------------------------------------------------------------------


class Study:
    """The runs, their data and their folder.

    Parameters
    ----------
    data : Path
        Folder of CIFAR-10's binary batches.
    folder : Path
        Of the finished runs.
    """

    def __init__(self, data: Path, folder: Path) -> None:
        self.folder = folder
        self.images, self.labels = read_batches(data, [f"data_batch_{i}" for i in range(1, 6)])
        self.test_images, self.test_labels = read_batches(data, ["test_batch"])
        self._forward = torch.compile(_forward) if shutil.which("c++") else _forward

    def run(self, row: Row, seed: int) -> None:
        """Train a row from its parent, unless that was done before."""
        path = weights_path(self.folder, row.name, seed)
        if path.exists():
            return
        model = ResNet20(row).to(memory_format=torch.channels_last)
        # What the parent lacks, the thresholds of the signs, starts at its own first value.
        model.load_state_dict(torch.load(self.parent(row.width, seed)), strict=False)
        torch.manual_seed(seed)
        self._train(model, path, ROW_SIDES, ROW_LEARNING_RATE, seed)

    def parent(self, width: int, seed: int) -> Path:
        """The weights of the float network that the rows of a width and seed start from."""
        name = "wide-parent" if width == WIDE else "parent"
        path = weights_path(self.folder, name, seed)
        if not path.exists():
            torch.manual_seed(seed)
            model = ResNet20(Row("float", width=width)).to(memory_format=torch.channels_last)
            self._train(model, path, PARENT_SIDES, PARENT_LEARNING_RATE, seed)
        return path

    def _train(
        self, model: ResNet20, path: Path, sides: tuple[int, ...], peak: float, seed: int
    ) -> None:
        torch.compiler.reset()  # else the networks of earlier runs count against its limit
        started, loss = time.perf_counter(), torch.tensor(0.0)
        optimizer = torch.optim.Adam(model.parameters(), fused=True)
        generator = torch.Generator().manual_seed(seed)
        steps, step = len(self.images) // BATCH * len(sides), 0
        model.train()
        for side in sides:
            crop = side if side in ROW_SIDES else SIDE
            batches = augmented(
                self.images, self.labels, BATCH, side, generator, max_shift=MAX_SHIFT, crop=crop
            )
            for batch, target in batches:
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(step / steps, peak)
                loss = functional.cross_entropy(self._forward(model, batch), target)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                clamp_weights(model)
                step += 1
        seconds = time.perf_counter() - started
        self._finish(model, path, last_loss=round(loss.item(), 4), seconds=round(seconds))

    def _finish(self, model: ResNet20, path: Path, **record: float) -> None:
        """Test, keep the weights and write the line of results."""
        scores = predict(model, self.test_images)
        correct = int((scores.argmax(1) == self.test_labels).sum())
        line = json.dumps({"run": path.stem, "correct_in_pytorch": correct, **record})
        print(line, flush=True)
        with (self.folder / "results.jsonl").open("a") as results:
            results.write(line + "\n")
        unfinished = path.with_suffix(".new")
        torch.save(model.state_dict(), unfinished)
        os.replace(unfinished, path)


def export_run(folder: Path, row: Row, seed: int, images: Tensor) -> None:
    """Write the model of a finished run beside its weights, unless it is there.

    Parameters
    ----------
    folder : Path
    row : Row
    seed : int
    images : Tensor of shape (N, 3, 32, 32)
        uint8, on which PyTorch and bitconv must agree layer by layer.
    """
    weights = weights_path(folder, row.name, seed)
    path = weights.with_suffix(".h5")
    if path.exists():
        return
    model = ResNet20(row)
    model.load_state_dict(torch.load(weights))
    metadata = Metadata(
        name=weights.stem,
        licence="Apache-2.0",
        source="bitconv, weights/recipes/shared_scales.py",
        training_data="CIFAR-10 (Krizhevsky 2009)",
        preparation=Preparation(resize=(SIDE,), crop=(SIDE, SIDE), interpolation="bilinear"),
    )
    agreement = export(
        model,
        path,
        images.permute(0, 2, 3, 1).contiguous().numpy(),
        labels=CIFAR10_CLASSES,
        normalization=Normalize(np.array(MEAN), np.array(STD)),
        metadata=metadata,
    )
    print(f"{path.name}: {agreement.same_labels} of {agreement.images} labels as in PyTorch")


def weights_path(folder: Path, name: str, seed: int) -> Path:
    """Where a run leaves its weights."""
    return folder / f"{name}-seed{seed}.pt"


# --- Workers ---------------------------------------------------------------------------------

study: Study  # of this process


def start(data: Path, folder: Path) -> None:
    """What each worker does first."""
    global study
    torch.set_num_threads(1)
    study = Study(data, folder)


def train_parent(width_and_seed: tuple[int, int]) -> None:
    """Train a parent in this worker."""
    study.parent(*width_and_seed)


def train_row(row_and_seed: tuple[Row, int]) -> None:
    """Train a row in this worker."""
    study.run(*row_and_seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder of CIFAR-10's binary batches")
    parser.add_argument("folder", type=Path, help="folder of the runs")
    parser.add_argument("--workers", type=int, default=1, help="processes of one thread each")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    runs = list(planned_runs())
    parents = sorted({(row.width, seed) for row, seed in runs}, reverse=True)  # the slowest first
    folders = (options.data, options.folder)
    with get_context("spawn").Pool(options.workers, start, folders) as pool:
        pool.map(train_parent, parents, chunksize=1)
        pool.map(train_row, runs, chunksize=1)
    images, _ = read_batches(options.data, ["test_batch"])
    for row, seed in runs:
        export_run(options.folder, row, seed, images[:COMPARED_IMAGES])


if __name__ == "__main__":
    main()
