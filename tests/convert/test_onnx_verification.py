"""A converted network is compared with onnxruntime, and the command does all of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from onnx_networks import RANDOM, OnnxNetwork, signs
from PIL import Image

from bitconv.commands import app
from bitconv.convert.onnx import convert
from bitconv.convert.onnx.verification import verify
from bitconv.errors import BitconvError
from bitconv.file import read
from bitconv.operators import Normalize, Sign


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


def test_the_first_layer_that_parts_is_named(tmp_path: Path) -> None:
    path = _network(tmp_path / "net.onnx")
    conversion = convert(path)
    nodes = tuple(
        replace(node, operator=Sign(np.array([0.7]))) if isinstance(node.operator, Sign) else node
        for node in conversion.graph.nodes
    )
    wrong = replace(conversion, graph=replace(conversion.graph, nodes=nodes))
    agreement = verify(path, wrong, [_pictures(2)])
    assert not agreement.ok
    assert agreement.partings[0].tensor.startswith("conv")


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
