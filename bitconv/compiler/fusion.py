"""Which nodes follow a kernel as its program."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.compiler.builder import Record, Value, at, stored_map
from bitconv.compiler.context import Context
from bitconv.graph import Node
from bitconv.kernels.records import Opcode
from bitconv.operators import Add, BatchNorm, Clip, Multiply, Normalize, PRelu, Relu, Sign


@dataclass
class Program:
    """The instructions behind a kernel, and what they do for the graph.

    Attributes
    ----------
    context : Context
    instructions : list of Record
    nodes : list of str
        The nodes whose work is done.
    reads, writes : dict of str to Value
    packs_signs : bool
        Whether the kernel's blocks of filters fall on whole bytes, so that signs can be packed.
    in_place : bool
        Whether a result may overwrite a map that was added to it and that nobody reads again.
    """

    context: Context
    instructions: list[Record] = field(default_factory=list)
    nodes: list[str] = field(default_factory=list)
    reads: dict[str, Value] = field(default_factory=dict)
    writes: dict[str, Value] = field(default_factory=dict)
    packs_signs: bool = True
    in_place: bool = False

    def vector(self, opcode: Opcode, values: NDArray[Any] | float, channels: int) -> None:
        """Append an operation with one number a channel."""
        vector = np.broadcast_to(np.asarray(values, np.float32), (channels,))
        offset = self.context.builder.constants.add_vector(vector, channels)
        self.instructions.append({"opcode": opcode, "vector": offset})

    def multiply_pixel(self, name: str) -> None:
        """Append the product with one number a pixel and group, a stored value."""
        value = self.context.values[name]
        self.reads[name] = value
        self.instructions.append({"opcode": Opcode.MULTIPLY_PIXEL, **at("map", value)})

    def add_map(self, name: str) -> None:
        """Append the sum with a stored value."""
        value = self.context.floats(name)
        self.reads[name] = value
        self.instructions.append({"opcode": Opcode.ADD_MAP, **at("map", value)})

    def store(self, name: str) -> None:
        """Append the storing of value `name`."""
        value = self._over_a_term(name) or self.context.store(name)
        self.writes[name] = value
        self.instructions.append({"opcode": Opcode.STORE, **stored_map(value)})

    def sign(self, node: Node) -> None:
        """Append a sign and the packing of its bits."""
        sign = node.operator
        assert isinstance(sign, Sign)
        value = self.context.store(node.name)
        channels = value.layout.channels
        threshold = np.broadcast_to(sign.threshold, (channels,))
        # NaN compares false, so the lanes past the last channel give zero bits
        offset = self.context.builder.constants.add_vector(threshold, channels, beyond=np.nan)
        opcode = Opcode.SIGN_BELOW if sign.zero_is_positive else Opcode.SIGN_NOT_ABOVE
        self.instructions.append({"opcode": opcode, "vector": offset, **stored_map(value)})
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
                factor, offset = operator.factors()
                self.vector(Opcode.MULTIPLY_VECTOR, factor, channels)
                self.vector(Opcode.ADD_VECTOR, offset, channels)
            case Multiply():
                self.vector(Opcode.MULTIPLY_VECTOR, operator.factor, channels)
            case PRelu():
                self.vector(Opcode.PRELU, operator.slope, channels)
            case Relu():
                self.instructions.append({"opcode": Opcode.RELU})
            case Clip():
                limits = {"low": operator.minimum, "high": operator.maximum}
                self.instructions.append({"opcode": Opcode.CLIP, **limits})
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
        """The place of a map that was read for the last time, given to value `name`; or None."""
        context = self.context
        for term, value in self.reads.items():
            owners = [other for other in context.values.values() if other.buffer is value.buffer]
            if (
                self.in_place
                and owners == [value]
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
