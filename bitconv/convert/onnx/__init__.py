"""From ONNX to graphs."""

from bitconv.convert.onnx.translation import Conversion, convert

__all__ = ["Conversion", "convert"]
