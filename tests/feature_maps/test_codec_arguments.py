"""What every codec refuses before its kernels see it."""

from __future__ import annotations

import numpy as np
import pytest

from bitconv.errors import EncodedMapError, InputError
from bitconv.feature_maps import CODECS

MAPS = np.random.default_rng(0).exponential(size=(2, 4, 5, 8))
every_codec = pytest.mark.parametrize("kind", CODECS.values(), ids=CODECS.keys())


@every_codec
@pytest.mark.parametrize("value", [np.inf, 3e38, -3e38, 1.01e30])
def test_maps_whose_errors_would_overflow_are_refused(kind, value):
    maps = MAPS.copy()
    maps[1, 2, 3, 4] = value
    with pytest.raises(InputError, match="in magnitude"):
        kind.calibrate(maps)


@every_codec
def test_large_maps_come_back(kind):
    maps = (1e30 * MAPS / MAPS.max()).astype(np.float32)
    codec = kind.calibrate(maps)
    assert np.abs(codec.decode(codec.encode(maps[0])) - maps[0]).max() < 0.1 * maps.max()


@every_codec
def test_a_map_of_a_shape_that_was_not_expected_is_refused(kind):
    codec = kind.calibrate(MAPS)
    data = codec.encode(MAPS[0])
    assert codec.decode(data, (4, 5, 8)).shape == (4, 5, 8)
    with pytest.raises(EncodedMapError, match=r"\(4, 5, 8\), expected \(5, 4, 8\)"):
        codec.decode(data, (5, 4, 8))


@every_codec
@pytest.mark.parametrize("data", [None, "bytes", [1, 2]])
def test_what_is_no_bytes_is_not_decoded(kind, data):
    with pytest.raises(InputError, match="takes bytes"):
        kind.calibrate(MAPS).decode(data)
