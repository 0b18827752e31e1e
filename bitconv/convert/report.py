"""What became of each layer of a converted network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bitconv.operators import BinaryConv2d, BinaryDense
from bitconv.scales import ScaleSharing
from bitconv.text import printable, table

LayerKind = Literal["binary", "binary weights", "float"]


@dataclass(frozen=True)
class LayerReport:
    """One convolution or dense layer.

    Attributes
    ----------
    name : str
        As the source calls it.
    operator : str
    kind : {"binary", "binary weights", "float"}
        ``binary`` runs on bits on both sides; ``binary weights`` has a float input.
    note : str
        Why a layer that is almost binary is not.
    scales : str
        How binary weights share their scales.
    """

    name: str
    operator: str
    kind: LayerKind
    note: str = ""
    scales: str = ""


def scales_of(layer: BinaryConv2d | BinaryDense) -> str:
    """How a layer shares its scales, in words and as `bitconv.scales.ScaleSharing` writes it."""
    if layer.scale is None:
        return "none"
    filters, channels = layer.weight.shape[0], layer.weight.shape[-1]
    down, across = layer.scale.filters_per_scale, layer.scale.channels_per_scale
    sharing = ScaleSharing(
        None if down >= filters else down, None if across >= channels else across
    )
    words: dict[tuple[int | None, int | None], str] = {
        (None, None): " (one)",
        (1, None): " (one a filter)",
    }
    return f"{sharing}{words.get((sharing.filters, sharing.channels), '')}"


@dataclass(frozen=True)
class ConversionReport:
    """The layers of a converted network and what else its owner should know; printable."""

    layers: tuple[LayerReport, ...]
    remarks: tuple[str, ...] = ()

    def count(self, kind: LayerKind) -> int:
        """How many layers are of a kind."""
        return sum(layer.kind == kind for layer in self.layers)

    def __str__(self) -> str:
        rows = [
            tuple(
                map(printable, (layer.name, layer.operator, layer.kind, layer.scales, layer.note))
            )
            for layer in self.layers
        ]
        header = ("layer", "operator", "became", "scales", "")
        lines = [table(header, rows, left=len(header))] if rows else []
        lines += [
            f"{self.count('binary')} of {len(self.layers)} layers run on bits, "
            f"{self.count('binary weights')} more have binary weights.",
            *map(printable, self.remarks),
        ]
        return "\n".join(lines)
