"""A converted network is compared with onnxruntime, and the command does all of it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from onnx_networks import QONNX, RANDOM, OnnxNetwork, signs
from PIL import Image

from bitconv.cli import main
from bitconv.commands import app
from bitconv.convert.onnx import Conversion, convert
from bitconv.convert.onnx.verification import verify
from bitconv.errors import BitconvError, InputError, UnsupportedError
from bitconv.file import read
from bitconv.operators import BatchNorm, Normalize, Sign

KERAS = Path(__file__).parent.parent / "fixtures" / "keras"


def _network(path: Path) -> Path:
    net = OnnxNetwork(("N", 3, 8, 8))
    x = net.conv("image", RANDOM.normal(size=(6, 3, 3, 3)) / 100, pads=[1] * 4)
    lengths = net.integers(0, 0, 1, 1, 0, 0, 1, 1)
    padded = net.add("Pad", net.batch_norm(x, 6), lengths, net.number(0))
    x = net.batch_norm(net.conv(net.sign(padded), signs(5, 6, 3, 3)), 5)
    x = net.add("Flatten", net.add("GlobalAveragePool", net.add("Relu", x)))
    return net.save(path, net.add("Gemm", x, net.constant(signs(5, 4))), rank=2)


def _pictures(count: int) -> np.ndarray:
    return RANDOM.integers(0, 256, (count, 8, 8, 3)).astype(np.uint8)


def test_a_converted_network_agrees_with_onnxruntime(tmp_path: Path) -> None:
    path = _network(tmp_path / "net.onnx")
    agreement = verify(path, convert(path), [_pictures(3), _pictures(2)])
    assert (agreement.images, agreement.same_labels) == (5, 5)
    assert agreement.ok
    assert agreement.partings == ()


def _with_sign(conversion: Conversion, threshold: float) -> Conversion:
    """The conversion with another threshold of its sign."""
    nodes = tuple(
        replace(node, operator=Sign(np.array([threshold])))
        if isinstance(node.operator, Sign)
        else node
        for node in conversion.graph.nodes
    )
    return replace(conversion, graph=replace(conversion.graph, nodes=nodes))


def test_the_first_layer_that_parts_is_named(tmp_path: Path) -> None:
    path = _network(tmp_path / "net.onnx")
    agreement = verify(path, _with_sign(convert(path), 0.7), [_pictures(2)])
    assert not agreement.ok
    assert agreement.partings[0].tensor.startswith("conv")
    assert agreement.partings[0].tensor in str(agreement)


PIXELS = np.array([[100, 7], [100, 101], [200, 101], [90, 101]], np.uint8).reshape(4, 1, 1, 2)


def _first_pixel_decides(path: Path) -> Path:
    """A network whose label is whether the first channel is at least 100."""
    net = OnnxNetwork(("N", 2, 1, 1))
    bits = net.sign(net.add("Sub", "image", net.channels([100, 100])))
    return net.save(path, net.conv(bits, [[[[1]], [[1]]], [[[-1]], [[1]]]]))


def _shifted(conversion: Conversion, by: float) -> Conversion:
    """The conversion with less in front of its sign."""
    nodes = tuple(
        replace(
            node,
            operator=BatchNorm(node.operator.statistics - np.array([[0], [by], [0], [0]]), 0.0),
        )
        if isinstance(node.operator, BatchNorm)
        else node
        for node in conversion.graph.nodes
    )
    return replace(conversion, graph=replace(conversion.graph, nodes=nodes))


def test_every_other_label_is_traced_to_a_sign_that_rounding_decides(tmp_path: Path) -> None:
    path = _first_pixel_decides(tmp_path / "net.onnx")
    wrong = _shifted(convert(path), 1e-5)  # which differs for pixels of exactly 100
    agreement = verify(path, wrong, [PIXELS[:3], PIXELS[3:]])
    assert (agreement.images, agreement.same_labels) == (4, 2)
    assert len(agreement.other_labels) == 2
    assert all(each is not None and each.is_rounding for each in agreement.other_labels)
    assert agreement.ok
    assert "2 of 2 other labels come from rounding" in str(agreement)
    assert "signs differ, of numbers within 8e-06 of their threshold" in str(agreement)


def test_another_label_that_rounding_does_not_explain_is_told(tmp_path: Path) -> None:
    path = _first_pixel_decides(tmp_path / "net.onnx")
    agreement = verify(path, _shifted(convert(path), 50.0), [PIXELS])
    assert agreement.same_labels == 2
    assert not agreement.ok
    assert "0 of 2 other labels come from rounding" in str(agreement)


def test_a_network_that_onnxruntime_does_not_run_is_refused(tmp_path: Path) -> None:
    net = OnnxNetwork()
    bits = net.add("BipolarQuant", "image", net.number(1), domain=QONNX)
    path = net.save(tmp_path / "net.onnx", net.conv(bits, signs(5, 4, 3, 3)))
    with pytest.raises(UnsupportedError, match="onnxruntime cannot run the network"):
        verify(path, convert(path), [])


def _run(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["convert", *map(str, arguments)])
    if isinstance(result.exception, BitconvError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_the_command_converts_labels_and_verifies(tmp_path: Path) -> None:
    path, out = _network(tmp_path / "net.onnx"), tmp_path / "net.h5"
    (tmp_path / "labels.txt").write_text("cat\ndog\nfrog\nship\n")
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, picture in enumerate(_pictures(2)):
        Image.fromarray(picture).save(folder / f"{number}.png")
    printed = _run(
        *(path, out, "--labels", tmp_path / "labels.txt", "--mean", "120,110,100"),
        *("--std", "60", "--resize", "8x8", "--verify", folder),
    )
    assert "1 of 3 layers run on bits" in printed
    assert "2 of 2 images get onnxruntime's label" in printed
    graph = read(out)
    assert graph.metadata.labels == ("cat", "dog", "frog", "ship")
    assert graph.metadata.preparation.resize == (8, 8)
    assert isinstance(graph.nodes[0].operator, Normalize)


def test_the_command_refuses_what_it_cannot_write(tmp_path: Path) -> None:
    path = _network(tmp_path / "net.onnx")
    with pytest.raises(BitconvError, match="is the network itself"):
        _run(path, path)


def test_the_command_refuses_a_size_that_is_none(tmp_path: Path) -> None:
    path = _network(tmp_path / "net.onnx")
    with pytest.raises(BitconvError, match="256 or 224x224"):
        _run(path, tmp_path / "net.h5", "--resize", "large")


@pytest.mark.parametrize("name", ["keras2_sequential.h5", "larq_binary_sequential.keras"])
def test_the_command_converts_keras_files(name: str, tmp_path: Path) -> None:
    printed = _run(KERAS / name, tmp_path / "net.h5")
    assert "layers run on bits" in printed
    assert len(read(tmp_path / "net.h5").nodes) > 3


def test_the_command_says_how_keras_files_are_verified(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"docs/convert-keras\.md"):
        _run(KERAS / "keras2_sequential.h5", tmp_path / "net.h5", "--verify", tmp_path)
    assert not (tmp_path / "net.h5").exists()


def test_refused_nodes_are_listed_one_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    net = OnnxNetwork()
    x = net.add("Erf", net.add("Erf", "image"), name="evil\n\x1b[31m")
    path = net.save(tmp_path / "net.onnx", net.add("Add", x, net.add("Exp", "image")))
    monkeypatch.setattr(sys, "argv", ["bitconv", "convert", str(path), str(tmp_path / "net.h5")])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err.splitlines() == [
        "bitconv: nodes that cannot be converted:",
        "  erf0 (Erf): there is no operator for it",
        "  exp2 (Exp): there is no operator for it",
    ]
