"""CIFAR-10 for training: reading, normalizing, augmenting, and what a network makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

MEAN = (125.3, 123.0, 113.9)  # of the training images' red, green and blue
STD = (63.0, 62.1, 66.7)
SIDE = 32
RECORD = 1 + 3 * SIDE * SIDE  # the label, then the planes of red, green and blue


def read_batches(folder: Path, names: list[str]) -> tuple[Tensor, Tensor]:
    """Images (N, 3, 32, 32) uint8 and labels (N,) of CIFAR-10's binary batches."""
    records = np.concatenate(
        [np.fromfile(folder / f"{name}.bin", np.uint8).reshape(-1, RECORD) for name in names]
    )
    images = torch.from_numpy(records[:, 1:].reshape(-1, 3, SIDE, SIDE).copy())
    return images, torch.from_numpy(records[:, 0].astype(np.int64))


def normalize(images: Tensor) -> Tensor:
    """``(x − mean) / std`` of NCHW images."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return ((images.float() - mean) / std).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Raw scores (N, classes) of uint8 NCHW images, by a network left in evaluation mode."""
    model.eval()
    return torch.cat([model(normalize(batch)) for batch in images.split(250)])


def augmented(
    images: Tensor,
    labels: Tensor,
    batch_size: int,
    side: int,
    generator: torch.Generator,
    *,
    max_shift: int,
    crop: int = SIDE,
    part: slice = slice(None),
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of shuffled full batches, each image mirrored and shifted at random.

    A window of `crop` pixels is cut from the image padded by `max_shift`, normalized, and shrunk to
    `side` pixels. Of every batch only the images `part` are made, the same whoever makes the rest.
    """
    padded = functional.pad(images, (max_shift,) * 4)
    shifts = padded.shape[-1] - crop + 1
    for chosen in torch.randperm(len(images), generator=generator).split(batch_size):
        if len(chosen) < batch_size:
            return
        shift = torch.randint(0, shifts, (2, batch_size, 1), generator=generator)
        rows, columns = shift + torch.arange(crop)
        mirror = torch.rand(batch_size, 1, generator=generator) < 0.5
        columns = torch.where(mirror, columns.flip(1), columns)
        chosen, rows, columns = chosen[part], rows[part], columns[part]
        window = padded[chosen[:, None, None], :, rows[:, :, None], columns[:, None, :]]
        batch = normalize(window.permute(0, 3, 1, 2))
        if side != crop:
            batch = functional.interpolate(batch, size=side, mode="bilinear", antialias=True)
        yield batch.contiguous(memory_format=torch.channels_last), labels[chosen]
