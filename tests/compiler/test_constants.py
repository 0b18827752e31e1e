"""The constants of a plan."""

import numpy as np
import pytest

from bitconv.compiler.constants import ConstantPool
from bitconv.kernels.records import BLOCK_CHANNELS


@pytest.mark.parametrize(
    ("channels", "width", "rows", "lengths"),
    [
        (64, 32, 2, [32, 32]),
        (33, 32, 2, [32, 8]),  # a kernel leaves rows of 8 for the last filter
        (50, 16, 4, [16, 16, 16, 8]),
        (20, 32, 2, [32]),
        (100, 64, 1, [64, 40]),
    ],
)
def test_a_vector_is_repeated_for_rows_as_kernels_leave_them(channels, width, rows, lengths):
    pool = ConstantPool()
    values = np.arange(1, channels + 1, dtype=np.float32)
    first = pool.add_vector(values, width, rows, beyond=-1.0)
    found = pool.block().view(np.float32)[first:]
    for part, length in enumerate(lengths):
        channel = part * width
        row = np.full(length, -1.0, np.float32)
        row[: channels - channel] = values[channel : channel + length]
        start = channel * rows
        np.testing.assert_array_equal(found[start : start + rows * length], np.tile(row, rows))
    end = (len(lengths) - 1) * width * rows + lengths[-1] * rows
    np.testing.assert_array_equal(found[end : end + BLOCK_CHANNELS], -1.0)
