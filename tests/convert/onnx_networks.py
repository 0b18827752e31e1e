"""Small ONNX networks, and what onnxruntime says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bitconv.convert.onnx import Conversion, convert
from bitconv.model import Model

QONNX = "qonnx.custom_op.general"
RANDOM = np.random.default_rng(5)


class OnnxNetwork:
    """An ONNX network in the making; every method returns the name of what it appends."""

    def __init__(self, shape: tuple[Any, ...] = ("N", 4, 6, 6), opset: int = 17) -> None:
        self.shape, self.opset = shape, opset
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, array: Any) -> str:
        name = f"constant{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def number(self, value: float) -> str:
        return self.constant(np.float32(value))

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def channels(self, values: Any) -> str:
        return self.constant(np.asarray(values, np.float32).reshape(-1, 1, 1))

    def add(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        name = f"{operator.lower()}{len(self._nodes)}"
        names = [name, *(f"{name}_{i}" for i in range(1, outputs))]
        node = helper.make_node(operator, inputs, names, **{"name": name, **attributes})
        self._nodes.append(node)
        return name if outputs == 1 else names

    def conv(self, x: str, weight: Any, **attributes: Any) -> str:
        return self.add("Conv", x, self.constant(np.asarray(weight, np.float32)), **attributes)

    def sign(self, x: str, compare: str = "GreaterOrEqual") -> str:
        condition = self.add(compare, x, self.number(0))
        return self.add("Where", condition, self.number(1), self.number(-1))

    def batch_norm(self, x: str, channels: int) -> str:
        rows = [RANDOM.normal(1, 0.5, channels) * RANDOM.choice([-1, 1], channels)]
        rows += [RANDOM.normal(0, 1, channels), RANDOM.normal(0, 1, channels)]
        rows += [RANDOM.uniform(0.5, 2, channels)]
        return self.add(
            "BatchNormalization", x, *(self.constant(row.astype(np.float32)) for row in rows)
        )

    def save(self, path: Path, *outputs: str, rank: int = 4) -> Path:
        graph = helper.make_graph(
            self._nodes,
            "network",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, self.shape)],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * rank)
                for name in outputs
            ],
            self._constants,
        )
        domains = [helper.make_opsetid("", self.opset), helper.make_opsetid(QONNX, 1)]
        model = helper.make_model(graph, opset_imports=domains, ir_version=8)
        path.write_bytes(model.SerializeToString())
        return path


def signs(*shape: int) -> NDArray[np.float32]:
    return RANDOM.choice(np.array([-1, 1], np.float32), shape)


def images(*shape: int, whole: bool = True) -> NDArray[np.float32]:
    """Small whole numbers, zeros among them, so that every comparison meets its threshold."""
    numbers = RANDOM.integers(-3, 4, shape) if whole else RANDOM.normal(0, 2, shape)
    return numbers.astype(np.float32)


def channels_last(batch: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(batch.transpose(0, 2, 3, 1)) if batch.ndim == 4 else batch


def in_onnxruntime(path: Path, batch: NDArray[np.float32]) -> list[NDArray[Any]]:
    """The outputs by onnxruntime, maps channels last, one image at a time."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path.read_bytes(), options)
    runs = [session.run(None, {session.get_inputs()[0].name: image[None]}) for image in batch]
    return [channels_last(np.concatenate(each)) for each in zip(*runs, strict=True)]


def in_bitconv(conversion: Conversion, batch: NDArray[np.float32]) -> list[NDArray[Any]]:
    """The outputs by the operators' references."""
    outputs = Model(conversion.graph).reference(channels_last(batch))
    return list(outputs.values()) if isinstance(outputs, dict) else [outputs]


def assert_same(path: Path, batch: NDArray[np.float32], tolerance: float = 0.0) -> Conversion:
    """Convert the network, compare it with onnxruntime, and return it."""
    conversion = convert(path)
    expected, found = in_onnxruntime(path, batch), in_bitconv(conversion, batch)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(other, one, rtol=tolerance, atol=tolerance)
    return conversion


def kinds(conversion: Conversion) -> list[str]:
    return [layer.kind for layer in conversion.report.layers]
