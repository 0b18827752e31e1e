"""QONNX's quantizers at one bit, as Brevitas and FINN write them, of tensors and of constants."""

from __future__ import annotations

from typing import Any

import numpy as np

from bitconv.convert.onnx.context import Context, Operand
from bitconv.convert.onnx.elementwise import FUNCTIONS, elementwise
from bitconv.convert.onnx.reading import OnnxNode
from bitconv.convert.onnx.values import Value
from bitconv.errors import UnsupportedError

Inputs = list[Operand | None]


def bipolar_quant(context: Context, node: OnnxNode, inputs: Inputs) -> Operand:
    """``(x >= 0 ? 1 : −1) · scale``."""
    value, scale = inputs
    positive = _apply(context, node, "GreaterOrEqual", value, np.float32(0))
    return _apply(context, node, "Mul", _signed(context, node, positive), scale)


def quant(context: Context, node: OnnxNode, inputs: Inputs) -> Operand:
    """``(round(clip(x / scale + zero_point)) − zero_point) · scale``; signed, one bit is a sign."""
    value, scale, zero_point, bits = inputs
    if not isinstance(bits, np.ndarray) or bits.size != 1:
        raise UnsupportedError("its bit width is not one constant number")
    if float(bits.reshape(-1)[0]) != 1 and isinstance(value, Value):
        raise UnsupportedError(f"quantizes to {float(bits.reshape(-1)[0]):g} bits, expected one")
    width = float(bits.reshape(-1)[0])
    signed = bool(node.attributes.get("signed", 1))
    narrow = bool(node.attributes.get("narrow", 1))
    inner = _apply(context, node, "Div", value, scale)
    inner = _apply(context, node, "Add", inner, zero_point)
    if width == 1 and signed:
        positive = _apply(context, node, "GreaterOrEqual", inner, np.float32(0))
        level = _signed(context, node, positive)
    else:
        low = -(2.0 ** (width - 1)) + narrow if signed else 0.0
        high = 2.0 ** (width - 1) - 1 if signed else 2.0**width - 1 - narrow
        clipped = _apply(context, node, "Clip", inner, np.float32(low), np.float32(high))
        level = _apply(context, node, _rounding(node), clipped)
    result = _apply(context, node, "Sub", level, zero_point)
    return _apply(context, node, "Mul", result, scale)


def multi_threshold(context: Context, node: OnnxNode, inputs: Inputs) -> Operand:
    """FINN's count of thresholds that x reaches, here of one threshold a channel."""
    value, thresholds = inputs
    if not isinstance(value, Value) or not isinstance(thresholds, np.ndarray):
        raise UnsupportedError("its thresholds are not constant")
    if thresholds.ndim != 2 or thresholds.shape[1] != 1:
        raise UnsupportedError(f"takes one threshold a channel, found {list(thresholds.shape)}")
    if node.attributes.get("data_layout", "NCHW") not in ("NCHW", "NC"):
        raise UnsupportedError(f"data_layout {node.attributes['data_layout']!r} is not known")
    threshold = thresholds.reshape(-1, *[1] * (len(value.shape) - 1)).astype(np.float32)
    reached = _apply(context, node, "GreaterOrEqual", value, threshold)
    one, zero = np.float32(1), np.float32(0)
    count = _apply(context, node, "Where", reached, one, zero)
    scale, bias = (
        np.float32(node.attributes.get(name, default))
        for name, default in (("out_scale", 1.0), ("out_bias", 0.0))
    )
    return _apply(context, node, "Add", _apply(context, node, "Mul", count, scale), bias)


def _signed(context: Context, node: OnnxNode, positive: Operand) -> Operand:
    return _apply(context, node, "Where", positive, np.float32(1), np.float32(-1))


def _rounding(node: OnnxNode) -> str:
    mode = str(node.attributes.get("rounding_mode", "ROUND")).upper()
    known = {"ROUND": "Round", "CEIL": "Ceil", "FLOOR": "Floor"}
    if mode not in known:
        raise UnsupportedError(f"rounding_mode {mode!r} is not known")
    return known[mode]


def _apply(
    context: Context, node: OnnxNode, operator: str, *operands: Operand | np.float32 | None
) -> Operand:
    """A standard operator on tensors or constants."""
    arrays = [each if isinstance(each, Value) else np.asarray(each) for each in operands]
    step = OnnxNode(node.name, operator, "", ("",) * len(arrays), node.outputs, {})
    if any(isinstance(each, Value) for each in arrays):
        return elementwise(context, step, list(arrays))
    function: Any = np.clip if operator == "Clip" else FUNCTIONS[operator]
    return np.asarray(function(*arrays))
