"""Sharing the scales of a finished network anew, without its float weights.

The best scale of a group of weights is the mean of |W| over it, as for XNOR-Net's filters (arXiv
1603.05279), and adjacent filters may share one (arXiv 2005.09034). So where a new group is made of
whole old ones, its scale is the mean of theirs, each weighted by its number of weights, and W is
not needed. Where it is not, the mean over its weights is what changes α·sign(W) least.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from bitconv.errors import InputError
from bitconv.graph import Graph, Metadata, Node
from bitconv.operators.convolution import BinaryConv2d
from bitconv.operators.dense import BinaryDense
from bitconv.scales import ScaleGrid, ScaleSharing
from bitconv.text import printable, table

SCALE_BYTES = 4


@dataclass(frozen=True)
class ResharedLayer:
    """What became of the scales of one layer, or of all.

    Attributes
    ----------
    name : str
    scales_before, scales_after : int
    energy : float
        Σ W̃² over the binary weights W̃ = α·sign(W) as they were.
    error_energy : float
        Σ (W̃ − W̃')², W̃' the weights as they are now.
    """

    name: str
    scales_before: int
    scales_after: int
    energy: float
    error_energy: float

    @property
    def bytes_saved(self) -> int:
        """Negative where there are more scales than before."""
        return SCALE_BYTES * (self.scales_before - self.scales_after)

    @property
    def relative_error(self) -> float:
        """The error energy as a fraction of the energy; 0 where all weights are zero."""
        return self.error_energy / self.energy if self.energy else 0.0


@dataclass(frozen=True, eq=False)
class Resharing:
    """A network with its scales shared anew; `str()` is a table of what that changed.

    Attributes
    ----------
    graph : Graph
        The new network.
    sharing : ScaleSharing
    layers : tuple of ResharedLayer
        Those with scales, in the order of the nodes.
    """

    graph: Graph
    sharing: ScaleSharing
    layers: tuple[ResharedLayer, ...]

    @property
    def total(self) -> ResharedLayer:
        """All layers together."""
        return ResharedLayer(
            "total",
            sum(layer.scales_before for layer in self.layers),
            sum(layer.scales_after for layer in self.layers),
            sum(layer.energy for layer in self.layers),
            sum(layer.error_energy for layer in self.layers),
        )

    def __str__(self) -> str:
        rows = [
            (
                printable(layer.name),
                f"{layer.scales_before:,} → {layer.scales_after:,}",
                f"{layer.bytes_saved:,}",
                f"{100 * layer.relative_error:.3f} %",
            )
            for layer in (*self.layers, self.total)
        ]
        return (
            f"{table(('layer', 'scales', 'bytes saved', 'error energy'), rows)}\n\n"
            "Error energy: the squares of what changed in α·sign(W), over the squares of α·sign(W)."
        )


def reshare(graph: Graph, sharing: str | ScaleSharing) -> Resharing:
    """Share the scales of every binary layer in another way.

    Every new scale is the mean of the old ones over the weights of its group; signs stay as they
    are. A finer sharing than the present one repeats scales and changes no weight. Layers
    without scales stay untouched. The metadata's accuracy, which holds no longer, is left out.

    Parameters
    ----------
    graph : Graph
    sharing : str or ScaleSharing
        Such as ``"16xI"``.

    Raises
    ------
    InputError
        No layer has scales, or the text is no sharing.
    """
    sharing = ScaleSharing.of(sharing)
    nodes, layers = [], []
    for node in graph.nodes:
        operator = node.operator
        if isinstance(operator, (BinaryConv2d, BinaryDense)) and operator.scale is not None:
            layer, grid = _reshare_layer(node.name, operator.weight.shape, operator.scale, sharing)
            layers.append(layer)
            node = Node(node.name, replace(operator, scale=grid), node.inputs)
        nodes.append(node)
    if not layers:
        raise InputError("no layer of the network has scales to share")
    metadata = _metadata(graph.metadata, sharing)
    return Resharing(replace(graph, nodes=tuple(nodes), metadata=metadata), sharing, tuple(layers))


def _metadata(metadata: Metadata, sharing: ScaleSharing) -> Metadata:
    history = f"scales shared {sharing}"
    source = f"{metadata.source}, {history}" if metadata.source else history
    return replace(metadata, source=source, accuracy="")


@dataclass(frozen=True, eq=False)
class _Runs:
    """Runs of adjacent filters, or channels, within which neither of two sharings changes.

    Attributes
    ----------
    lengths : int array of shape (runs,)
    old, new : int array of shape (runs,)
        The group of the old and of the new sharing that a run belongs to.
    """

    lengths: NDArray[np.int64]
    old: NDArray[np.int64]
    new: NDArray[np.int64]

    @classmethod
    def of(cls, length: int, old_step: int, new_step: int) -> _Runs:
        """The runs of so many filters or channels, of which so many share a scale."""
        starts = np.union1d(np.arange(0, length, old_step), np.arange(0, length, new_step))
        return cls(np.diff(starts, append=length), starts // old_step, starts // new_step)


def _reshare_layer(
    name: str, weight_shape: tuple[int, ...], old: ScaleGrid, sharing: ScaleSharing
) -> tuple[ResharedLayer, ScaleGrid]:
    filters, *taps, channels = weight_shape
    filters_per_scale, channels_per_scale = sharing.steps(filters, channels)
    rows = _Runs.of(filters, old.filters_per_scale, filters_per_scale)
    columns = _Runs.of(channels, old.channels_per_scale, channels_per_scale)
    weights = prod(taps) * np.outer(rows.lengths, columns.lengths).astype(np.float64)
    before = old.values.astype(np.float64)[np.ix_(rows.old, columns.old)]

    group = np.ix_(rows.new, columns.new)
    totals, counts = np.zeros((2, *sharing.grid_shape(filters, channels)))
    np.add.at(totals, group, weights * before)
    np.add.at(counts, group, weights)
    grid = ScaleGrid((totals / counts).astype(np.float32), filters_per_scale, channels_per_scale)

    after = grid.values.astype(np.float64)[group]
    energy, error = (weights * before**2).sum(), (weights * (before - after) ** 2).sum()
    layer = ResharedLayer(name, old.values.size, grid.values.size, float(energy), float(error))
    return layer, grid
