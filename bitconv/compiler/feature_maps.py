"""Steps that encode maps, and decode them where they are read."""

from __future__ import annotations

from typing import Any

from bitconv.compiler.arena import ALIGNMENT
from bitconv.compiler.builder import Address, at
from bitconv.compiler.context import Context, natural_layout
from bitconv.compiler.fusion import Program
from bitconv.feature_maps.codec import Codec
from bitconv.feature_maps.coding import Coding
from bitconv.graph import Node, TensorType
from bitconv.kernels.records import LENGTH_BYTES
from bitconv.operators import DecodeMap, EncodeMap

SECONDS_PER_ELEMENT = 4e-9  # of encoding or decoding on one core, roughly


def encode_map(context: Context, node: Node) -> None:
    """Encode the maps of all images, each into the bytes reserved for it."""
    operator, name = node.operator, node.inputs[0]
    assert isinstance(operator, EncodeMap)
    source = context.floats(name)
    layout = source.layout
    slot = -(-(LENGTH_BYTES + operator.reserve) // LENGTH_BYTES) * LENGTH_BYTES
    target = context.builder.new_value(natural_layout(TensorType((slot,), "bytes")))
    context.values[node.name] = target
    shape = (layout.height, layout.width, layout.channels)
    coding = operator.codec.encoding(shape, gathered=not layout.dense)
    record = {
        **at("source", source),
        "rows": layout.height,
        "columns": layout.width,
        "gathers": not layout.dense,
        "target": Address(target.buffer, 8),
        "target_image": slot,
        "target_bytes": slot - LENGTH_BYTES,
        **_coding_record(context, operator.codec, coding),
    }
    context.builder.add_step(
        "encode_map",
        nodes=[node.name],
        reads=[(name, source)],
        writes={node.name: target},
        records=[record],
        functions=coding.functions,
        seconds=_seconds(context, name),
    )


def decode_map(context: Context, node: Node) -> None:
    """Decode the maps of all images strip by strip, and run the pointwise nodes behind it."""
    operator, name = node.operator, node.inputs[0]
    assert isinstance(operator, DecodeMap)
    source = context.values[name]
    height, width, channels = operator.map_shape
    coding = operator.codec.decoding(operator.map_shape)
    program = Program(context, channels, nodes=[node.name], in_place=True)
    program.follow(node.name)
    record = {
        "source": Address(source.buffer, 8),
        "source_image": source.layout.image,
        "rows": height,
        "columns": width,
        **_coding_record(context, operator.codec, coding),
    }
    context.builder.add_step(
        "decode_map",
        nodes=program.nodes,
        reads=[(name, source), *program.reads],
        writes=program.writes,
        records=[record],
        program=program.instructions,
        functions=coding.functions,
        seconds=_seconds(context, node.name),
    )


def _coding_record(context: Context, codec: Codec, coding: Coding) -> dict[str, Any]:
    """The fields that say what the codec knows, what it does, and where its kernels may work."""
    builder = context.builder
    shares = builder.threads if builder.images > 1 else 1
    step = -(-coding.memory // ALIGNMENT) * ALIGNMENT
    return {
        "constants": builder.constants.add(codec.constants),
        "constant_bytes": codec.constants.nbytes,
        "workspace": Address(builder.new_scratch(shares * step), 8),
        "workspace_step": step,
        **coding.numbers,
    }


def _seconds(context: Context, name: str) -> float:
    """Work on one image: threads share images, so one image alone is not worth several."""
    size = context.graph.types[name].size
    return size * SECONDS_PER_ELEMENT if context.builder.images > 1 else 0.0
