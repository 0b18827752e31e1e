"""Weights in the order in which the kernels read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bitconv.bits import pack_words, words_for
from bitconv.kernels.tiles import BIT_FILTERS, FLOAT_FILTERS, arrange_weights
from bitconv.operators import BinaryConv2d, Conv2d
from bitconv.operators.window import Window

Number = TypeVar("Number", np.float32, np.int32)


@dataclass(frozen=True, eq=False)
class Borders:
    """Output rows and columns, classed by which kernel taps fall outside the map.

    Attributes
    ----------
    rows, columns : int32 arrays of shape (output rows,), (output columns,)
        Class of each.
    outside : bool array of shape (row classes, column classes, kernel height, kernel width)
        The taps outside.
    """

    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    outside: NDArray[np.bool_]

    @classmethod
    def of(cls, window: Window, height: int, width: int) -> Borders:
        """The classes of a window on a map of that size."""
        rows, columns = window.output_size(height, width)
        row_masks, row_classes = _masks(window, 0, rows, height)
        column_masks, column_classes = _masks(window, 1, columns, width)
        outside = row_masks[:, None, :, None] | column_masks[None, :, None, :]
        return cls(row_classes, column_classes, outside)

    @classmethod
    def none(cls, window: Window, height: int, width: int) -> Borders:
        """One class for all, for padding that needs no correction."""
        rows, columns = window.output_size(height, width)
        outside = np.zeros((1, 1, *window.kernel), np.bool_)
        return cls(np.zeros(rows, np.int32), np.zeros(columns, np.int32), outside)


def _masks(
    window: Window, axis: int, count: int, length: int
) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
    first = np.arange(count) * window.stride[axis] - window.padding[axis]
    taps = first[:, None] + np.arange(window.kernel[axis]) * window.dilation[axis]
    masks, classes = np.unique((taps < 0) | (taps >= length), axis=0, return_inverse=True)
    return masks, classes.reshape(-1).astype(np.int32)


def tile_binary_weights(
    bits: NDArray[np.bool_], groups: int, runs: list[tuple[int, int]]
) -> NDArray[np.uint64]:
    """Pack filters for `xnor_tile`.

    Parameters
    ----------
    bits : bool array of shape (O, kernel height, kernel width, I)
    groups : int
    runs : list of (first, end)
        Runs of input channels; each starts on a word.

    Returns
    -------
    uint64 array of shape (groups, tiles, words of a filter, BIT_FILTERS)
        Words of a filter run by run, in a run by kernel row, column and channel. The filters that
        fill up the last tile are zero.
    """
    filters = bits.shape[0] // groups
    tiles = -(-filters // BIT_FILTERS)
    packed = np.concatenate(
        [pack_words(bits[..., first:end]).reshape(bits.shape[0], -1) for first, end in runs], axis=1
    )
    padded = np.zeros((groups, tiles * BIT_FILTERS, packed.shape[1]), np.uint64)
    padded[:, :filters] = packed.reshape(groups, filters, -1)
    tiled = padded.reshape(groups, tiles, BIT_FILTERS, -1).transpose(0, 1, 3, 2)
    return arrange_weights(np.ascontiguousarray(tiled))


def filter_words(kernel: tuple[int, int], runs: list[tuple[int, int]]) -> list[int]:
    """Words of a filter that belong to each run."""
    return [kernel[0] * kernel[1] * words_for(end - first) for first, end in runs]


def tile_by_filter(values: NDArray[Number], groups: int, tile_filters: int) -> NDArray[Number]:
    """Arrange (..., O) to (groups, ..., tiles · tile_filters), filled up with zeros."""
    filters = values.shape[-1] // groups
    tiles = -(-filters // tile_filters)
    grouped: NDArray[Number] = np.moveaxis(
        values.reshape(*values.shape[:-1], groups, filters), -2, 0
    )
    padded = np.zeros((*grouped.shape[:-1], tiles * tile_filters), values.dtype)
    padded[..., :filters] = grouped
    return padded


def window_bases(
    operator: BinaryConv2d,
    bits: NDArray[np.bool_],
    runs: list[tuple[int, int]],
    borders: Borders,
) -> NDArray[np.int32]:
    """The dot product of a window whose words equal a filter's, by border class.

    ``n + (pad_value − 1) · Σ signs of the filter's taps outside the map``: the ring counts those
    taps as +1, whatever the padding is.

    Returns
    -------
    int32 array of shape (runs, row classes · column classes, O)
    """
    outside = borders.outside.reshape(-1, bits.shape[1] * bits.shape[2]).astype(np.int64)
    bases = []
    for first, end in runs:
        minuses = np.count_nonzero(bits[..., first:end], axis=-1)
        taps = (end - first - 2 * minuses).reshape(len(bits), -1)
        terms = bits.shape[1] * bits.shape[2] * (end - first)
        bases.append(terms + (operator.pad_value - 1) * (outside @ taps.T))
    return np.stack(bases).astype(np.int32)


def tile_float_weights(operator: Conv2d) -> NDArray[np.float32]:
    """Arrange filters for `fma_tile`: (groups, tiles, taps · I, FLOAT_FILTERS), zeros filled in."""
    filters = operator.weight_shape[0] // operator.groups
    tiles = -(-filters // FLOAT_FILTERS)
    flat = operator.weight.reshape(operator.groups, filters, -1)
    padded = np.zeros((operator.groups, tiles * FLOAT_FILTERS, flat.shape[-1]), np.float32)
    padded[:, :filters] = flat
    return padded.reshape(operator.groups, tiles, FLOAT_FILTERS, -1).transpose(0, 1, 3, 2)


def tile_sign_weights(
    bits: NDArray[np.bool_], groups: int, runs: list[tuple[int, int]]
) -> NDArray[np.uint8]:
    """Pack filters for `expand_signs`.

    Parameters
    ----------
    bits : bool array of shape (O, kernel height, kernel width, I)
    groups : int
    runs : list of (first, end)
        Runs of input channels.

    Returns
    -------
    uint8 array of shape (groups, tiles, taps · I, FLOAT_FILTERS / 8)
        The weights run by run, in a run by kernel row, column and channel; of each a bit for every
        filter, the first one the lowest. The filters that fill up the last tile are zero.
    """
    filters = bits.shape[0] // groups
    tiles = -(-filters // FLOAT_FILTERS)
    flat = np.concatenate(
        [bits[..., first:end].reshape(len(bits), -1) for first, end in runs], axis=1
    )
    padded = np.zeros((groups, tiles * FLOAT_FILTERS, flat.shape[1]), np.bool_)
    padded[:, :filters] = flat.reshape(groups, filters, -1)
    by_tile = padded.reshape(groups, tiles, FLOAT_FILTERS, -1).transpose(0, 1, 3, 2)
    return np.packbits(by_tile, axis=-1, bitorder="little")
