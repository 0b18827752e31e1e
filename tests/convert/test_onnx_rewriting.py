"""What training code leaves around signs is taken out before anything is computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_networks import RANDOM, OnnxNetwork, assert_same, images, kinds, signs

from bitconv.convert.onnx import convert
from bitconv.errors import UnsupportedError

WEIGHT = signs(5, 4, 3, 3)
BATCH = images(2, 4, 6, 6)


def test_weights_behind_a_straight_through_sign_are_binary(tmp_path: Path) -> None:
    """ReActNet's ``(α·sign(w)).detach() − clip(w).detach() + clip(w)``."""
    net = OnnxNetwork()
    latent = net.constant(RANDOM.normal(size=(5, 4, 3, 3)).astype(np.float32))
    alpha = net.add("ReduceMean", net.add("Abs", latent), axes=[1, 2, 3], keepdims=1)
    signed = net.add("Mul", net.add("Sign", latent), alpha)
    clipped = net.add("Clip", latent, net.number(-1), net.number(1))
    weight = net.add("Add", net.add("Sub", signed, clipped), clipped)
    path = net.save(tmp_path / "net.onnx", net.add("Conv", net.sign("image"), weight))
    conversion = assert_same(path, BATCH, 1e-5)
    (layer,) = conversion.report.layers
    assert (layer.kind, layer.scales) == ("binary", "1xI (one a filter)")


def test_a_straight_through_function_needs_no_operator_here(tmp_path: Path) -> None:
    net = OnnxNetwork()
    square = net.add("Mul", "image", "image")
    bits = net.add("Add", net.add("Sub", net.sign("image"), square), square)
    path = net.save(tmp_path / "net.onnx", net.conv(bits, WEIGHT))
    assert kinds(assert_same(path, BATCH)) == ["binary"]


def test_a_straight_through_function_that_is_computed_twice_is_one(tmp_path: Path) -> None:
    net = OnnxNetwork()
    one, other = (net.add("Clip", "image", net.number(-1), net.number(1)) for _ in range(2))
    detached = net.add("Identity", one)
    bits = net.add("Add", other, net.add("Sub", net.sign("image"), detached))
    path = net.save(tmp_path / "net.onnx", net.conv(bits, WEIGHT))
    assert kinds(assert_same(path, BATCH)) == ["binary"]


def test_adding_and_subtracting_a_number_stays_rounding(tmp_path: Path) -> None:
    net = OnnxNetwork()
    rounded = net.add("Add", net.add("Sub", "image", net.number(2.0**23)), net.number(2.0**23))
    path = net.save(tmp_path / "net.onnx", net.conv(rounded, WEIGHT))
    assert_same(path, BATCH + np.float32(0.3))


def test_what_is_taken_from_a_constant_and_added_again_keeps_its_shape(tmp_path: Path) -> None:
    net = OnnxNetwork()
    path = net.save(
        tmp_path / "net.onnx", net.add("Add", net.add("Sub", net.number(1), "image"), "image")
    )
    assert_same(path, BATCH)


@pytest.mark.parametrize("function", ["Tanh", "Erf", "Softsign"])
def test_the_sign_of_a_function_of_that_sign_is_one_of_its_input(
    function: str, tmp_path: Path
) -> None:
    net = OnnxNetwork()
    bits = net.add("Add", net.sign(net.add(function, "image")), net.number(0))
    path = net.save(tmp_path / "net.onnx", net.conv(bits, WEIGHT))
    assert kinds(assert_same(path, BATCH)) == ["binary"]


def test_another_threshold_of_such_a_function_is_refused(tmp_path: Path) -> None:
    net = OnnxNetwork()
    above = net.add("Greater", net.add("Tanh", "image"), net.number(0.5))
    bits = net.add("Where", above, net.number(1), net.number(-1))
    path = net.save(tmp_path / "net.onnx", net.conv(bits, WEIGHT))
    with pytest.raises(UnsupportedError, match=r"tanh0 \(Tanh\)"):
        convert(path)


def test_nodes_that_no_output_needs_are_left_out(tmp_path: Path) -> None:
    net = OnnxNetwork()
    net.add("Erf", "image")
    assert_same(net.save(tmp_path / "net.onnx", net.conv("image", WEIGHT)), BATCH)
