"""Every way to write a sign in ONNX becomes bits, with its own rule for zero."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto
from onnx_networks import (
    QONNX,
    RANDOM,
    OnnxNetwork,
    assert_same,
    images,
    in_bitconv,
    kinds,
    signs,
)

from bitconv.convert.onnx import convert
from bitconv.errors import UnsupportedError
from bitconv.operators import BatchNorm, BinaryConv2d, Clip, Sign

WEIGHT = signs(5, 4, 3, 3)
BATCH = images(2, 4, 6, 6)
Pattern = Callable[[OnnxNetwork, str], str]


def _where(compare: str, *branches: float, swapped: bool = False) -> Pattern:
    def build(net: OnnxNetwork, x: str) -> str:
        sides = [net.number(0), x] if swapped else [x, net.number(0)]
        return net.add("Where", net.add(compare, *sides), *map(net.number, branches))

    return build


def _cast(net: OnnxNetwork, x: str) -> str:
    return net.add("Cast", x, to=TensorProto.FLOAT)


def _twice_minus_one(net: OnnxNetwork, x: str) -> str:
    positive = _cast(net, net.add("Greater", x, net.number(0)))
    return net.add("Sub", net.add("Mul", net.number(2), positive), net.number(1))


def _minus_one_plus_twice(net: OnnxNetwork, x: str) -> str:
    positive = _cast(net, net.add("GreaterOrEqual", x, net.number(0)))
    return net.add("Add", net.number(-1), net.add("Add", positive, positive))


def _one_minus_twice_negative(net: OnnxNetwork, x: str) -> str:
    negative = _cast(net, net.add("Less", x, net.number(0)))
    return net.add("Sub", net.number(1), net.add("Mul", negative, net.number(2)))


def _half_less_by_half(net: OnnxNetwork, x: str) -> str:
    positive = _cast(net, net.add("Not", net.add("LessOrEqual", x, net.number(0))))
    return net.add("Div", net.add("Sub", positive, net.number(0.5)), net.number(0.5))


def _difference_of_comparisons(net: OnnxNetwork, x: str) -> str:
    above = _cast(net, net.add("GreaterOrEqual", x, net.number(0)))
    return net.add("Sub", above, _cast(net, net.add("Less", x, net.number(0))))


def _integers(net: OnnxNetwork, x: str) -> str:
    positive = net.add("Cast", net.add("Greater", x, net.number(0)), to=TensorProto.INT32)
    two, one = (net.constant(np.int32(n)) for n in (2, 1))
    return _cast(net, net.add("Sub", net.add("Mul", positive, two), one))


def _larq(net: OnnxNetwork, x: str) -> str:
    return net.add("Sign", net.add("Add", net.add("Sign", x), net.number(0.1)))


def _sign_and_zero(net: OnnxNetwork, x: str) -> str:
    is_zero = _cast(net, net.add("Equal", x, net.number(0)))
    return net.add("Sub", net.add("Sign", x), is_zero)


def _clip_and_round(net: OnnxNetwork, x: str) -> str:
    """BinaryNet's hard sigmoid, rounded half to even: zero goes down."""
    half = net.add("Div", net.add("Add", x, net.number(1)), net.number(2))
    rounded = net.add("Round", net.add("Clip", half, net.number(0), net.number(1)))
    return net.add("Sub", net.add("Mul", rounded, net.number(2)), net.number(1))


def _floor_of_a_clip(net: OnnxNetwork, x: str) -> str:
    clipped = net.add("Clip", net.add("Add", x, net.number(1)), net.number(0), net.number(1))
    return net.add("Sub", net.add("Mul", net.add("Floor", clipped), net.number(2)), net.number(1))


def _straight_through(net: OnnxNetwork, x: str) -> str:
    """``(sign(x) − clip(x)).detach() + clip(x)``."""
    clipped = net.add("Clip", x, net.number(-1), net.number(1))
    return net.add("Add", net.add("Sub", net.sign(x), clipped), clipped)


def _by_channel(net: OnnxNetwork, x: str) -> str:
    condition = net.add("Greater", x, net.channels([-1, 0, 1, 2]))
    return net.add("Where", condition, net.number(1), net.number(-1))


PATTERNS: list[Pattern] = [
    _where("Greater", 1, -1),
    _where("GreaterOrEqual", 1, -1),
    _where("Less", -1, 1),
    _where("LessOrEqual", -1, 1),
    _where("Less", 1, -1, swapped=True),
    _where("Greater", 1, -1, swapped=True),
    _where("GreaterOrEqual", -1, 1),
    _twice_minus_one,
    _minus_one_plus_twice,
    _one_minus_twice_negative,
    _half_less_by_half,
    _difference_of_comparisons,
    _integers,
    _larq,
    _sign_and_zero,
    _clip_and_round,
    _floor_of_a_clip,
    _straight_through,
    _by_channel,
]


@pytest.mark.parametrize("number", range(len(PATTERNS)))
def test_a_sign_is_found_however_it_is_written(number: int, tmp_path: Path) -> None:
    net = OnnxNetwork()
    scores = net.conv(PATTERNS[number](net, "image"), WEIGHT)
    conversion = assert_same(net.save(tmp_path / "net.onnx", scores), BATCH)
    assert kinds(conversion) == ["binary"]


def test_an_onnx_sign_of_floats_is_two_valued_and_the_report_says_so(tmp_path: Path) -> None:
    net = OnnxNetwork()
    floats = net.conv("image", RANDOM.normal(size=(4, 4, 1, 1)))
    path = net.save(tmp_path / "net.onnx", net.conv(net.add("Sign", floats), WEIGHT))
    conversion = assert_same(path, images(2, 4, 6, 6, whole=False))
    (remark,) = conversion.report.remarks
    assert "counts as above it; the original gives 0 there: conv" in remark
    assert kinds(conversion) == ["float", "binary"]


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("groups", [1, 2])
def test_an_onnx_sign_of_numbers_that_may_be_zero_has_three_values(
    groups: int, padding: int, tmp_path: Path
) -> None:
    net = OnnxNetwork()
    weight = signs(4, 4 // groups, 3, 3)
    x = net.conv(net.add("Sign", "image"), weight, pads=[padding] * 4, group=groups)
    path = net.save(tmp_path / "net.onnx", net.conv(net.add("Sign", x), signs(3, 4, 1, 1)))
    conversion = assert_same(path, BATCH)
    assert kinds(conversion) == ["binary", "binary"]
    assert not conversion.report.remarks


def test_an_onnx_sign_of_numbers_that_are_never_zero_costs_one_layer(tmp_path: Path) -> None:
    net = OnnxNetwork()
    odd = net.conv(net.sign("image"), signs(4, 1, 3, 3), group=4)
    path = net.save(tmp_path / "net.onnx", net.conv(net.add("Sign", odd), signs(3, 4, 1, 1)))
    conversion = assert_same(path, BATCH)
    assert sum(isinstance(node.operator, BinaryConv2d) for node in conversion.graph.nodes) == 2
    assert not conversion.report.remarks


def test_the_sign_of_a_channel_that_batch_norm_makes_zero_is_zero(tmp_path: Path) -> None:
    net = OnnxNetwork()
    gamma, ones = net.constant(np.array([1, 0, 1, 0], np.float32)), net.constant(np.ones(4, "f4"))
    zeros = net.constant(np.zeros(4, np.float32))
    floats = net.conv("image", RANDOM.normal(size=(4, 4, 1, 1)))
    normed = net.add("BatchNormalization", floats, gamma, zeros, zeros, ones)
    path = net.save(tmp_path / "net.onnx", net.conv(net.add("Sign", normed), WEIGHT))
    assert kinds(assert_same(path, images(2, 4, 6, 6, whole=False))) == ["float", "binary"]


def test_the_sign_of_a_relu_is_zero_or_one(tmp_path: Path) -> None:
    net = OnnxNetwork()
    x = net.add("Sign", net.add("Relu", net.conv("image", RANDOM.normal(size=(4, 4, 1, 1)))))
    conversion = assert_same(net.save(tmp_path / "net.onnx", net.conv(x, WEIGHT)), BATCH)
    assert kinds(conversion) == ["float", "binary"]


def test_a_comparison_of_equality_becomes_numbers(tmp_path: Path) -> None:
    net = OnnxNetwork()
    is_zero = _cast(net, net.add("Equal", "image", net.number(0)))
    assert_same(net.save(tmp_path / "net.onnx", net.add("Add", is_zero, "image")), BATCH)


def test_thresholds_between_binary_layers_may_be_integers(tmp_path: Path) -> None:
    net = OnnxNetwork()
    sums = net.conv(net.sign("image"), WEIGHT)
    whole = net.add("Cast", sums, to=TensorProto.INT32)
    thresholds = net.constant(np.array([-3, 0, 1, 5, 400], np.int32).reshape(-1, 1, 1))
    reached = net.add("GreaterOrEqual", whole, thresholds)
    bits = net.add("Where", reached, net.number(1), net.number(-1))
    path = net.save(tmp_path / "net.onnx", net.conv(bits, signs(2, 5, 1, 1)))
    assert kinds(assert_same(path, BATCH)) == ["binary", "binary"]


def test_a_sign_read_twice_is_one_node(tmp_path: Path) -> None:
    net = OnnxNetwork()
    first = net.conv(net.sign("image"), WEIGHT)
    second = net.conv(net.sign("image"), signs(5, 4, 3, 3))
    path = net.save(tmp_path / "net.onnx", net.add("Add", first, second))
    graph = assert_same(path, BATCH).graph
    assert sum(isinstance(node.operator, Sign) for node in graph.nodes) == 1


def test_what_a_straight_through_sign_leaves_behind_is_gone(tmp_path: Path) -> None:
    net = OnnxNetwork()
    path = net.save(tmp_path / "net.onnx", net.conv(_straight_through(net, "image"), WEIGHT))
    graph = convert(path).graph
    assert not any(isinstance(node.operator, Clip | BatchNorm) for node in graph.nodes)


def test_signs_used_as_numbers_become_numbers(tmp_path: Path) -> None:
    net = OnnxNetwork()
    path = net.save(tmp_path / "net.onnx", net.add("Add", net.sign("image"), "image"))
    assert_same(path, BATCH)


def test_a_step_that_differs_only_at_zero_is_two_layers(tmp_path: Path) -> None:
    net = OnnxNetwork()
    nonzero = _cast(net, net.add("Cast", "image", to=TensorProto.BOOL))
    path = net.save(tmp_path / "net.onnx", net.conv(nonzero, WEIGHT))
    assert kinds(assert_same(path, BATCH)) == ["binary"]


@pytest.mark.parametrize("order", ["clip first", "clip last", "hard sigmoid"])
def test_a_clip_and_a_rounding_are_a_sign_in_any_arrangement(order: str, tmp_path: Path) -> None:
    net = OnnxNetwork()
    x, low = "image", net.number(-1 if order == "clip first" else 0)
    if order == "hard sigmoid":
        x = net.add("HardSigmoid", x, alpha=0.5, beta=0.5)
    else:
        steps = [("Clip", low, net.number(1)), ("Add", net.number(1)), ("Mul", net.number(0.5))]
        for operator, *operands in steps if order == "clip first" else [*steps[1:], steps[0]]:
            x = net.add(operator, x, *operands)
    x = net.add("Sub", net.add("Mul", net.add("Round", x), net.number(2)), net.number(1))
    path = net.save(tmp_path / "net.onnx", net.conv(x, WEIGHT))
    assert kinds(assert_same(path, BATCH)) == ["binary"]


def test_the_rounding_of_more_than_two_integers_is_refused(tmp_path: Path) -> None:
    net = OnnxNetwork()
    clipped = net.add("Clip", "image", net.number(-1), net.number(1))
    path = net.save(tmp_path / "net.onnx", net.conv(net.add("Round", clipped), WEIGHT))
    with pytest.raises(UnsupportedError, match="rounds to 3 integers"):
        convert(path)


@pytest.mark.parametrize("kind", [TensorProto.INT8, TensorProto.INT32, TensorProto.INT64])
def test_counts_of_agreeing_bits_are_integers(kind: int, tmp_path: Path) -> None:
    net = OnnxNetwork()
    sums = net.conv(net.sign("image"), WEIGHT)
    count = net.add("Mul", net.add("Add", sums, net.number(36)), net.number(0.5))
    whole = net.add("Cast", count, to=kind)
    dtype = {TensorProto.INT8: np.int8, TensorProto.INT32: np.int32}.get(kind, np.int64)
    threshold = net.constant(np.array([9, 17, 18, 19, 36], dtype).reshape(-1, 1, 1))
    bits = net.add("Where", net.add("Less", whole, threshold), net.number(-1), net.number(1))
    path = net.save(tmp_path / "net.onnx", net.conv(bits, signs(2, 5, 1, 1)))
    assert kinds(assert_same(path, BATCH)) == ["binary", "binary"]


@pytest.mark.parametrize(
    ("kind", "factor"), [(TensorProto.INT8, 4), (TensorProto.INT32, 0.25), (TensorProto.FLOAT16, 3)]
)
def test_a_cast_that_changes_numbers_is_refused(kind: int, factor: float, tmp_path: Path) -> None:
    net = OnnxNetwork()
    scaled = net.add("Mul", net.conv(net.sign("image"), WEIGHT), net.number(factor))
    path = net.save(tmp_path / "net.onnx", _cast(net, net.add("Cast", scaled, to=kind)))
    with pytest.raises(UnsupportedError, match=r"whole ones that fit|rounds numbers to float16"):
        convert(path)


@pytest.mark.parametrize("compare", ["Greater", "GreaterOrEqual", "Less", "LessOrEqual"])
@pytest.mark.parametrize("threshold", [0.1, -0.1, 0.5])
def test_a_threshold_in_double_precision_is_exact(
    compare: str, threshold: float, tmp_path: Path
) -> None:
    net = OnnxNetwork()
    double = net.add("Cast", "image", to=TensorProto.DOUBLE)
    condition = net.add(compare, double, net.constant(np.float64(threshold)))
    bits = net.add("Where", condition, net.number(1), net.number(-1))
    path = net.save(tmp_path / "net.onnx", net.conv(bits, WEIGHT))
    near = np.float32(threshold)
    beside = [np.nextafter(near, np.float32(end)) for end in (-1, 1)]
    assert_same(path, np.resize(np.array([near, *beside]), BATCH.shape))


def test_division_of_integers_is_that_of_onnx(tmp_path: Path) -> None:
    net = OnnxNetwork()
    number = net.add(
        "Where",
        net.add("Greater", "image", net.number(0)),
        *map(net.constant, (np.int32(5), np.int32(-5))),
    )
    halves = _cast(net, net.add("Div", number, net.constant(np.int32(2))))
    assert_same(net.save(tmp_path / "net.onnx", net.conv(halves, WEIGHT)), BATCH)


# --- QONNX, which onnxruntime does not run -----------------------------------------------------


def _expected(x: np.ndarray, level: Callable[[np.ndarray], np.ndarray], path: Path) -> None:
    """Compare with the same convolution of levels computed here."""
    net = OnnxNetwork()
    direct = net.save(path.with_name("direct.onnx"), net.conv("image", WEIGHT))
    (found,) = in_bitconv(convert(path), x)
    (expected,) = in_bitconv(convert(direct), level(x).astype(np.float32))
    np.testing.assert_array_equal(found, expected)


def test_bipolar_quant_is_a_sign_with_a_scale(tmp_path: Path) -> None:
    net = OnnxNetwork()
    quantized = net.add("BipolarQuant", "image", net.number(0.5), domain=QONNX)
    weight = net.add("BipolarQuant", net.constant(WEIGHT * 3), net.number(1), domain=QONNX)
    path = net.save(tmp_path / "net.onnx", net.add("Conv", quantized, weight))
    assert kinds(convert(path)) == ["binary"]
    _expected(BATCH, lambda x: np.where(x >= 0, 0.5, -0.5), path)


@pytest.mark.parametrize("signed", [0, 1])
def test_quant_at_one_bit_is_two_levels(signed: int, tmp_path: Path) -> None:
    net = OnnxNetwork()
    rest = net.number(2), net.number(0), net.number(1)
    quantized = net.add(
        "Quant", "image", *rest, domain=QONNX, signed=signed, narrow=0, rounding_mode="ROUND"
    )
    path = net.save(tmp_path / "net.onnx", net.conv(quantized, WEIGHT))
    assert kinds(convert(path)) == ["binary"]
    if signed:
        _expected(BATCH, lambda x: np.where(x >= 0, 2, -2), path)
    else:  # a half rounds to even, which is 0
        _expected(BATCH, lambda x: np.where(x / 2 > 0.5, 2, 0), path)


def test_a_single_threshold_of_finn_is_a_sign(tmp_path: Path) -> None:
    net = OnnxNetwork()
    thresholds = net.constant(np.array([[-1], [0], [1], [2]], np.float32))
    reached = net.add(
        "MultiThreshold", "image", thresholds, domain=QONNX, out_scale=2.0, out_bias=-1.0
    )
    path = net.save(tmp_path / "net.onnx", net.conv(reached, WEIGHT))
    limits = np.array([-1, 0, 1, 2]).reshape(-1, 1, 1)
    _expected(BATCH, lambda x: np.where(x >= limits, 1, -1), path)
