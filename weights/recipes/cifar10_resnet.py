"""Train the shipped CIFAR-10 model: a binary residual network with shared scales.

    python weights/recipes/cifar10_resnet.py cifar-10-batches-bin runs/resnet

The data is CIFAR-10's official binary layout. Every epoch leaves a checkpoint from which the same
command goes on after an interruption.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bitconv.training.layers import BinaryConv2d, BinarySign

MEAN = (125.3, 123.0, 113.9)
STD = (63.0, 62.1, 66.7)
STAGES = ((64, 2), (128, 4), (256, 4))  # channels, binary convolutions
FILTERS_PER_SCALE = 8
BATCH = 128
PEAK_LEARNING_RATE = 3e-3
WARM_UP = 0.1  # fraction of all steps
SMALL_SIZE = 24  # the image side of the first half of the epochs
LABEL_SMOOTHING = 0.1


class BinaryBlock(nn.Module):
    """Sign, binary convolution, batch norm, and a shortcut around the three; then PReLU."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.sign = BinarySign(in_channels)
        self.convolution = BinaryConv2d(
            in_channels, channels, 3, stride=stride, padding=1, filters_per_scale=FILTERS_PER_SCALE
        )
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


class BinaryResNet(nn.Module):
    """Float stem, binary stages, float classifier."""

    def __init__(self, classes: int = 10) -> None:
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


def read_batches(folder: Path, names: list[str]) -> tuple[Tensor, Tensor]:
    """Images (N, 3, 32, 32) uint8 and labels (N,) of CIFAR-10's binary batches."""
    records = np.concatenate(
        [np.fromfile(folder / f"{name}.bin", np.uint8).reshape(-1, 3073) for name in names]
    )
    images = torch.from_numpy(records[:, 1:].reshape(-1, 3, 32, 32).copy())
    return images, torch.from_numpy(records[:, 0].astype(np.int64))


def normalize(images: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return ((images.float() - mean) / std).contiguous(memory_format=torch.channels_last)


def augmented(
    images: Tensor, labels: Tensor, size: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of shuffled batches, each image mirrored and shifted up to 2 pixels at random."""
    padded = functional.pad(images, (2, 2, 2, 2))
    for chosen in torch.randperm(len(images), generator=generator).split(BATCH):
        if len(chosen) < BATCH:
            return
        shift = torch.randint(0, 5, (2, BATCH, 1), generator=generator)
        rows, columns = shift + torch.arange(32)
        mirror = torch.rand(BATCH, 1, generator=generator) < 0.5
        columns = torch.where(mirror, columns.flip(1), columns)
        crop = padded[chosen[:, None, None], :, rows[:, :, None], columns[:, None, :]]
        batch = normalize(crop.permute(0, 3, 1, 2))
        if size != 32:
            batch = functional.interpolate(batch, size=size, mode="bilinear", antialias=True)
        yield batch.contiguous(memory_format=torch.channels_last), labels[chosen]


@torch.no_grad()
def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Raw scores (N, 10)."""
    model.eval()
    return torch.cat([model(normalize(batch)) for batch in images.split(500)])


def learning_rate(progress: float) -> float:
    """A linear warm-up, then a cosine to zero; `progress` runs from 0 to 1."""
    if progress < WARM_UP:
        return PEAK_LEARNING_RATE * progress / WARM_UP
    return PEAK_LEARNING_RATE * 0.5 * (1 + np.cos(np.pi * (progress - WARM_UP) / (1 - WARM_UP)))


def train(data: Path, run: Path, epochs: int, seed: int) -> BinaryResNet:
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    images, labels = read_batches(data, [f"data_batch_{i}" for i in range(1, 6)])
    test_images, test_labels = read_batches(data, ["test_batch"])
    model = BinaryResNet().to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters())
    compiled = torch.compile(model)
    run.mkdir(parents=True, exist_ok=True)
    checkpoint, first = run / "checkpoint.pt", 0
    if checkpoint.exists():
        state = torch.load(checkpoint)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        generator.set_state(state["generator"])
        first = state["epoch"]
    steps = len(images) // BATCH
    for epoch in range(first, epochs):
        started, total = time.perf_counter(), 0.0
        compiled.train()
        size = SMALL_SIZE if epoch < epochs // 2 else 32
        for step, (batch, target) in enumerate(augmented(images, labels, size, generator)):
            rate = learning_rate((epoch + step / steps) / epochs)
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = functional.cross_entropy(
                compiled(batch), target, label_smoothing=LABEL_SMOOTHING
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            for module in model.modules():
                if isinstance(module, BinaryConv2d):
                    module.clamp_weight()
            total += loss.item()
        accuracy = (predict(model, test_images).argmax(1) == test_labels).float().mean().item()
        record = {
            "epoch": epoch + 1,
            "size": size,
            "loss": round(total / steps, 4),
            "test_accuracy": round(accuracy, 4),
            "seconds": round(time.perf_counter() - started, 1),
        }
        print(json.dumps(record), flush=True)
        with open(run / "log.jsonl", "a") as log:
            log.write(json.dumps(record) + "\n")
        state = {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "generator": generator.get_state(),
            "epoch": epoch + 1,
        }
        torch.save(state, checkpoint.with_suffix(".new"))
        os.replace(checkpoint.with_suffix(".new"), checkpoint)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder of CIFAR-10's binary batches")
    parser.add_argument("run", type=Path, help="folder for checkpoint and log")
    parser.add_argument("--epochs", type=int, default=18)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    train(options.data, options.run, options.epochs, options.seed)


if __name__ == "__main__":
    main()
