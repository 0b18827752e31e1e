"""What `bitconv cost` prints: storage and operations of the layers with weights."""

from __future__ import annotations

from dataclasses import dataclass

from bitconv.cost import Cost, Layer, Summary, summarize
from bitconv.graph import Graph
from bitconv.resharing import reshare
from bitconv.scales import ScaleSharing
from bitconv.text import printable, short_count, table

STORAGE = "Storage; memory is the bytes with float32 weights over the bytes stored."
OPERATIONS = "Operations for one image, at 1 and at 2 for a float multiply-accumulate (MAC)."
RULES = (
    "A 64-bit word of signs, an addition and the scale of an output count 1. A speed-up is the\n"
    "count with float32 weights and inputs over this count; it is not a measured time."
)


@dataclass(frozen=True)
class CostReport:
    """Storage and operations of the layers with weights; `str()` is a table of each.

    Attributes
    ----------
    summary : Summary
    sharing : ScaleSharing, optional
        Another sharing of the scales, to set beside the present one.
    reshared : Summary, optional
        What the network costs with that.
    """

    summary: Summary
    sharing: ScaleSharing | None = None
    reshared: Summary | None = None

    def __str__(self) -> str:
        if not self._weighted:
            return "No layer has weights."
        parts = [STORAGE, self._storage(), OPERATIONS, self._operations(), RULES]
        if self.reshared is not None:
            parts += [f"Now → with scales shared {self.sharing}.", self._changes(self.reshared)]
        return "\n\n".join(parts)

    @property
    def _weighted(self) -> list[Layer]:
        return [layer for layer in self.summary.layers if layer.cost.weights]

    def _storage(self) -> str:
        named = [(printable(layer.name), layer.cost) for layer in self._weighted]
        others = [layer.cost for layer in self.summary.layers if not layer.cost.weights]
        rest = sum(others, Cost())
        if rest.bytes:
            named.append(("all others", rest))
        rows = []
        for name, cost in (*named, ("total", self.summary.total)):
            counts = [f"{n:,}" if n else "" for n in (cost.weights, cost.weight_bits, cost.scales)]
            rows.append((name, *counts, f"{cost.bytes:,}", f"{cost.memory_ratio:.2f}×"))
        return table(("layer", "weights", "weight bits", "scales", "bytes", "memory"), rows)

    def _operations(self) -> str:
        named = [(printable(item.name), item.arithmetic, item.cost) for item in self._weighted]
        rows = [
            (
                name,
                arithmetic,
                short_count(cost.macs),
                short_count(cost.operations(1)),
                f"{cost.speed_up(1):.1f}×",
                short_count(cost.operations(2)),
                f"{cost.speed_up(2):.1f}×",
            )
            for name, arithmetic, cost in (*named, ("total", "", self.summary.total))
        ]
        counts = ("ops at 1", "speed-up at 1", "ops at 2", "speed-up at 2")
        return table(("layer", "arithmetic", "MACs", *counts), rows, left=2)

    def _changes(self, reshared: Summary) -> str:
        pairs = [
            (printable(now.name), now.cost, then.cost)
            for now, then in zip(self.summary.layers, reshared.layers, strict=True)
            if now.cost.scales
        ]
        rows = [
            (
                name,
                f"{now.scales:,} → {then.scales:,}",
                f"{now.bytes:,} → {then.bytes:,}",
                f"{now.memory_ratio:.1f} → {then.memory_ratio:.1f}×",
                f"{now.speed_up(1):.1f} → {then.speed_up(1):.1f}×",
                f"{now.speed_up(2):.1f} → {then.speed_up(2):.1f}×",
            )
            for name, now, then in (*pairs, ("total", self.summary.total, reshared.total))
        ]
        header = ("layer", "scales", "bytes", "memory", "speed-up at 1", "speed-up at 2")
        return table(header, rows)


def report(graph: Graph, sharing: str | ScaleSharing | None = None) -> CostReport:
    """The cost of the layers with weights, and what another sharing of scales would change.

    Parameters
    ----------
    graph : Graph
    sharing : str or ScaleSharing, optional
        Such as ``"16xI"``.

    Raises
    ------
    InputError
        A sharing is given, but no layer has scales, or the text is none.
    """
    if sharing is None:
        return CostReport(summarize(graph))
    changed = reshare(graph, sharing)
    return CostReport(summarize(graph), changed.sharing, summarize(changed.graph))
