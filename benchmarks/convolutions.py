"""The binary convolutions of a ResNet-18, and who computes them.

Every side is a function from a `Layer` to what is to be timed. Before it returns, it has seen that
this computes the right numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numba import njit
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from openvino_binary import binary_layer
from quantized import quantize
from registers import on_registers

from bitconv.bits import BitArray
from bitconv.compiler import compile_graph
from bitconv.cost import Cost
from bitconv.executor import Workspace
from bitconv.graph import Graph, Node, TensorType
from bitconv.operators import BatchNorm, BinaryConv2d, Conv2d, Operator, Sign
from bitconv.peers.engines import Run, onnxruntime, openvino
from bitconv.peers.onnx_writer import to_onnx
from bitconv.scales import ScaleGrid

KERNEL = 3  # rows and columns; stride 1, padding 1
FILTERS_PER_SCALE = 8
INT8_ERROR, BFLOAT16_ERROR = 0.02, 0.01  # of the largest value
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Layer:
    """A 3×3 convolution of stride 1 and padding 1 with as many filters as channels, one image.

    Attributes
    ----------
    size : int
        Rows and columns of the map.
    channels : int
    """

    size: int
    channels: int

    def __str__(self) -> str:
        return f"{self.size}²×{self.channels}"

    @property
    def macs(self) -> int:
        """Multiply-accumulates, taps on padding included."""
        return (self.size * KERNEL * self.channels) ** 2

    @cached_property
    def values(self) -> Floats:
        """The float map before the sign, (1, rows, columns, channels)."""
        shape = (1, self.size, self.size, self.channels)
        return np.random.default_rng(0).normal(size=shape).astype(np.float32)

    @cached_property
    def signs(self) -> Floats:
        """The map as −1 and +1."""
        return Sign(np.zeros(1, np.float32)).reference(self.values).astype(np.float32)

    @cached_property
    def weight(self) -> BitArray:
        """(filters, 3, 3, channels)."""
        shape = (self.channels, KERNEL, KERNEL, self.channels)
        return BitArray.from_bits(np.random.default_rng(1).random(shape) < 0.5)

    @cached_property
    def dots(self) -> NDArray[np.int32]:
        """What every side has to compute, (1, rows, columns, filters)."""
        dots: NDArray[np.int32] = self.convolution().reference(self.signs)
        return dots

    @cached_property
    def scale(self) -> ScaleGrid:
        """A scale for every few filters."""
        alpha = np.random.default_rng(2).uniform(0.05, 0.1, (self.channels // FILTERS_PER_SCALE, 1))
        return ScaleGrid(alpha.astype(np.float32), FILTERS_PER_SCALE, self.channels)

    @cached_property
    def norm(self) -> BatchNorm:
        """The batch norm behind the convolution."""
        statistics = np.random.default_rng(3).uniform(0.5, 1.5, (4, self.channels))
        return BatchNorm(statistics.astype(np.float32))

    def convolution(self, scale: ScaleGrid | None = None) -> BinaryConv2d:
        """The operator."""
        return BinaryConv2d(self.weight, scale, padding=KERNEL // 2)


LAYERS = (Layer(56, 64), Layer(28, 128), Layer(14, 256), Layer(7, 512))


def registers(layer: Layer) -> Callable[[], object]:
    """The layer's multiply-accumulates on registers alone: the popcount roofline."""
    return on_registers(Cost(binary_macs=layer.macs))


def bitconv_kernel(layer: Layer) -> Callable[[], object]:
    """The step `binary_conv2d` alone: packed signs in, dot products stored as float32."""
    graph, workspace = _workspace(layer, layer.convolution())
    workspace.run("x", layer.values)
    kernels = [step.kernel for step in workspace.plan.steps]
    index = kernels.index("binary_conv2d")

    def run() -> None:
        workspace.run_steps(slice(index, index + 1), 1)

    run()
    _check(_result(graph, workspace), layer.dots)
    return run


def bitconv_layer(layer: Layer) -> Callable[[], object]:
    """Float map in, float map out: sign, packing, convolution, shared scales and batch norm."""
    graph, workspace = _workspace(layer, layer.convolution(layer.scale), layer.norm)

    def run() -> None:
        workspace.run("x", layer.values)

    run()
    _check(_result(graph, workspace), _normed(layer))
    return run


def openvino_binary(layer: Layer) -> Callable[[], object]:
    """The same as the whole layer, by OpenVINO's binary convolution; maps channels first."""
    factor, offset = layer.norm.factors()
    alpha = layer.scale.by_filter(layer.channels)[:, 0]
    values = np.ascontiguousarray(layer.values.transpose(0, 3, 1, 2))
    run = binary_layer(values, layer.weight, alpha * factor, offset)
    found = run().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(found, _normed(layer), rtol=1e-4, atol=1e-4)
    return run


def numpy_float32(layer: Layer) -> Callable[[], object]:
    """Float signs to dot products: windows copied to a matrix, which BLAS multiplies."""
    size, channels = layer.size, layer.channels
    padded = np.zeros((size + 2, size + 2, channels), np.float32)
    windows = sliding_window_view(padded, (KERNEL, KERNEL), axis=(0, 1)).transpose(0, 1, 3, 4, 2)
    columns = np.empty(windows.shape, np.float32)
    left = columns.reshape(size * size, -1)
    right = np.ascontiguousarray(_float_weight(layer).reshape(channels, -1).T)
    sums = np.empty((size * size, channels), np.float32)

    def run() -> Floats:
        padded[1:-1, 1:-1] = layer.signs[0]
        np.copyto(columns, windows)
        np.matmul(left, right, out=sums)
        return sums

    _check(run().reshape(layer.dots.shape), layer.dots)
    return run


def onnxruntime_float32(layer: Layer) -> Callable[[], object]:
    """Float signs to dot products by a graph of one `Conv`; maps channels first, as it has them."""
    return _conv(layer, onnxruntime(_conv_model(layer), threads=1))


def onnxruntime_int8(layer: Layer) -> Callable[[], object]:
    """The same in eight bits: quantized, multiplied, and back to float32."""
    return _conv(layer, onnxruntime(_conv_model_int8(layer), threads=1), error=INT8_ERROR)


def openvino_float32(layer: Layer) -> Callable[[], object]:
    """The same in OpenVINO."""
    return _conv(layer, openvino(_conv_model(layer), threads=1))


def openvino_bfloat16(layer: Layer) -> Callable[[], object]:
    """The same where it may compute in bfloat16."""
    return _conv(layer, openvino(_conv_model(layer), 1, "bf16"), error=BFLOAT16_ERROR)


def openvino_int8(layer: Layer) -> Callable[[], object]:
    """The model in eight bits that onnxruntime's tool made."""
    return _conv(layer, openvino(_conv_model_int8(layer), threads=1), error=INT8_ERROR)


@cache
def _conv_model(layer: Layer) -> bytes:
    convolution = Conv2d(_float_weight(layer), padding=KERNEL // 2)
    graph = Graph({"x": TensorType(layer.values.shape[1:])}, (Node("y", convolution, ("x",)),))
    return to_onnx(graph, 1, channels_first=True)


@cache
def _conv_model_int8(layer: Layer) -> bytes:
    return quantize(_conv_model(layer), [_channels_first(layer.signs)])


def _conv(layer: Layer, model: Run, error: float = 0.0) -> Callable[[], object]:
    """The model's run on the signs; `error` is what it may be off by, of the largest value."""
    signs = _channels_first(layer.signs)

    def run() -> Any:
        return model([signs])[0]

    found = run().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(found, layer.dots, rtol=0, atol=error * np.abs(layer.dots).max())
    return run


def _channels_first(maps: Floats) -> Floats:
    return np.ascontiguousarray(maps.transpose(0, 3, 1, 2))


def scalar_loop(layer: Layer) -> Callable[[], object]:
    """Float signs to dot products, one output and one product at a time, compiled by Numba."""
    padded = np.pad(layer.signs[0], ((1, 1), (1, 1), (0, 0)))
    weight, sums = _float_weight(layer), np.empty(layer.dots.shape[1:], np.float32)

    def run() -> Floats:
        _convolve_in_order(padded, weight, sums)
        return sums

    _check(run()[None], layer.dots)
    return run


SIDES = {
    "registers": registers,
    "bitconv-kernel": bitconv_kernel,
    "bitconv-layer": bitconv_layer,
    "openvino-binary": openvino_binary,
    "numpy": numpy_float32,
    "onnxruntime": onnxruntime_float32,
    "onnxruntime-int8": onnxruntime_int8,
    "openvino": openvino_float32,
    "openvino-bfloat16": openvino_bfloat16,
    "openvino-int8": openvino_int8,
    "scalar-loop": scalar_loop,
}


@njit  # type: ignore[untyped-decorator]  # numba has no types
def _convolve_in_order(padded: Floats, weight: Floats, sums: Floats) -> None:
    """Float additions may not be reordered, so no compiler makes vectors of them."""
    rows, columns, filters = sums.shape
    for row in range(rows):
        for column in range(columns):
            for index in range(filters):
                total = np.float32(0)
                for i in range(weight.shape[1]):
                    for j in range(weight.shape[2]):
                        for channel in range(weight.shape[3]):
                            value = padded[row + i, column + j, channel]
                            total += value * weight[index, i, j, channel]
                sums[row, column, index] = total


def _workspace(layer: Layer, *operators: Operator) -> tuple[Graph, Workspace]:
    """The sign of the map and the operators behind it, for one image on one thread."""
    names = ["x", *(f"node{index}" for index in range(len(operators) + 1))]
    nodes = [
        Node(name, operator, (source,))
        for name, operator, source in zip(
            names[1:], (Sign(np.zeros(1, np.float32)), *operators), names, strict=False
        )
    ]
    graph = Graph({"x": TensorType(layer.values.shape[1:])}, tuple(nodes))
    return graph, Workspace(compile_graph(graph, images=1, threads=1))


def _result(graph: Graph, workspace: Workspace) -> Floats:
    (name,) = graph.outputs
    result = np.empty((1, *graph.types[name].shape), np.float32)
    workspace.read(name, result)
    return result


def _normed(layer: Layer) -> Floats:
    """What a whole layer has to compute."""
    return layer.norm.reference(layer.convolution(layer.scale).reference(layer.signs))


def _float_weight(layer: Layer) -> Floats:
    return layer.weight.signs().astype(np.float32)


def _check(found: NDArray[Any], expected: NDArray[Any]) -> None:
    np.testing.assert_array_equal(found, expected)  # dot products of signs are exact in float32
