"""Channels come first in ONNX and last here: shapes, pools and what moves elements."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_networks import (
    RANDOM,
    OnnxNetwork,
    assert_same,
    images,
    in_onnxruntime,
    kinds,
    signs,
)

from bitconv.convert.onnx import convert
from bitconv.errors import UnsupportedError
from bitconv.model import Model
from bitconv.operators import Transpose

BATCH = images(2, 4, 6, 6)


def _weight(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("how", ["Flatten", "Reshape", "Shape"])
def test_a_map_flattened_before_a_dense_layer(how: str, tmp_path: Path) -> None:
    net = OnnxNetwork()
    x = net.add("MaxPool", "image", kernel_shape=[2, 2], strides=[2, 2])
    if how == "Flatten":
        x = net.add("Flatten", x)
    elif how == "Reshape":
        x = net.add("Reshape", x, net.integers(-1, 36))
    else:  # as torch exports view(x.size(0), -1)
        batch = net.add("Gather", net.add("Shape", x), net.constant(np.int64(0)), axis=0)
        batch = net.add("Unsqueeze", batch, net.integers(0))
        x = net.add("Reshape", x, net.add("Concat", batch, net.integers(-1), axis=0))
    dense = net.add("Gemm", x, net.constant(_weight(36, 5)))
    conversion = assert_same(net.save(tmp_path / "net.onnx", dense, rank=2), BATCH, 1e-5)
    assert not any(isinstance(node.operator, Transpose) for node in conversion.graph.nodes)


def test_batch_norm_and_sign_of_a_flattened_map(tmp_path: Path) -> None:
    net = OnnxNetwork()
    x = net.batch_norm(net.add("Flatten", "image"), 144)
    x = net.add("Gemm", net.sign(x), net.constant(signs(144, 5)))
    path = net.save(tmp_path / "net.onnx", x, rank=2)
    assert kinds(assert_same(path, BATCH)) == ["binary"]


def test_a_flattened_map_as_the_output_is_in_the_order_of_onnx(tmp_path: Path) -> None:
    net = OnnxNetwork()
    x = net.add("Flatten", net.add("Relu", "image"))
    assert_same(net.save(tmp_path / "net.onnx", x, rank=2), BATCH)


def test_a_network_of_channels_last_between_transposes(tmp_path: Path) -> None:
    """As tf2onnx writes them: pictures as they are, transposed for each convolution and back."""
    net = OnnxNetwork(("N", 6, 6, 4))
    x = net.add("Transpose", "image", perm=[0, 3, 1, 2])
    x = net.add("Transpose", net.conv(x, _weight(5, 4, 3, 3)), perm=[0, 2, 3, 1])
    x = net.add("Relu", net.add("Add", x, net.constant(_weight(5))))
    x = net.add("Transpose", x, perm=[0, 3, 1, 2])
    path = net.save(tmp_path / "net.onnx", net.conv(x, _weight(2, 5, 1, 1)))
    conversion = convert(path)
    batch = images(2, 6, 6, 4)
    found = Model(conversion.graph).reference(batch)
    np.testing.assert_allclose(found, in_onnxruntime(path, batch)[0], 1e-5, 1e-5)
    assert not any(isinstance(node.operator, Transpose) for node in conversion.graph.nodes)


def test_a_shuffle_of_channels(tmp_path: Path) -> None:
    net = OnnxNetwork()
    x = net.add("Reshape", "image", net.integers(0, 2, 2, 6, 6))
    x = net.add("Transpose", x, perm=[0, 2, 1, 3, 4])
    x = net.add("Reshape", x, net.integers(0, 4, 6, 6))
    assert_same(net.save(tmp_path / "net.onnx", net.conv(x, _weight(3, 4, 3, 3))), BATCH, 1e-5)


def test_a_shortcut_of_slices_and_padded_channels(tmp_path: Path) -> None:
    net = OnnxNetwork()
    slice_ = [net.integers(*each) for each in ((0, 0), (6, 6), (2, 3), (2, 2))]
    x = net.add("Slice", "image", *slice_)
    x = net.add("Pad", x, net.integers(0, 2, 0, 0, 0, 2, 0, 0), net.number(0))
    y = net.conv("image", _weight(8, 4, 3, 3), strides=[2, 2], pads=[1] * 4)
    assert_same(net.save(tmp_path / "net.onnx", net.add("Add", x, y)), BATCH, 1e-5)


def test_a_map_beside_zeros_is_padded(tmp_path: Path) -> None:
    net = OnnxNetwork((1, 4, 6, 6))
    zeros = net.constant(np.zeros((1, 2, 6, 6), np.float32))
    x = net.add("Concat", zeros, "image", zeros, zeros, axis=1)
    assert_same(net.save(tmp_path / "net.onnx", net.add("Relu", x)), BATCH)


def test_signs_flattened_before_a_binary_dense_layer(tmp_path: Path) -> None:
    net = OnnxNetwork()
    x = net.add("Flatten", net.sign("image"))
    path = net.save(
        tmp_path / "net.onnx", net.add("MatMul", x, net.constant(signs(144, 7))), rank=2
    )
    conversion = assert_same(path, BATCH)
    assert kinds(conversion) == ["binary"]
    assert not any(isinstance(node.operator, Transpose) for node in conversion.graph.nodes)


def test_zero_and_one_before_a_dense_layer_of_zeros_and_ones(tmp_path: Path) -> None:
    net = OnnxNetwork(("N", 20))
    x = net.add("Where", net.add("Greater", "image", net.number(0)), net.number(1), net.number(0))
    weight = net.constant((signs(20, 6) + 1) / 2)
    path = net.save(tmp_path / "net.onnx", net.add("MatMul", x, weight), rank=2)
    assert kinds(assert_same(path, images(3, 20))) == ["binary"]


def test_parts_of_a_map_joined_in_another_order(tmp_path: Path) -> None:
    net = OnnxNetwork()
    first, second = net.add("Split", "image", net.integers(1, 3), outputs=2, axis=1)
    x = net.add("Concat", second, first, axis=1)
    assert_same(net.save(tmp_path / "net.onnx", net.add("Relu", x)), BATCH)


def test_signs_joined_stay_bits(tmp_path: Path) -> None:
    net = OnnxNetwork()
    x = net.add("Concat", net.sign("image"), net.sign("image", "Greater"), axis=1)
    path = net.save(tmp_path / "net.onnx", net.conv(x, signs(3, 8, 3, 3)))
    assert kinds(assert_same(path, BATCH)) == ["binary"]


@pytest.mark.parametrize("how", ["GlobalAveragePool", "ReduceMean", "AveragePool"])
def test_the_mean_of_a_map_before_a_dense_layer(how: str, tmp_path: Path) -> None:
    net = OnnxNetwork()
    if how == "ReduceMean":
        x = net.add("ReduceMean", "image", axes=[2, 3], keepdims=0)
    elif how == "AveragePool":
        x = net.add("AveragePool", "image", kernel_shape=[6, 6])
        x = net.add("Squeeze", x, net.integers(2, 3))
    else:
        x = net.add("Flatten", net.add("GlobalAveragePool", "image"))
    dense = net.add("Gemm", x, net.constant(_weight(4, 5)))
    assert_same(net.save(tmp_path / "net.onnx", dense, rank=2), BATCH, 1e-5)


@pytest.mark.parametrize("ceil_mode", [0, 1])
@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 1, 0]])
@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool"])
def test_pools_round_the_number_of_windows_as_asked(
    kind: str, pads: list[int], ceil_mode: int, tmp_path: Path
) -> None:
    net = OnnxNetwork(("N", 4, 7, 6))
    x = net.add(kind, "image", kernel_shape=[3, 3], strides=[2, 2], pads=pads, ceil_mode=ceil_mode)
    assert_same(net.save(tmp_path / "net.onnx", x), images(2, 4, 7, 6), 1e-6)


@pytest.mark.parametrize(
    "operator", ["Relu", "Abs", "Neg", "LeakyRelu", "HardSigmoid", "PRelu", "Clip", "Max", "Min"]
)
def test_an_operator_on_each_number(operator: str, tmp_path: Path) -> None:
    net = OnnxNetwork()
    more = {
        "PRelu": [net.constant(_weight(4, 1, 1))],
        "Clip": [net.number(-1), net.number(1.5)],
        "Max": [net.number(0.5)],
        "Min": [net.number(0.5)],
    }
    x = net.add(operator, "image", *more.get(operator, []))
    assert_same(net.save(tmp_path / "net.onnx", x), BATCH, 1e-6)


def test_the_classes_of_a_softmax(tmp_path: Path) -> None:
    net = OnnxNetwork(("N", 9))
    path = net.save(tmp_path / "net.onnx", net.add("Softmax", "image", axis=1), rank=2)
    assert_same(path, images(3, 9), 1e-6)


def test_a_network_of_several_outputs(tmp_path: Path) -> None:
    net = OnnxNetwork()
    first = net.conv(net.sign("image"), signs(3, 4, 3, 3))
    assert_same(net.save(tmp_path / "net.onnx", first, net.add("Relu", first)), BATCH)


def test_a_batch_of_fixed_length(tmp_path: Path) -> None:
    net = OnnxNetwork((8, 4, 6, 6))
    x = net.add("Reshape", net.add("GlobalAveragePool", "image"), net.integers(8, 4))
    path = net.save(tmp_path / "net.onnx", x, rank=2)
    graph = convert(path).graph
    assert graph.types[graph.outputs[0]].shape == (4,)


def test_a_network_that_takes_channels_last_takes_pictures_as_they_are(tmp_path: Path) -> None:
    net = OnnxNetwork(("N", 6, 6, 4))
    x = net.add("Div", net.add("Sub", "image", net.constant(_weight(4))), net.number(2))
    x = net.conv(net.add("Transpose", x, perm=[0, 3, 1, 2]), _weight(5, 4, 3, 3))
    conversion = convert(net.save(tmp_path / "net.onnx", x))
    assert conversion.graph.types["image"].shape == (6, 6, 4)
    batch = images(2, 6, 6, 4)
    (expected,) = in_onnxruntime(tmp_path / "net.onnx", batch)
    found = Model(conversion.graph).reference(batch)
    np.testing.assert_allclose(found, expected, 1e-5, 1e-5)


def test_pixels_of_integers_are_those_of_onnx(tmp_path: Path) -> None:
    import onnx

    net = OnnxNetwork()
    x = net.add("Cast", net.add("Greater", "image", net.constant(np.uint8(127))), to=1)
    path = net.save(tmp_path / "net.onnx", net.conv(x, signs(5, 4, 3, 3)))
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    onnx.save(model, path)
    batch = RANDOM.integers(126, 129, (2, 4, 6, 6)).astype(np.uint8)
    assert kinds(assert_same(path, batch)) == ["binary"]


def test_arithmetic_that_wraps_around_is_refused(tmp_path: Path) -> None:
    import onnx

    net = OnnxNetwork()
    x = net.add("Cast", net.add("Sub", "image", net.constant(np.uint8(1))), to=1)
    path = net.save(tmp_path / "net.onnx", x)
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    onnx.save(model, path)
    with pytest.raises(UnsupportedError, match=r"sub0 \(Sub\).*fit uint8"):
        convert(path)
