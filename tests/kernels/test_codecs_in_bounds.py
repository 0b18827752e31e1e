"""Codecs between forbidden pages: whatever the bytes, no kernel touches what is beside them."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_maps import a_codec, maps_of
from guarded import GuardedMemory, at_both_ends, posix_only

from bitconv.feature_maps import CODECS
from bitconv.feature_maps.coding import Coding
from bitconv.kernels.registry import DECODE, ENCODE, function

pytestmark = posix_only

SHAPES = [(1, 1, 1), (3, 5, 7), (9, 4, 16), (30, 30, 9), (1, 2, 130)]


@at_both_ends
@pytest.mark.parametrize("kind", ["after_relu", "signed", "related"])
@pytest.mark.parametrize("name", CODECS)
def test_no_codec_strays(name: str, kind: str, at_end: bool):
    rng = np.random.default_rng(0)
    encode, decode = function(ENCODE), function(DECODE)
    for number, shape in enumerate(SHAPES):
        maps, memory = maps_of(number, shape, kind), GuardedMemory(at_end)
        codec = a_codec(name, maps, seed=9)

        def guarded(coding: Coding, memory=memory, codec=codec):
            working = np.full(coding.memory, 0xA5, np.uint8)
            return map(memory.copy, (codec.constants, coding.record, working))

        encoding = tuple(guarded(codec.encoding(shape)))
        decoding = tuple(guarded(codec.decoding(shape)))
        values = memory.copy(maps[0].reshape(-1))
        decoded = memory.copy(np.zeros_like(values))
        bound = codec.bound(shape)
        for size in (bound, bound // 2, bound // 9, 1):
            out = memory.copy(np.zeros(size, np.uint8))
            length = encode(values, out, *encoding)
            assert -1 <= length <= size
        out = np.zeros(bound, np.uint8)
        payload = out[: encode(values, out, *encoding)]
        for trial in range(20):
            damaged = payload[: len(payload) - trial * len(payload) // 40].copy()
            for _ in range(trial):
                damaged[rng.integers(len(damaged))] = rng.integers(256)
            used = decode(decoded, memory.copy(damaged), *decoding)
            assert -1 <= used <= len(damaged)
            if trial == 0:
                assert used == len(payload)
        noise = memory.copy(rng.integers(0, 256, len(payload) + 1).astype(np.uint8))
        assert -1 <= decode(decoded, noise, *decoding) <= len(noise)
