"""What became of each layer of a converted network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bitconv.text import table

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
        Its grid of scales, or why a layer that is almost binary is not.
    """

    name: str
    operator: str
    kind: LayerKind
    note: str = ""


@dataclass(frozen=True)
class ConversionReport:
    """The layers of a converted network and what else its owner should know; printable."""

    layers: tuple[LayerReport, ...]
    remarks: tuple[str, ...] = ()

    def count(self, kind: LayerKind) -> int:
        """How many layers are of a kind."""
        return sum(layer.kind == kind for layer in self.layers)

    def __str__(self) -> str:
        rows = [(layer.name, layer.operator, layer.kind, layer.note) for layer in self.layers]
        header = ("layer", "operator", "became", "")
        lines = [table(header, rows, left=len(header))] if rows else []
        lines += [
            f"{self.count('binary')} of {len(self.layers)} layers run on bits, "
            f"{self.count('binary weights')} more have binary weights.",
            *self.remarks,
        ]
        return "\n".join(lines)
