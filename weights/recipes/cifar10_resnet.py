"""Train and export the shipped CIFAR-10 model: a binary residual network with shared scales.

    python weights/recipes/cifar10_resnet.py cifar-10-batches-bin runs/resnet --workers 2

The data is CIFAR-10's official binary layout. A run is one cycle of learning rates. Every epoch
leaves a checkpoint in the run's folder, from which the same command goes on after an interruption.
With ``--start-from`` a run begins with another's checkpoint, or with the signs and scales of an
exported model (a warm restart, arXiv 1608.03983); with ``--teacher MODEL...`` it learns what these
models make of the images in place of their labels. After the last epoch, or at once with
``--export-only``, the network is written to ``cifar10-resnet.h5``, with its log and the measured
figures of the card beside it.

Each worker is a process of one thread with a part of every batch; on few cores that is faster than
one process of several threads. Training is compiled where there is a C++ compiler and runs slower,
but the same, without.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cifar10 import MEAN, SIDE, STD, augmented, predict, read_batches
from model_card import write_figures
from restarting import restore
from schedule import learning_rate
from teaching import soft_targets
from torch import Tensor, distributed, nn
from torch.multiprocessing import spawn
from torch.nn import functional

from bitconv.datasets import CIFAR10_CLASSES
from bitconv.file import read
from bitconv.graph import Metadata, Preparation
from bitconv.model import Model
from bitconv.operators import Normalize
from bitconv.training import BinaryConv2d, BinarySign, clamp_weights, export, to_graph

NAME = "cifar10-resnet"
WEIGHTS = Path(__file__).resolve().parents[1]

STAGES = ((64, 2), (128, 4), (256, 6))  # channels, binary convolutions
SCALE = "8xI"  # eight adjacent filters share one

EPOCH_SIDES = (24,) * 23 + (32,) * 5  # pixels of the images of each epoch
BATCH = 128
MAX_SHIFT = 4  # pixels of the whole image
PEAK_LEARNING_RATE, RESTART_LEARNING_RATE = 3e-3, 2e-3
LABEL_SMOOTHING = 0.1

TRAINING_BATCHES = [f"data_batch_{number}" for number in range(1, 6)]
CHECKPOINT, LOG, TARGETS = "checkpoint.pt", "log.jsonl", "targets.pt"

COMPARED_IMAGES = 100  # layer by layer with PyTorch
LABELS_THAT_MAY_DIFFER = 0.001


# --- Network ---------------------------------------------------------------------------------


class BinaryBlock(nn.Module):
    """Sign, binary convolution, batch norm, and a shortcut around the three; then PReLU."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.sign = BinarySign(in_channels)
        self.convolution = BinaryConv2d(
            in_channels, channels, 3, stride, padding=1, bias=False, scale=SCALE
        )
        nn.init.kaiming_normal_(self.convolution.weight)
        self.norm = nn.BatchNorm2d(channels)
        self.activation = nn.PReLU(channels)
        self.stride, self.widens = stride, channels != in_channels

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.convolution(self.sign(x)))
        if self.stride > 1:
            x = functional.avg_pool2d(x, self.stride)
        if self.widens:
            x = torch.cat([x, x], 1)
        return self.activation(x + y)

    def become_identity(self) -> None:
        """Give out the input, until training changes that; a map cannot change its shape so."""
        if self.stride > 1 or self.widens:
            raise SystemExit("a block that changes the shape of its input cannot be added")
        nn.init.zeros_(self.norm.weight)
        nn.init.ones_(self.activation.weight)


class BinaryResNet(nn.Module):
    """Float stem, binary stages, float classifier."""

    def __init__(self, classes: int = len(CIFAR10_CLASSES)) -> None:
        super().__init__()
        channels = STAGES[0][0]
        self.stem = nn.Conv2d(3, channels, 5, stride=2, padding=2, bias=False)
        self.stem_norm = nn.BatchNorm2d(channels)
        blocks = []
        for stage, (width, count) in enumerate(STAGES):
            for index in range(count):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(BinaryBlock(channels, width, stride))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem_norm(self.stem(x))
        return self.classifier(self.blocks(x).mean(dim=(2, 3)))


# --- Training --------------------------------------------------------------------------------


class Training:
    """A run: network, optimizer and random state, kept in a folder after every epoch.

    Parameters
    ----------
    data : Path
        Folder of CIFAR-10's binary batches.
    run : Path
        Folder of ``checkpoint.pt``, which is gone on from if it is there, and ``log.jsonl``; maybe
        of ``targets.pt``, probabilities to learn in place of the labels.
    seed : int
    start_from : Path, optional
        What the run begins with, and whose log its own continues: the checkpoint of another run, or
        an exported model.
    worker, workers : int
        This process trains on a part of every batch, beside the others of `torch.distributed`.
    """

    def __init__(
        self,
        data: Path,
        run: Path,
        seed: int,
        start_from: Path | None = None,
        worker: int = 0,
        workers: int = 1,
    ) -> None:
        torch.manual_seed(seed)
        self.run, self.epoch = run, 0
        self._peak = RESTART_LEARNING_RATE if start_from else PEAK_LEARNING_RATE
        self._is_first, self._part = worker == 0, slice(worker, None, workers)
        self.images, self.labels = read_batches(data, TRAINING_BATCHES)
        self.test_images, self.test_labels = read_batches(data, ["test_batch"])
        taught = run / TARGETS
        self.targets = torch.load(taught) if taught.exists() else self.labels
        self._smoothing = 0.0 if taught.exists() else LABEL_SMOOTHING
        self.generator = torch.Generator().manual_seed(seed)
        self.model = BinaryResNet().to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(self.model.parameters())
        run.mkdir(parents=True, exist_ok=True)
        if self._checkpoint.exists():
            self._restore()
        elif start_from:
            self._restart(start_from)
        self._scores: nn.Module | Callable[[Tensor], Tensor] = self.model
        if workers > 1:
            self._scores = nn.parallel.DistributedDataParallel(self.model)
        if shutil.which("c++"):
            self._scores = torch.compile(self._scores)

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return self.epoch >= len(EPOCH_SIDES)

    def train_epoch(self) -> None:
        """One pass over the training images, a line in the log and a checkpoint.

        The network is tested where the images had their full size.
        """
        started, losses = time.perf_counter(), []
        side = EPOCH_SIDES[self.epoch]
        steps = len(self.images) // BATCH
        self.model.train()
        batches = augmented(
            self.images,
            self.targets,
            BATCH,
            side,
            self.generator,
            max_shift=MAX_SHIFT,
            part=self._part,
        )
        for step, (batch, target) in enumerate(batches):
            losses.append(self._step(batch, target, (self.epoch + step / steps) / len(EPOCH_SIDES)))
        self.epoch += 1
        record = {"epoch": self.epoch, "size": side, "loss": round(sum(losses) / steps, 4)}
        if side == SIDE:
            record["test_accuracy"] = round(self._correct() / len(self.test_images), 4)
        if self._is_first:
            self._log(**record, seconds=round(time.perf_counter() - started, 1))
            self._save()

    def _correct(self) -> int:
        """How many test images the network of the first worker is right on; each tests a part."""
        if distributed.is_initialized():
            for statistics in self.model.buffers():
                distributed.broadcast(statistics, 0)
        scores = predict(self.model, self.test_images[self._part])
        correct = (scores.argmax(1) == self.test_labels[self._part]).sum()
        if distributed.is_initialized():
            distributed.all_reduce(correct)
        return int(correct)

    def _step(self, batch: Tensor, target: Tensor, progress: float) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(progress, self._peak)
        loss = functional.cross_entropy(
            self._scores(batch), target, label_smoothing=self._smoothing
        )
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        clamp_weights(self.model)
        return loss.item()

    def _log(self, **record: Any) -> None:
        line = json.dumps(record)
        print(line, flush=True)
        with (self.run / LOG).open("a") as log:
            log.write(line + "\n")

    @property
    def _checkpoint(self) -> Path:
        return self.run / CHECKPOINT

    def _save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "epoch": self.epoch,
            "peak": self._peak,
        }
        unfinished = self._checkpoint.with_suffix(".new")
        torch.save(state, unfinished)
        os.replace(unfinished, self._checkpoint)

    def _restore(self) -> None:
        state = self._load(self._checkpoint)
        self.generator.set_state(state["generator"])
        self.epoch, self._peak = state["epoch"], state["peak"]

    def _load(self, checkpoint: Path) -> dict[str, Any]:
        state = torch.load(checkpoint)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        return state

    def _restart(self, path: Path) -> None:
        if path.suffix == ".pt":
            self._load(path)
            epochs = path.with_name(LOG).read_text()
        else:
            self._begin_with_model(path)
            *lines, _exported = path.with_suffix(".log.jsonl").read_text().splitlines()
            epochs = "".join(f"{line}\n" for line in lines)
        if self._is_first:
            (self.run / LOG).write_text(epochs)

    def _begin_with_model(self, path: Path) -> None:
        missing = restore(self.model, read(path))
        for index, block in enumerate(self.model.blocks):
            layers = {layer for layer in missing if layer.startswith(f"blocks.{index}.")}
            if layers:
                block.become_identity()
                missing -= layers
        if missing:
            raise SystemExit(f"{path}: has nothing for {', '.join(sorted(missing))}")


# --- Export ----------------------------------------------------------------------------------


def export_model(training: Training, out: Path) -> None:
    """Write the network, its log and its card's figures into the folder `out`.

    Nothing is written unless PyTorch and bitconv agree, layer by layer on some test images and in
    the label of nearly all.
    """
    images = training.test_images.permute(0, 2, 3, 1).contiguous().numpy()
    targets = training.test_labels.numpy()
    normalization = Normalize(np.array(MEAN), np.array(STD))
    graph = to_graph(training.model, images.shape[1:], normalization=normalization)
    ours = Model(graph).predict(images).argmax(axis=1)
    theirs = predict(training.model, training.test_images).argmax(1).numpy()
    differing = int((ours != theirs).sum())
    if differing > LABELS_THAT_MAY_DIFFER * len(images):
        raise SystemExit(f"{differing} of {len(images)} labels differ from PyTorch's")

    correct = int((ours == targets).sum())
    accuracy = f"{100 * correct / len(images):.2f} %"
    path = out / f"{NAME}.h5"
    agreement = export(
        training.model,
        path,
        images[:COMPARED_IMAGES],
        normalization=normalization,
        metadata=Metadata(
            name=NAME,
            labels=CIFAR10_CLASSES,
            licence="Apache-2.0",
            source="bitconv, weights/recipes/cifar10_resnet.py",
            training_data="CIFAR-10 (Krizhevsky 2009)",
            accuracy=f"{accuracy} of the {len(images):,} CIFAR-10 test images",
            preparation=Preparation(resize=(SIDE,), crop=(SIDE, SIDE), interpolation="bilinear"),
        ),
    )
    record = {
        "test_images": len(images),
        "correct": correct,
        "correct_in_pytorch": int((theirs == targets).sum()),
        "same_labels": len(images) - differing,
        "images_compared_layer_by_layer": agreement.images,
        "file_bytes": path.stat().st_size,
        "torch": torch.__version__,
    }
    epochs = (training.run / LOG).read_text()
    (out / f"{NAME}.log.jsonl").write_text(epochs + json.dumps(record) + "\n")
    print(json.dumps(record, indent=2))
    write_figures(out / f"{NAME}.md", _figures(record, accuracy, epochs))


def _figures(record: dict[str, Any], accuracy: str, log: str) -> dict[str, str]:
    """The card's table."""
    epochs = [json.loads(line) for line in log.splitlines()]
    images = record["test_images"]
    hours = sum(epoch["seconds"] for epoch in epochs) / 3600
    in_pytorch = 100 * record["correct_in_pytorch"] / images
    return {
        "Test accuracy": f"{accuracy} ({record['correct']:,} of {images:,} images)",
        "The same in PyTorch": f"{in_pytorch:.2f} %",
        "Labels equal to PyTorch's": f"{record['same_labels']:,} of {images:,}",
        "File": f"{record['file_bytes']:,} bytes",
        "Training": f"{len(epochs)} epochs, {hours:.1f} hours",
    }


def teach(teachers: list[Path], data: Path, run: Path) -> None:
    """Leave what the teachers make of the training images, on average, in the run's folder."""
    images, _ = read_batches(data, TRAINING_BATCHES)
    total = torch.zeros(len(images), len(CIFAR10_CLASSES))
    for teacher in teachers:
        targets = soft_targets(teacher, images)
        if targets.shape != total.shape:
            found, expected = list(targets.shape[1:]), list(total.shape[1:])
            raise SystemExit(f"{teacher}: gives {found} scores, not {expected}")
        total += targets
    run.mkdir(parents=True, exist_ok=True)
    torch.save(total / len(teachers), run / TARGETS)


def train(
    worker: int, workers: int, data: Path, run: Path, seed: int, start_from: Path | None
) -> None:
    """Train to the end, as one of several workers or alone."""
    if workers > 1:
        torch.set_num_threads(1)
        meeting_point = f"file://{run.resolve() / 'workers'}"
        distributed.init_process_group(
            "gloo", init_method=meeting_point, rank=worker, world_size=workers
        )
    training = Training(data, run, seed, start_from, worker, workers)
    while not training.finished:
        training.train_epoch()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder of CIFAR-10's binary batches")
    parser.add_argument("run", type=Path, help="folder of the run's checkpoint and log")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--start-from", type=Path, metavar="FILE", help="a run's checkpoint or an exported model"
    )
    parser.add_argument(
        "--teacher", type=Path, nargs="+", metavar="MODEL", help="models to learn from"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes of one thread each")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="folder of the exported model")
    parser.add_argument("--export-only", action="store_true", help="export the run as it is")
    options = parser.parse_args()
    folders = (options.data, options.run)
    if options.export_only:
        if not (options.run / CHECKPOINT).exists():
            raise SystemExit(f"{options.run}: has no {CHECKPOINT} to export")
    else:
        if options.teacher:
            teach(options.teacher, *folders)
        if options.workers == 1:
            train(0, 1, *folders, options.seed, options.start_from)
        else:
            options.run.mkdir(parents=True, exist_ok=True)
            (options.run / "workers").unlink(missing_ok=True)  # of a run that was interrupted
            given = (options.workers, *folders, options.seed, options.start_from)
            spawn(train, given, options.workers)
    export_model(Training(*folders, options.seed), options.out)


if __name__ == "__main__":
    main()
