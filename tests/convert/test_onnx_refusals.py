"""What cannot be converted is refused with a message that helps."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx_networks import OnnxNetwork, signs

from bitconv.convert import from_onnx
from bitconv.errors import (
    BitconvError,
    FileError,
    InputError,
    MissingPackageError,
    UnsupportedError,
)


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


def test_missing_packages_are_named_with_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxsim", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'bitconv\[onnx\]'"):
        from_onnx(tmp_path / "net.onnx")


def _external(path: Path, location: str, **more: str) -> Path:
    """A network of which the weight lies in another file."""
    net = OnnxNetwork()
    x = net.conv("image", signs(5, 4, 3, 3))
    model = onnx.load(net.save(path, x))
    (weight,) = model.graph.initializer
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": location, **more}.items():
        weight.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("location", ["../outside.bin", "/etc/hostname", "nothing.bin", "net.onnx"])
def test_weights_are_read_from_files_beside_the_network_alone(
    location: str, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "outside.bin").write_bytes(bytes(720))
    path = _external(folder / "net.onnx", location, offset="1000000", length="720")
    with pytest.raises(FileError, match=r"net\.onnx"):
        from_onnx(path)


def test_weights_beside_the_network_are_read(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(signs(5, 4, 3, 3).tobytes())
    from_onnx(_external(tmp_path / "net.onnx", "weights.bin"))


def test_nodes_in_a_circle_are_refused(tmp_path: Path) -> None:
    net = OnnxNetwork()
    net.add("Add", "image", "add1")
    path = net.save(tmp_path / "net.onnx", net.add("Add", "add0", "image"))
    with pytest.raises(FileError, match="topologically sorted"):
        from_onnx(path)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [("strides", [0, 0]), ("dilations", [0, 1]), ("group", 0), ("kernel_shape", [-3, 3])],
)
def test_lengths_below_one_are_refused(attribute: str, value: Any, tmp_path: Path) -> None:
    net = OnnxNetwork()
    x = net.conv("image", signs(5, 4, 3, 3), **{attribute: value})
    with pytest.raises(FileError, match=f"{attribute} takes numbers from 1 up"):
        from_onnx(net.save(tmp_path / "net.onnx", x))


@pytest.mark.parametrize("operator", ["ConstantOfShape", "Expand", "Tile", "Range"])
def test_constants_of_hostile_size_are_refused(operator: str, tmp_path: Path) -> None:
    net = OnnxNetwork()
    one, many = net.integers(1), net.integers(2**40)
    single = [net.constant(np.int64(n)) for n in (0, 2**40, 1)]
    inputs = {"ConstantOfShape": [many], "Range": single}.get(operator, [one, many])
    total = net.add("ReduceSum", net.add(operator, *inputs), keepdims=0)
    path = net.save(tmp_path / "net.onnx", net.add("Add", "image", net.add("Cast", total, to=1)))
    with pytest.raises(FileError, match="makes 1,099,511,627,776 elements"):
        from_onnx(path)


def test_an_outer_sum_of_hostile_size_is_refused(tmp_path: Path) -> None:
    net = OnnxNetwork()
    line = np.ones(2**15, np.float32)
    square = net.add("Add", net.constant(line[None]), net.constant(line[:, None]))
    total = net.add("ReduceSum", square, keepdims=0)
    path = net.save(tmp_path / "net.onnx", net.add("Add", "image", total))
    with pytest.raises(UnsupportedError, match="makes 1,073,741,824 elements"):
        from_onnx(path)


def test_a_tensor_that_claims_more_than_it_has_is_refused(tmp_path: Path) -> None:
    net = OnnxNetwork()
    model = onnx.load(net.save(tmp_path / "net.onnx", net.conv("image", signs(5, 4, 3, 3))))
    model.graph.initializer[0].dims[0] = 2**40
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(FileError):
        from_onnx(tmp_path / "net.onnx")


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    net = OnnxNetwork()
    x = net.conv("image", np.full((5, 4, 3, 3), np.nan))
    with pytest.raises(UnsupportedError, match="weight must be finite"):
        from_onnx(net.save(tmp_path / "net.onnx", x))


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes", "reason"),
    [
        ("Gather", [[100]], {"axis": 1}, "indices of 4 elements"),
        ("Concat", [], {"axis": 77}, "axis 77"),
        ("Transpose", [], {"perm": [0, 9, 1, 1]}, "do not fit"),
        ("Reshape", [[-3, 5]], {}, "mixes images"),
    ],
)
def test_axes_and_places_that_do_not_exist_are_refused(
    operator: str, inputs: list[Any], attributes: Any, reason: str, tmp_path: Path
) -> None:
    net = OnnxNetwork()
    x = net.add(operator, "image", *(net.integers(*each) for each in inputs), **attributes)
    with pytest.raises((FileError, UnsupportedError), match=reason):
        from_onnx(net.save(tmp_path / "net.onnx", x))


def test_damaged_files_raise_no_foreign_exception(tmp_path: Path) -> None:
    net = OnnxNetwork()
    x = net.batch_norm(net.conv(net.sign("image"), signs(3, 4, 3, 3)), 3)
    x = net.add("Flatten", net.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]))
    path = net.save(tmp_path / "net.onnx", net.add("Gemm", x, net.constant(signs(12, 4))), rank=2)
    whole = path.read_bytes()
    rng = np.random.default_rng(4)
    for _ in range(60):
        image = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            image[place] = rng.integers(256)
        path.write_bytes(image)
        with suppress(BitconvError):
            from_onnx(path)


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
