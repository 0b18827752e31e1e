"""Feature maps of any shape and kind, and codecs for them."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from bitconv.feature_maps import CODECS
from bitconv.feature_maps.codec import Codec

Map = NDArray[np.float32]

NAMES = st.sampled_from(sorted(CODECS))
SEEDS = st.integers(0, 2**32)
SHAPES = st.one_of(
    st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(1, 20)),
    st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 130)),
    st.tuples(st.integers(17, 20), st.integers(15, 18), st.integers(15, 18)),  # several strips
)


def after_relu(rng: np.random.Generator, shape: tuple[int, ...]) -> Map:
    """Half of it zeros, the rest at most about 4."""
    return np.maximum(rng.normal(size=shape), 0).astype(np.float32)


def sparse(rng: np.random.Generator, shape: tuple[int, ...]) -> Map:
    """Nearly all of it zeros."""
    return after_relu(rng, shape) * (rng.random(shape) < 0.05).astype(np.float32)


def signed(rng: np.random.Generator, shape: tuple[int, ...]) -> Map:
    """Around a mean other than zero, so that zero is some level in the middle."""
    return (rng.normal(size=shape) + rng.normal()).astype(np.float32)


def related(rng: np.random.Generator, shape: tuple[int, ...]) -> Map:
    """Channels that are nearly the same, as a transform along them wants it."""
    alike = rng.random((*shape[:-1], 1)) * 4 + 2
    return (alike + 0.05 * rng.normal(size=shape)).astype(np.float32)


KINDS = {kind.__name__: kind for kind in (after_relu, sparse, signed, related)}


def maps_of(seed: int, shape: tuple[int, int, int], kind: str, count: int = 3) -> Map:
    """Maps of a layer; shape (count, H, W, C)."""
    return KINDS[kind](np.random.default_rng(seed), (count, *shape))


def a_codec(name: str, maps: Map, seed: int = 0) -> Codec:
    """The codec of that name for the maps, in one of its settings."""
    settings: list[dict[str, Any]] = CODECS[name].settings()
    return CODECS[name].calibrate(maps, **settings[seed % len(settings)])
