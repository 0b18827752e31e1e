"""The vector instructions against NumPy, for this machine's target and for the shapes of others."""

import platform
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from guarded import GuardedMemory, at_both_ends, posix_only
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from bitconv.kernels import table_counts, tiles
from bitconv.kernels.arithmetic import FusedMultiplyAdd, MoreProducts
from bitconv.kernels.microkernel import Tile
from bitconv.kernels.sign_weights import expanding_instruction
from bitconv.kernels.table_counts import TableCounts

X86 = platform.machine() in ("x86_64", "AMD64")


@njit
def xnor(
    activations, offsets, weights, weight, rows, row_step, taps, step, length, counts, at, width
):
    tiles.xnor_tile(
        activations, offsets, weights, weight, rows, row_step, taps, step, length, counts, at, width
    )


@njit
def xnor_half(
    activations, offsets, weights, weight, rows, row_step, taps, step, length, counts, at, width
):
    tiles.xnor_half_tile(
        activations, offsets, weights, weight, rows, row_step, taps, step, length, counts, at, width
    )


@njit
def fma(activations, offsets, weights, weight, rows, row_step, taps, step, length, sums, at, width):
    tiles.fma_tile(
        activations, offsets, weights, weight, rows, row_step, taps, step, length, sums, at, width
    )


@njit
def expand(bits, first, floats, steps):
    tiles.expand_signs(bits, first, floats, steps)


@cache
def compiled(tile, scheme):
    """A tile of any shape, compiled for this machine whatever its vectors."""
    instruction = tiles.tile_instruction(tile, scheme)

    @njit
    def run(
        activations, offsets, weights, weight, rows, row_step, taps, step, length, sums, at, width
    ):
        instruction(
            activations,
            offsets,
            weights,
            weight,
            rows,
            row_step,
            taps,
            step,
            length,
            sums,
            at,
            width,
        )

    return run


@cache
def expanding(tile):
    """The instruction that makes floats of bits for a tile of any shape."""
    instruction = expanding_instruction(tile)

    @njit
    def run(bits, first, floats, steps):
        instruction(bits, first, floats, steps)

    return run


@dataclass(frozen=True)
class Case:
    """The loops of a tile: rows, taps and the length of a run, with their strides."""

    rows: int
    row_stride: int
    taps: int
    tap_stride: int
    length: int

    @property
    def depth(self):
        return self.rows * self.taps * self.length

    @property
    def reach(self):
        """Activations from the first of a window to behind its last."""
        last_row, last_tap = self.rows - 1, self.taps - 1
        return last_row * self.row_stride + last_tap * self.tap_stride + self.length

    def window(self, activations, offset):
        """The activations of a window in the order of the weights."""
        row, tap, k = np.ogrid[: self.rows, : self.taps, : self.length]
        places = offset + row * self.row_stride + tap * self.tap_stride + k
        return activations[places.reshape(-1)]


CASES = [
    Case(3, 40, 1, 0, 12),  # a 3×3 convolution of 256 channels
    Case(3, 40, 3, 7, 2),  # dilated
    Case(1, 0, 1, 0, 1),
    Case(2, 5, 2, 3, 37),  # more words than a byte can count at once
    Case(5, 1, 1, 0, 3),  # rows that overlap
]

BIT_SHAPES = [
    pytest.param(*tiles.bit_scheme("words", 8), id="AVX-512"),
    pytest.param(*tiles.bit_scheme("words", 4), id="AVX2 VPOPCNTDQ"),
    pytest.param(*tiles.bit_scheme("bytes", 2), id="NEON"),
    pytest.param(*tiles.bit_scheme("arithmetic", 2), id="SSE2"),
]
if X86:  # the table lookup is an instruction of x86
    BIT_SHAPES.append(pytest.param(*tiles.bit_scheme("table", 2), id="SSSE3"))
    BIT_SHAPES.append(pytest.param(*tiles.bit_scheme("table", 4), id="AVX2"))


def words(rng, *shape):
    return rng.integers(0, 2**64, shape, dtype=np.uint64)


def arranged(weights, tile, scheme):
    return table_counts.arrange_weights(weights, tile) if scheme is TableCounts else weights


def differing_bits(case, activations, offsets, weights):
    """What a tile should count: (pixels, filters)."""
    windows = np.stack([case.window(activations, offset) for offset in offsets])
    return np.bitwise_count(windows[:, :, None] ^ weights).sum(axis=1, dtype=np.int64)


def check_counts(run, tile, scheme, case, rng):
    offsets = rng.integers(0, 50, tile.pixels)
    activations = words(rng, 50 + case.reach)
    weights = words(rng, case.depth + 2, tile.filters)
    counts = np.full((tile.pixels + 2) * tile.filters, -7, np.int32)
    run(
        activations,
        offsets,
        arranged(weights, tile, scheme).reshape(-1),
        tile.filters,
        case.rows,
        case.row_stride,
        case.taps,
        case.tap_stride,
        case.length,
        counts,
        tile.filters,
        tile.filters,
    )
    expected = np.full((tile.pixels + 2, tile.filters), -7)
    expected[1:-1] = differing_bits(case, activations, offsets, weights[1:-1])
    np.testing.assert_array_equal(counts.reshape(expected.shape), expected)


@pytest.mark.parametrize("case", CASES)
def test_counts_are_exact(case):
    check_counts(xnor, tiles.BIT_TILE, tiles.BIT_SCHEME, case, np.random.default_rng(0))


@pytest.mark.parametrize(("tile", "scheme"), BIT_SHAPES)
def test_counts_are_exact_in_the_shapes_of_other_targets(tile, scheme):
    run = compiled(tile, scheme)
    for seed, case in enumerate(CASES):
        check_counts(run, tile, scheme, case, np.random.default_rng(seed))


@given(
    case=st.builds(
        Case,
        rows=st.integers(0, 4),
        row_stride=st.integers(0, 9),
        taps=st.integers(1, 4),
        tap_stride=st.integers(0, 9),
        length=st.integers(1, 70),
    ),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_counts_are_exact_for_any_window(case, seed):
    check_counts(xnor, tiles.BIT_TILE, tiles.BIT_SCHEME, case, np.random.default_rng(seed))


@pytest.mark.parametrize(("tile", "scheme"), BIT_SHAPES)
def test_a_window_may_differ_in_more_bits_than_16_bits_can_count(tile, scheme):
    length = 2**16 // 64 + 1
    counts = np.zeros(tile.pixels * tile.filters, np.int32)
    compiled(tile, scheme)(
        np.zeros(length, np.uint64),
        np.zeros(tile.pixels, np.int64),
        np.full(length * tile.filters, 2**64 - 1, np.uint64),
        0,
        1,
        0,
        1,
        0,
        length,
        counts,
        0,
        tile.filters,
    )
    np.testing.assert_array_equal(counts, 64 * length)


def test_a_half_tile_computes_the_first_half_of_the_filters():
    rng = np.random.default_rng(1)
    case, tile = CASES[0], tiles.BIT_TILE
    offsets = rng.integers(0, 50, tile.pixels)
    activations = words(rng, 50 + case.reach)
    weights = words(rng, case.depth, tile.filters)
    counts = np.full(tile.pixels * tile.filters, -7, np.int32)
    xnor_half(
        activations,
        offsets,
        tiles.arrange_weights(weights).reshape(-1),
        0,
        case.rows,
        case.row_stride,
        case.taps,
        case.tap_stride,
        case.length,
        counts,
        0,
        tile.filters,
    )
    expected = differing_bits(case, activations, offsets, weights)
    expected[:, tile.filters // 2 :] = -7
    np.testing.assert_array_equal(counts.reshape(expected.shape), expected)


def check_sums(run, tile, case, rng):
    """Small integers, of which float32 holds every sum."""
    offsets = rng.integers(0, 50, tile.pixels)
    activations = rng.integers(-9, 10, 50 + case.reach).astype(np.float32)
    weights = rng.integers(-9, 10, (case.depth + 2, tile.filters)).astype(np.float32)
    sums = np.full((tile.pixels + 2) * tile.filters, -7, np.float32)
    run(
        activations,
        offsets,
        weights.reshape(-1),
        tile.filters,
        case.rows,
        case.row_stride,
        case.taps,
        case.tap_stride,
        case.length,
        sums,
        tile.filters,
        tile.filters,
    )
    windows = np.stack([case.window(activations, offset) for offset in offsets])
    expected = np.full((tile.pixels + 2, tile.filters), -7, np.float32)
    expected[1:-1] = windows @ weights[1:-1]
    np.testing.assert_array_equal(sums.reshape(expected.shape), expected)


@pytest.mark.parametrize("case", CASES)
def test_sums_of_products_are_exact(case):
    check_sums(fma, tiles.FLOAT_TILE, case, np.random.default_rng(0))


@pytest.mark.parametrize("tile", [Tile(6, 4, 16), Tile(6, 2, 8), Tile(6, 4, 4), Tile(6, 2, 4)])
def test_sums_of_products_are_exact_in_the_shapes_of_other_targets(tile):
    run = compiled(tile, FusedMultiplyAdd)
    for seed, case in enumerate(CASES):
        check_sums(run, tile, case, np.random.default_rng(seed))


def test_sums_of_products_round_as_float32_does():
    rng = np.random.default_rng(2)
    tile = tiles.FLOAT_TILE
    activations = rng.normal(size=576).astype(np.float32)
    weights = rng.normal(size=(576, tile.filters)).astype(np.float32)
    sums = np.zeros(tile.pixels * tile.filters, np.float32)
    offsets = np.zeros(tile.pixels, np.int64)
    fma(activations, offsets, weights.reshape(-1), 0, 1, 0, 1, 0, 576, sums, 0, tile.filters)
    exact = activations.astype(np.float64) @ weights.astype(np.float64)
    error = np.abs(sums.reshape(tile.pixels, -1) - exact)
    assert np.all(error <= 576 * 2.0**-24 * (np.abs(activations) @ np.abs(weights)))


@pytest.mark.parametrize("tile", [tiles.FLOAT_TILE, Tile(6, 4, 16), Tile(6, 2, 4)])
def test_sums_of_two_parts_of_the_windows_are_those_of_the_whole_bit_for_bit(tile):
    rng = np.random.default_rng(3)
    activations = rng.normal(size=300).astype(np.float32)
    weights = rng.normal(size=(100, tile.filters)).astype(np.float32).reshape(-1)
    offsets = rng.integers(0, 200, tile.pixels)
    whole, parts = np.zeros((2, tile.pixels * tile.filters), np.float32)
    start, more = compiled(tile, FusedMultiplyAdd), compiled(tile, MoreProducts)
    start(activations, offsets, weights, 0, 1, 0, 1, 0, 100, whole, 0, tile.filters)
    start(activations, offsets, weights, 0, 1, 0, 1, 0, 37, parts, 0, tile.filters)
    rest = weights[37 * tile.filters :]
    more(activations[37:], offsets, rest, 0, 1, 0, 1, 0, 63, parts, 0, tile.filters)
    np.testing.assert_array_equal(parts, whole)


def test_sums_may_lie_in_rows_that_are_longer_than_the_tile():
    rng = np.random.default_rng(4)
    tile = tiles.FLOAT_TILE
    activations = rng.integers(-9, 10, 30).astype(np.float32)
    weights = rng.integers(-9, 10, (20, tile.filters)).astype(np.float32)
    width = tile.filters + 5
    sums = np.full(tile.pixels * width, -7, np.float32)
    offsets = np.arange(tile.pixels)
    fma(activations, offsets, weights.reshape(-1), 0, 1, 0, 1, 0, 20, sums, 3, width)
    windows = np.stack([activations[offset : offset + 20] for offset in offsets])
    expected = np.full((tile.pixels, width), -7, np.float32)
    expected[:, 3 : 3 + tile.filters] = windows @ weights
    np.testing.assert_array_equal(sums.reshape(expected.shape), expected)


def signs_of(bits):
    """What bits become, the lowest of a byte first."""
    return np.where(np.unpackbits(bits, bitorder="little"), -1, 1).astype(np.float32)


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 4, 5, 31, 192])
@pytest.mark.parametrize("tile", [tiles.FLOAT_TILE, Tile(6, 4, 16), Tile(6, 4, 4), Tile(6, 2, 4)])
def test_bits_become_minus_one_and_one(tile, steps):
    octets = steps * tile.filters // 8
    bits = np.random.default_rng(steps).integers(0, 256, octets + 2).astype(np.uint8)
    floats = np.full(steps * tile.filters + 1, 7, np.float32)
    expanding(tile)(bits, 1, floats, steps)
    np.testing.assert_array_equal(floats[:-1], signs_of(bits[1 : 1 + octets]))
    assert floats[-1] == 7


@posix_only
@at_both_ends
@pytest.mark.parametrize("run", [xnor, xnor_half, fma])
@pytest.mark.parametrize("case", CASES)
def test_tiles_touch_nothing_outside_their_arrays(run, case, at_end):
    rng = np.random.default_rng(0)
    tile = tiles.FLOAT_TILE if run is fma else tiles.BIT_TILE
    value, total = (np.float32, np.float32) if run is fma else (np.uint64, np.int32)
    guarded = GuardedMemory(at_end)
    run(
        guarded.copy(rng.integers(0, 100, case.reach).astype(value)),
        guarded.copy(np.zeros(tile.pixels, np.int64)),
        guarded.copy(rng.integers(0, 100, case.depth * tile.filters).astype(value)),
        0,
        case.rows,
        case.row_stride,
        case.taps,
        case.tap_stride,
        case.length,
        guarded.copy(np.zeros(tile.pixels * tile.filters, total)),
        0,
        tile.filters,
    )


@posix_only
@at_both_ends
@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_expanded_bits_touch_nothing_outside_their_arrays(steps, at_end):
    tile, guarded = tiles.FLOAT_TILE, GuardedMemory(at_end)
    bits = np.random.default_rng(0).integers(0, 256, steps * tile.filters // 8).astype(np.uint8)
    floats = guarded.copy(np.zeros(steps * tile.filters, np.float32))
    expand(guarded.copy(bits), 0, floats, steps)
    np.testing.assert_array_equal(floats, signs_of(bits))
