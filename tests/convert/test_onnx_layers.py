"""Which layers become binary, with which scales, and what surrounds them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto
from onnx_networks import RANDOM, OnnxNetwork, assert_same, images, kinds, signs

from bitconv.convert.onnx import Conversion, convert
from bitconv.convert.onnx.weights import coarsest_grid
from bitconv.operators import BinaryConv2d, BinaryDense, Pad

WEIGHT = signs(5, 4, 3, 3)
BATCH = images(2, 4, 6, 6)


def _binary(conversion: Conversion) -> list[BinaryConv2d | BinaryDense]:
    operators = (node.operator for node in conversion.graph.nodes)
    return [each for each in operators if isinstance(each, BinaryConv2d | BinaryDense)]


# --- Padding -----------------------------------------------------------------------------------


def _pad(net: OnnxNetwork, x: str, value: float, *amount: int) -> str:
    top, left, bottom, right = amount or (1, 1, 1, 1)
    lengths = net.integers(0, 0, top, left, 0, 0, bottom, right)
    return net.add("Pad", x, lengths, net.number(value))


@pytest.mark.parametrize("value", [-1, 0, 1])
def test_a_pad_of_signs_is_the_padding_of_the_convolution(value: int, tmp_path: Path) -> None:
    net = OnnxNetwork()
    padded = _pad(net, net.sign("image"), value, 1, 2, 0, 1)
    path = net.save(tmp_path / "net.onnx", net.conv(padded, WEIGHT, strides=[2, 1]))
    (layer,) = _binary(assert_same(path, BATCH))
    assert isinstance(layer, BinaryConv2d)
    assert (layer.pad_value, layer.padding) == (value, (1, 2, 0, 1))


@pytest.mark.parametrize(("compare", "pad_value"), [("Greater", -1), ("GreaterOrEqual", 1)])
def test_zeros_around_the_input_of_a_sign_are_signs(
    compare: str, pad_value: int, tmp_path: Path
) -> None:
    net = OnnxNetwork()
    path = net.save(
        tmp_path / "net.onnx", net.conv(net.sign(_pad(net, "image", 0), compare), WEIGHT)
    )
    conversion = assert_same(path, BATCH)
    (layer,) = _binary(conversion)
    assert isinstance(layer, BinaryConv2d)
    assert layer.pad_value == pad_value
    assert not any(isinstance(node.operator, Pad) for node in conversion.graph.nodes)


def test_zeros_around_zero_and_one_are_minus_ones(tmp_path: Path) -> None:
    net = OnnxNetwork()
    bits = net.add("Cast", net.add("Greater", "image", net.number(0)), to=TensorProto.FLOAT)
    path = net.save(tmp_path / "net.onnx", net.conv(bits, WEIGHT, pads=[1, 1, 1, 1]))
    (layer,) = _binary(assert_same(path, BATCH))
    assert isinstance(layer, BinaryConv2d)
    assert layer.pad_value == -1


def test_a_pad_inside_the_padding_of_the_convolution_stays_a_pad(tmp_path: Path) -> None:
    net = OnnxNetwork()
    padded = _pad(net, net.sign("image"), -1)
    path = net.save(tmp_path / "net.onnx", net.conv(padded, WEIGHT, pads=[1, 1, 1, 1]))
    assert kinds(assert_same(path, BATCH)) == ["binary"]


def test_a_pad_that_is_no_sign_leaves_the_layer_float_and_says_so(tmp_path: Path) -> None:
    net = OnnxNetwork()
    padded = _pad(net, net.sign("image"), 0.5)
    path = net.save(tmp_path / "net.onnx", net.conv(padded, RANDOM.normal(size=(5, 4, 3, 3))))
    conversion = assert_same(path, BATCH, 1e-5)
    assert kinds(conversion) == ["float"]
    assert "0.5, which is no sign" in conversion.report.layers[0].note


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_automatic_padding_is_that_of_onnxruntime(auto_pad: str, tmp_path: Path) -> None:
    net = OnnxNetwork(("N", 4, 7, 6))
    path = net.save(
        tmp_path / "net.onnx",
        net.conv(net.sign("image"), WEIGHT, auto_pad=auto_pad, strides=[2, 2]),
    )
    assert_same(path, images(2, 4, 7, 6))


# --- Weights and scales ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filters", "channels"), [(1, 4), (2, 4), (6, 4), (1, 2), (4, 1), (3, 2), (6, 1)]
)
def test_the_coarsest_grid_of_scales_is_found(filters: int, channels: int, tmp_path: Path) -> None:
    grid = RANDOM.uniform(0.5, 2, (-(-6 // filters), -(-4 // channels))).astype(np.float32)
    alpha = np.repeat(np.repeat(grid, filters, 0)[:6], channels, 1)[:, :4]
    net = OnnxNetwork()
    weight = signs(6, 4, 3, 3) * alpha[:, :, None, None]
    path = net.save(tmp_path / "net.onnx", net.conv(net.sign("image"), weight))
    (layer,) = _binary(assert_same(path, BATCH, 1e-5))
    assert layer.scale is not None
    found = layer.scale.filters_per_scale, layer.scale.channels_per_scale
    assert found == (filters, channels)
    np.testing.assert_array_equal(layer.scale.values, grid)


def test_a_grid_is_as_coarse_as_its_changes_allow() -> None:
    scales = np.array([1, 1, 2, 2, 2, 2, 3, 3.0])[:, None] * np.ones(5)
    grid = coarsest_grid(scales)
    assert (grid.filters_per_scale, grid.channels_per_scale) == (2, 5)
    np.testing.assert_array_equal(grid.by_filter(8)[:, 0], scales[:, 0])


def test_weights_with_zeros_leave_a_layer_float_and_the_report_says_so(tmp_path: Path) -> None:
    weight = WEIGHT.copy()
    weight[0, 0, 0, 0] = 0
    net = OnnxNetwork()
    conversion = assert_same(
        net.save(tmp_path / "net.onnx", net.conv(net.sign("image"), weight)), BATCH
    )
    assert kinds(conversion) == ["float"]
    assert "1 of 180 are 0" in str(conversion.report)


def test_binary_weights_of_numbers_are_kept_as_bits(tmp_path: Path) -> None:
    net = OnnxNetwork()
    weight = WEIGHT * RANDOM.uniform(0.5, 2, (5, 1, 1, 1))
    conversion = assert_same(
        net.save(tmp_path / "net.onnx", net.conv("image", weight, pads=[1] * 4)), BATCH, 1e-5
    )
    assert kinds(conversion) == ["binary weights"]


def test_float_layers_stay_float(tmp_path: Path) -> None:
    net = OnnxNetwork()
    path = net.save(tmp_path / "net.onnx", net.conv("image", RANDOM.normal(size=(5, 4, 3, 3))))
    assert kinds(assert_same(path, BATCH, 1e-5)) == ["float"]


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("zero_one", ["maps", "weights", "both"])
def test_zero_and_one_are_signs_after_an_exact_rewrite(
    groups: int, zero_one: str, tmp_path: Path
) -> None:
    net = OnnxNetwork()
    x = net.sign("image", "Greater")
    if zero_one != "weights":
        x = net.add("Cast", net.add("Greater", "image", net.number(0)), to=TensorProto.FLOAT)
    weight = signs(8, 4 // groups, 3, 3)
    if zero_one != "maps":
        weight = (weight + 1) / 2
    path = net.save(tmp_path / "net.onnx", net.conv(x, weight, pads=[1] * 4, group=groups))
    conversion = assert_same(path, BATCH)
    assert kinds(conversion) == ["binary"]


def test_a_scale_for_each_input_channel_goes_into_the_grid(tmp_path: Path) -> None:
    net = OnnxNetwork()
    scaled = net.add("Mul", net.sign("image"), net.channels([1, 1, -0.5, 2]))
    path = net.save(tmp_path / "net.onnx", net.conv(scaled, WEIGHT, pads=[1] * 4))
    (layer,) = _binary(assert_same(path, BATCH))
    assert layer.scale is not None
    assert layer.scale.channels_per_scale == 1


def test_depthwise_and_pointwise_layers_are_binary(tmp_path: Path) -> None:
    net = OnnxNetwork()
    x = net.conv(net.sign("image"), signs(4, 1, 3, 3), group=4, pads=[1] * 4)
    path = net.save(tmp_path / "net.onnx", net.conv(net.sign(x), signs(6, 4, 1, 1)))
    assert kinds(assert_same(path, BATCH)) == ["binary", "binary"]


# --- What comes before and after ---------------------------------------------------------------


def test_scale_and_bias_behind_a_layer_become_its_own(tmp_path: Path) -> None:
    net = OnnxNetwork()
    x = net.conv(net.sign("image"), WEIGHT)
    x = net.add("Mul", x, net.channels(RANDOM.uniform(0.5, 2, 5)))
    path = net.save(tmp_path / "net.onnx", net.add("Add", x, net.channels(RANDOM.normal(size=5))))
    conversion = assert_same(path, BATCH)
    (layer,) = _binary(conversion)
    assert layer.scale is not None
    assert layer.bias is not None
    assert len(conversion.graph.nodes) == 2


def test_the_count_of_agreeing_bits_is_an_exact_scale_and_bias(tmp_path: Path) -> None:
    net = OnnxNetwork()
    x = net.add("Add", net.conv(net.sign("image"), WEIGHT), net.number(36))
    path = net.save(tmp_path / "net.onnx", net.add("Mul", x, net.number(0.5)))
    conversion = assert_same(path, BATCH)
    assert len(conversion.graph.nodes) == 2


def test_what_cannot_be_folded_exactly_stays_an_operation(tmp_path: Path) -> None:
    net = OnnxNetwork()
    x = net.conv(net.sign("image"), WEIGHT)
    for number in (0.3, 0.7, 1.1):
        x = net.add("Add", net.add("Mul", x, net.number(number)), net.number(number))
    assert_same(net.save(tmp_path / "net.onnx", x), BATCH)


def test_a_layer_read_twice_keeps_its_sums(tmp_path: Path) -> None:
    net = OnnxNetwork()
    sums = net.conv(net.sign("image"), WEIGHT)
    path = net.save(
        tmp_path / "net.onnx", net.add("Add", net.add("Mul", sums, net.number(3)), sums)
    )
    assert len(_binary(assert_same(path, BATCH))) == 1


def test_normalization_inside_the_network_is_exact(tmp_path: Path) -> None:
    net = OnnxNetwork()
    x = net.add("Div", "image", net.number(255))
    x = net.add("Sub", x, net.channels([0.4, 0.5, 0.6, 0.7]))
    path = net.save(tmp_path / "net.onnx", net.add("Div", x, net.channels([0.1, 0.2, 0.3, 0.4])))
    assert_same(path, images(2, 4, 6, 6) * 40)


def test_batch_norm_between_binary_layers(tmp_path: Path) -> None:
    net = OnnxNetwork()
    x = net.batch_norm(net.conv(net.sign("image"), WEIGHT), 5)
    path = net.save(tmp_path / "net.onnx", net.conv(net.sign(x), signs(3, 5, 3, 3)))
    assert kinds(assert_same(path, BATCH)) == ["binary", "binary"]


def test_batch_norm_rounds_as_in_onnxruntime(tmp_path: Path) -> None:
    net = OnnxNetwork()
    path = net.save(tmp_path / "net.onnx", net.batch_norm(net.conv(net.sign("image"), WEIGHT), 5))
    assert_same(path, BATCH)


def test_signs_go_through_a_maximum_pool_as_bits(tmp_path: Path) -> None:
    net = OnnxNetwork()
    pooled = net.add("MaxPool", net.sign("image"), kernel_shape=[2, 2], strides=[2, 2])
    path = net.save(tmp_path / "net.onnx", net.conv(pooled, WEIGHT))
    assert kinds(assert_same(path, BATCH)) == ["binary"]


# --- Dense layers ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Gemm", "MatMul"])
def test_a_fully_connected_binary_network(kind: str, tmp_path: Path) -> None:
    net = OnnxNetwork(("N", 20))
    x = "image"
    for inputs, outputs in ((20, 16), (16, 7)):
        weight = net.constant(signs(inputs, outputs))
        x = net.add(kind, net.sign(x), weight)
    path = net.save(tmp_path / "net.onnx", net.add("Add", x, net.constant(signs(7))), rank=2)
    assert kinds(assert_same(path, images(3, 20))) == ["binary", "binary"]


def test_the_attributes_of_gemm(tmp_path: Path) -> None:
    net = OnnxNetwork(("N", 20))
    inputs = [net.constant(RANDOM.normal(size=(6, 20)).astype(np.float32))]
    inputs.append(net.constant(RANDOM.normal(size=(1, 6)).astype(np.float32)))
    x = net.add("Gemm", "image", *inputs, alpha=0.5, beta=2.0, transB=1)
    assert_same(net.save(tmp_path / "net.onnx", x, rank=2), images(3, 20), 1e-5)


def test_thresholds_of_a_flattened_map_meet_their_features(tmp_path: Path) -> None:
    net = OnnxNetwork()
    thresholds = net.constant(RANDOM.integers(-2, 3, 144).astype(np.float32))
    above = net.add("Greater", net.add("Flatten", "image"), thresholds)
    bits = net.add("Where", above, net.number(1), net.number(-1))
    x = net.add("MatMul", bits, net.constant(signs(144, 5)))
    conversion = assert_same(net.save(tmp_path / "net.onnx", x, rank=2), BATCH)
    assert kinds(conversion) == ["binary"]


# --- The report --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "scales"),
    [
        ((), "none"),
        ((1, 1), "OxI (one)"),
        ((6, 1), "1xI (one a filter)"),
        ((3, 1), "2xI"),
        ((1, 4), "Ox1"),
    ],
)
def test_the_report_says_how_scales_are_shared(
    shape: tuple[int, ...], scales: str, tmp_path: Path
) -> None:
    weight = signs(6, 4, 3, 3)
    if shape:
        grid = RANDOM.uniform(1.5, 2, shape).astype(np.float32)
        rows, columns = (-(-whole // part) for whole, part in zip((6, 4), shape, strict=True))
        weight *= np.repeat(np.repeat(grid, rows, 0), columns, 1)[:, :, None, None]
    net = OnnxNetwork()
    report = convert(net.save(tmp_path / "net.onnx", net.conv(net.sign("image"), weight))).report
    assert report.layers[0].scales == scales
    assert scales in str(report)


def test_the_report_counts_scales_that_come_behind_a_layer(tmp_path: Path) -> None:
    net = OnnxNetwork()
    x = net.add("Mul", net.conv(net.sign("image"), WEIGHT), net.channels(RANDOM.uniform(1, 2, 5)))
    report = convert(net.save(tmp_path / "net.onnx", x)).report
    assert report.layers[0].scales == "1xI (one a filter)"


def test_names_that_steer_a_terminal_are_printed_as_text(tmp_path: Path) -> None:
    net = OnnxNetwork()
    x = net.add("Conv", net.sign("image"), net.constant(WEIGHT), name="evil\n\x1b[31m")
    report = str(convert(net.save(tmp_path / "net.onnx", x)).report)
    assert "evil??[31m" in report
