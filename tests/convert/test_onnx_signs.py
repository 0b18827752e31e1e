"""Every way to write a sign in ONNX becomes bits, with its own rule for zero."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto
from onnx_networks import QONNX, OnnxNetwork, assert_same, images, in_bitconv, kinds, signs

from bitconv.convert.onnx import convert
from bitconv.errors import UnsupportedError
from bitconv.operators import BatchNorm, Clip, Sign

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


def test_an_onnx_sign_of_zero_is_remarked_upon_and_taken_as_one(tmp_path: Path) -> None:
    net = OnnxNetwork()
    path = net.save(tmp_path / "net.onnx", net.conv(net.add("Sign", "image"), WEIGHT))
    conversion = assert_same(path, BATCH + np.float32(0.5))
    (remark,) = conversion.report.remarks
    assert "equal to the threshold" in remark
    assert kinds(conversion) == ["binary"]


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


def test_the_comparison_of_a_step_that_differs_only_at_zero_is_refused(tmp_path: Path) -> None:
    net = OnnxNetwork()
    nonzero = _cast(net, net.add("Cast", "image", to=TensorProto.BOOL))
    path = net.save(tmp_path / "net.onnx", net.conv(nonzero, WEIGHT))
    with pytest.raises(UnsupportedError, match="only where they equal"):
        convert(path)


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
