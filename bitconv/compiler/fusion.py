"""Which nodes follow a kernel as its program."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.compiler.builder import Record, Value, at, stored_map
from bitconv.compiler.context import Context
from bitconv.graph import Node
from bitconv.kernels.records import BLOCK_CHANNELS, Opcode
from bitconv.operators import Add, BatchNorm, Clip, Multiply, Normalize, PRelu, Relu, Sign


@dataclass
class Program:
    """The instructions behind a kernel, and what they do for the graph.

    Attributes
    ----------
    context : Context
    width : int
        Values of a row of the kernel's blocks.
    instructions : list of Record
    nodes : list of str
        The nodes whose work is done.
    reads : list of (str, Value)
        One name may be read from memory of several layouts.
    writes : dict of str to Value
    packs_signs : bool
        Whether the kernel's blocks of filters fall on whole bytes, so that signs can be packed.
    in_place : bool
        Whether a result may overwrite a map that was added to it and that nobody reads again.
    repeats : bool
        Whether the first channels of all blocks are multiples of the width, so that narrow rows can
        be computed several at once.
    """

    context: Context
    width: int
    instructions: list[Record] = field(default_factory=list)
    nodes: list[str] = field(default_factory=list)
    reads: list[tuple[str, Value]] = field(default_factory=list)
    writes: dict[str, Value] = field(default_factory=dict)
    packs_signs: bool = True
    in_place: bool = False
    repeats: bool = True
    _scale: NDArray[np.float32] | None = None  # a product that is still to be appended

    def vector(self, opcode: Opcode, values: NDArray[Any] | float, channels: int) -> None:
        """Append an operation with one number a channel."""
        self._append({"opcode": opcode, **self._vectors(channels, vector=values)})

    def multiply(self, values: NDArray[Any] | float, channels: int) -> None:
        """Append the product with one number a channel; a batch norm behind it takes it along."""
        self._apply_scale()
        self._scale = np.broadcast_to(np.asarray(values, np.float32), (channels,))

    def batch_norm(self, operator: BatchNorm, channels: int) -> None:
        """Append a batch norm."""
        scale = 1.0 if self._scale is None else self._scale  # x · 1 is x, exactly
        self._scale = None
        factor, offset = operator.factors()
        vectors = self._vectors(channels, vector=scale, factor=factor, offset=offset)
        self._append({"opcode": Opcode.RESCALE, **vectors})

    def _append(self, instruction: Record) -> None:
        self._apply_scale()
        self.instructions.append(instruction)

    def _apply_scale(self) -> None:
        if self._scale is not None:
            scale, self._scale = self._scale, None
            self.vector(Opcode.MULTIPLY_VECTOR, scale, len(scale))

    def _vectors(self, channels: int, **vectors: NDArray[Any] | float) -> dict[str, int]:
        """The fields of an instruction that name vectors, put among the constants."""
        rows = max(1, BLOCK_CHANNELS // self.width) if self.repeats else 1
        fields = {"rows": rows}
        for name, values in vectors.items():
            vector = np.broadcast_to(np.asarray(values, np.float32), (channels,))
            fields[name] = self.context.builder.constants.add_vector(vector, self.width, rows)
        return fields

    def multiply_pixel(self, name: str) -> None:
        """Append the product with one number a pixel and group, a stored value."""
        value = self.context.values[name]
        self.reads.append((name, value))
        self._append({"opcode": Opcode.MULTIPLY_PIXEL, **at("map", value)})

    def add_map(self, name: str) -> None:
        """Append the sum with a stored value."""
        value = self.context.floats(name)
        self.reads.append((name, value))
        self._append({"opcode": Opcode.ADD_MAP, **stored_map(value)})

    def store(self, name: str) -> None:
        """Append the storing of value `name`, wherever it belongs."""
        value = self._over_a_term(name)
        homes = [(name, value)] if value else self.context.store_everywhere(name)
        for title, home in homes:
            self.writes[title] = home
            self._append({"opcode": Opcode.STORE, **stored_map(home)})

    def sign(self, node: Node) -> None:
        """Append a sign and the packing of its bits."""
        sign = node.operator
        assert isinstance(sign, Sign)
        value = self.context.store(node.name)
        channels = value.layout.channels
        threshold = np.broadcast_to(sign.threshold, (channels,))
        # NaN compares false, so the lanes past the last channel give zero bits
        offset = self.context.builder.constants.add_vector(threshold, channels, 1, beyond=np.nan)
        opcode = Opcode.SIGN_BELOW if sign.zero_is_positive else Opcode.SIGN_NOT_ABOVE
        self._append({"opcode": opcode, "vector": offset, "rows": 1, **stored_map(value)})
        self.nodes.append(node.name)
        self.writes[node.name] = value

    def pointwise(self, node: Node, held: str) -> None:
        """Append a pointwise node that takes the value `held` in the block."""
        operator = node.operator
        channels = self.context.shape(node.name)[-1]
        match operator:
            case Normalize():
                self.vector(Opcode.ADD_VECTOR, -operator.mean, channels)
                self.vector(Opcode.DIVIDE_VECTOR, operator.std, channels)
            case BatchNorm():
                self.batch_norm(operator, channels)
            case Multiply():
                self.multiply(operator.factor, channels)
            case PRelu():
                self.vector(Opcode.PRELU, operator.slope, channels)
            case Relu():
                self._append({"opcode": Opcode.RELU})
            case Clip():
                limits = {"low": operator.minimum, "high": operator.maximum}
                self._append({"opcode": Opcode.CLIP, **limits})
            case Add():
                left, right = node.inputs
                self.add_map(right if left == held else left)
            case _:
                raise AssertionError(f"{operator.name} is not pointwise")
        self.nodes.append(node.name)

    def follow(self, name: str) -> None:
        """Take along everything that can be done while the value `name` is in the block."""
        while True:
            readers = self.context.readers[name]
            signs = [node for node in readers if self._packs(node)]
            others = [node for node in readers if node not in signs]
            following = next((node for node in others if self._continues(node, name)), None)
            rest = [node for node in others if node is not following]
            twice = following is not None and following.inputs.count(name) > 1
            if name in self.context.kept or rest or twice:
                self.store(name)
            for node in signs:
                self.sign(node)
            if following is None:
                return
            self.pointwise(following, name)
            name = following.name

    def _over_a_term(self, name: str) -> Value | None:
        """The place of a map that was read for the last time, given to value `name`; or None.

        Neither of the two may be a part of a larger map; the layout of such a term is another one.
        """
        context = self.context
        if not self.in_place or name in context.parts:
            return None
        for term, value in self.reads:
            owners = [other for other in context.values.values() if other.buffer is value.buffer]
            if (
                owners == [value]
                and term not in context.kept
                and all(reader.name in self.nodes for reader in context.readers[term])
                and value.layout == context.layout(name)
            ):
                context.values[name] = Value(value.layout, value.buffer)
                return context.values[name]
        return None

    def _packs(self, node: Node) -> bool:
        return self.packs_signs and isinstance(node.operator, Sign)

    def _continues(self, node: Node, held: str) -> bool:
        if isinstance(node.operator, Add):
            return all(name == held or name in self.context.values for name in node.inputs)
        return isinstance(node.operator, BatchNorm | Clip | Multiply | Normalize | PRelu | Relu)
