"""The learning rate over a run."""

import math

WARM_UP = 0.1  # fraction of all steps


def learning_rate(progress: float, peak: float) -> float:
    """A linear warm-up, then a cosine to zero; `progress` runs from 0 to 1."""
    if progress < WARM_UP:
        return peak * progress / WARM_UP
    return peak * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP))) / 2
