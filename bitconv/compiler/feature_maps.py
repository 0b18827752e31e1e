"""Steps that encode maps, and decode them where they are read."""

from __future__ import annotations

from typing import Any

from bitconv.compiler.arena import ALIGNMENT
from bitconv.compiler.builder import Address, at
from bitconv.compiler.context import Context, natural_layout
from bitconv.compiler.fusion import Program
from bitconv.feature_maps.codec import Codec, strip_pixels
from bitconv.graph import Node, TensorType
from bitconv.kernels.map_coding import workspace_bytes
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
    record = {
        **at("source", source),
        "rows": layout.height,
        "columns": layout.width,
        "channels": layout.channels,
        "target": Address(target.buffer, 8),
        "target_image": slot,
        "target_bytes": slot - LENGTH_BYTES,
        **_codec_record(context, operator.codec, layout.channels),
    }
    context.builder.add_step(
        f"encode_{_kernel_name(operator.codec)}",
        nodes=[node.name],
        reads={name: source},
        writes={node.name: target},
        records=[record],
        seconds=_seconds(context, name),
    )


def decode_map(context: Context, node: Node) -> None:
    """Decode the maps of all images strip by strip, and run the pointwise nodes behind it."""
    operator, name = node.operator, node.inputs[0]
    assert isinstance(operator, DecodeMap)
    source = context.values[name]
    height, width, channels = operator.shape
    program = Program(context, channels, nodes=[node.name], in_place=True)
    program.follow(node.name)
    record = {
        "source": Address(source.buffer, 8),
        "source_image": source.layout.image,
        "rows": height,
        "columns": width,
        "channels": channels,
        **_codec_record(context, operator.codec, channels),
    }
    context.builder.add_step(
        f"decode_{_kernel_name(operator.codec)}",
        nodes=program.nodes,
        reads={name: source, **program.reads},
        writes=program.writes,
        records=[record],
        program=program.instructions,
        seconds=_seconds(context, node.name),
    )


def _codec_record(context: Context, codec: Codec, channels: int) -> dict[str, Any]:
    """The fields that say what the codec knows, and where its kernel may work."""
    builder = context.builder
    shares = builder.threads if builder.images > 1 else 1
    scratch = codec.scratch_bytes((1, strip_pixels(channels), channels))
    step = -(-workspace_bytes(channels, scratch) // ALIGNMENT) * ALIGNMENT
    return {
        "constants": builder.constants.add(codec.constants),
        "constant_bytes": codec.constants.nbytes,
        "workspace": Address(builder.new_scratch(shares * step), 8),
        "workspace_step": step,
        "scratch_bytes": scratch,
    }


def _kernel_name(codec: Codec) -> str:
    return codec.name.replace("-", "_")


def _seconds(context: Context, name: str) -> float:
    """Work on one image: threads share images, so one image alone is not worth several."""
    size = context.graph.types[name].size
    return size * SECONDS_PER_ELEMENT if context.builder.images > 1 else 0.0
