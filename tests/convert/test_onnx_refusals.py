"""What cannot be converted is refused with a message that helps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_networks import OnnxNetwork, signs

from bitconv.convert import from_onnx
from bitconv.errors import FileError, InputError, UnsupportedError


def test_all_nodes_that_are_not_known_are_named_at_once(tmp_path: Path) -> None:
    net = OnnxNetwork()
    x = net.add("Erf", "image")
    y = net.add("Relu", net.add("Mul", "image", "image"))
    path = net.save(tmp_path / "net.onnx", net.add("Concat", x, y, axis=1))
    with pytest.raises(UnsupportedError) as refusal:
        from_onnx(path)
    message = str(refusal.value)
    assert "erf0 (Erf): there is no operator for it" in message
    assert "mul1 (Mul): takes a tensor and a constant, found two tensors" in message
    assert "relu2" not in message
    assert "concat3" not in message


def test_a_file_that_is_no_onnx_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"no network at all")
    with pytest.raises(FileError, match="no ONNX file"):
        from_onnx(path)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    net = OnnxNetwork()
    path = net.save(tmp_path / "net.onnx", net.conv("image", signs(5, 4, 3, 3)))
    whole = path.read_bytes()
    for length in range(0, len(whole), 61):
        path.write_bytes(whole[:length])
        with pytest.raises(FileError, match=r"net\.onnx"):
            from_onnx(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        from_onnx(tmp_path / "net.onnx")


def test_an_unknown_tensor_is_refused(tmp_path: Path) -> None:
    net = OnnxNetwork()
    path = net.save(tmp_path / "net.onnx", net.add("Relu", "nobody"))
    with pytest.raises(FileError, match="nobody"):
        from_onnx(path)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    net = OnnxNetwork()
    path = net.save(tmp_path / "net.onnx", net.conv(net.sign("image"), signs(5, 3, 3, 3)))
    with pytest.raises((FileError, UnsupportedError), match="3"):
        from_onnx(path)


def test_an_input_of_open_size_is_refused(tmp_path: Path) -> None:
    net = OnnxNetwork(("N", 4, "height", "width"))
    path = net.save(tmp_path / "net.onnx", net.add("Relu", "image"))
    with pytest.raises(UnsupportedError, match="only its batch may be left open"):
        from_onnx(path)


def test_a_node_of_senseless_attributes_is_refused(tmp_path: Path) -> None:
    net = OnnxNetwork()
    path = net.save(tmp_path / "net.onnx", net.add("MaxPool", "image", kernel_shape=[2, 2, 2]))
    with pytest.raises((FileError, UnsupportedError)):
        from_onnx(path)


def test_a_reshape_that_mixes_images_is_refused(tmp_path: Path) -> None:
    net = OnnxNetwork((2, 4, 6, 6))
    x = net.add("Reshape", "image", net.constant(np.array([4, 2, 6, 6])))
    path = net.save(tmp_path / "net.onnx", x)
    with pytest.raises(UnsupportedError, match="mixes images"):
        from_onnx(path)
