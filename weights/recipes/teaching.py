"""Targets from a better network (knowledge distillation, Hinton et al., arXiv 1503.02531)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bitconv.model import Model, load

TEMPERATURE = 4.0  # a teacher is too sure of images that it was trained on
IMAGES_AT_ONCE = 1000


def soft_targets(teacher: Path, images: Tensor) -> Tensor:
    """What the teacher makes of each image and of its mirror image, as probabilities.

    Parameters
    ----------
    teacher : Path
        A model of bitconv's, of the same images and classes.
    images : uint8 Tensor of shape (N, 3, height, width)

    Returns
    -------
    float32 Tensor of shape (N, classes)
    """
    model = load(teacher)
    parts = [_scores(model, part) for part in images.split(IMAGES_AT_ONCE)]
    return torch.softmax(torch.cat(parts) / TEMPERATURE, dim=1)


def _scores(model: Model, images: Tensor) -> Tensor:
    """The mean of both."""
    pixels = np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())
    both = (pixels, np.ascontiguousarray(pixels[:, :, ::-1]))
    first, second = (torch.from_numpy(np.asarray(model.predict(each))) for each in both)
    return (first + second) / 2
