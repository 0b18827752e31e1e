"""What layers become, where more than the numbers matters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine import engine_values, reference_values
from keras_files import CONV, conv_weights, sequential, write_keras

from bitconv.convert import from_keras
from bitconv.convert.keras import convert
from bitconv.file import read, write
from bitconv.graph import Graph
from bitconv.operators import BinaryConv2d, BinaryDense, Conv2d, MaxPool2d, Relu, Sign

FIXTURES = Path(__file__).parent.parent / "fixtures" / "keras"


def _quant_conv(tmp_path: Path, **config: Any) -> Graph:
    path = write_keras(
        tmp_path / "model.h5",
        sequential(("QuantConv2D", {**CONV, "use_bias": False, **config})),
        {"layer0": conv_weights()},
    )
    return from_keras(path)


@pytest.mark.parametrize(
    "quantizer",
    [
        "ste_sign",
        "approx_sign",
        "swish_sign",
        {"class_name": "SteSign", "config": {"clip_value": 1.25}},
        {"class_name": "Larq>SteSign", "config": {}},
        {"class_name": "function", "config": "ste_sign", "module": "builtins"},
    ],
    ids=str,
)
def test_every_way_to_write_a_sign_makes_a_layer_on_bits(tmp_path: Path, quantizer: Any) -> None:
    graph = _quant_conv(tmp_path, input_quantizer=quantizer, kernel_quantizer=quantizer)
    assert [type(node.operator) for node in graph.nodes] == [Sign, BinaryConv2d]
    assert graph.types["layer0"].kind == "int32"


def test_zero_counts_as_plus_one_in_images_and_kernels(tmp_path: Path) -> None:
    graph = _quant_conv(tmp_path, input_quantizer="ste_sign", kernel_quantizer="ste_sign")
    sign, convolution = graph.nodes
    zeros = np.zeros((1, 5, 6, 2), np.float32)
    assert (sign.operator.reference(zeros) == 1).all()
    kernel = conv_weights()["kernel"].transpose(3, 0, 1, 2)
    assert (kernel == 0).any()
    np.testing.assert_array_equal(convolution.operator.weight.signs(), np.where(kernel < 0, -1, 1))


@pytest.mark.parametrize(("pad_values", "expected"), [(0.0, 0), (1.0, 1), (-1, -1)])
def test_pad_values_stay_on_bits(tmp_path: Path, pad_values: float, expected: int) -> None:
    graph = _quant_conv(
        tmp_path, input_quantizer="ste_sign", kernel_quantizer="ste_sign", pad_values=pad_values
    )
    assert graph.nodes[-1].operator.pad_value == expected


def test_a_binary_kernel_without_input_quantizer_meets_numbers(tmp_path: Path) -> None:
    graph = _quant_conv(tmp_path, kernel_quantizer="ste_sign")
    assert [type(node.operator) for node in graph.nodes] == [BinaryConv2d]
    assert graph.types["layer0"].kind == "float32"


def test_a_kernel_without_quantizer_stays_float(tmp_path: Path) -> None:
    graph = _quant_conv(tmp_path, input_quantizer="ste_sign")
    assert isinstance(graph.nodes[-1].operator, Conv2d)


def test_a_heaviside_input_stays_on_bits(tmp_path: Path) -> None:
    graph = _quant_conv(tmp_path, input_quantizer="ste_heaviside", kernel_quantizer="ste_sign")
    assert [type(node.operator) for node in graph.nodes] == [Sign, BinaryConv2d]


def test_the_scale_of_magnitude_aware_sign_is_the_mean_magnitude(tmp_path: Path) -> None:
    graph = _quant_conv(
        tmp_path, input_quantizer="ste_sign", kernel_quantizer="magnitude_aware_sign"
    )
    magnitudes = np.abs(conv_weights()["kernel"]).mean(axis=(0, 1, 2))
    np.testing.assert_allclose(graph.nodes[-1].operator.scale.values[:, 0], magnitudes, rtol=1e-7)


def test_the_scale_of_xnor_weight_scale_is_of_clipped_weights(tmp_path: Path) -> None:
    weights = {"kernel": conv_weights()["kernel"] * 4}
    quantizers = {"input_quantizer": "ste_sign", "kernel_quantizer": "xnor_weight_scale"}
    path = write_keras(
        tmp_path / "model.h5",
        sequential(("QuantConv2D", {**CONV, "use_bias": False, **quantizers})),
        {"layer0": weights},
    )
    expected = np.abs(weights["kernel"]).clip(max=1).mean(axis=(0, 1, 2))
    found = from_keras(path).nodes[-1].operator.scale.values[:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-7)


def test_signs_between_two_layers_stay_bits_through_a_pool(tmp_path: Path) -> None:
    path = write_keras(
        tmp_path / "model.h5",
        sequential(
            ("Activation", {"activation": "ste_sign"}),
            ("MaxPooling2D", {"pool_size": [2, 2], "strides": None}),
            ("Flatten", {}),
            ("QuantDense", {"units": 3, "kernel_quantizer": "ste_sign", "use_bias": False}),
        ),
        {"layer3": {"kernel": np.ones((12, 3))}},
    )
    graph = from_keras(path)
    assert isinstance(graph.nodes[-1].operator, BinaryDense)
    assert [graph.types[node.name].kind for node in graph.nodes] == ["bits"] * 3 + ["int32"]
    assert isinstance(graph.nodes[1].operator, MaxPool2d)


def test_a_sequential_model_of_the_first_keras_is_a_list(tmp_path: Path) -> None:
    config = sequential(("Activation", {"activation": "relu"}))
    config["config"] = config["config"]["layers"]
    graph = from_keras(write_keras(tmp_path / "model.h5", config))
    assert [type(node.operator) for node in graph.nodes] == [Relu]


def test_an_addition_of_tensorflow_is_an_add(tmp_path: Path) -> None:
    def layer(kind: str, name: str, config: dict[str, Any], nodes: list[Any]) -> dict[str, Any]:
        return {"class_name": kind, "name": name, "config": config, "inbound_nodes": nodes}

    layers = [
        layer("InputLayer", "i", {"batch_input_shape": [None, 2, 2, 1]}, []),
        layer("ReLU", "r", {}, [[["i", 0, 0, {}]]]),
        layer(
            "TFOpLambda",
            "a",
            {"function": "__operators__.add"},
            [["r", 0, 0, {"y": ["i", 0, 0], "name": None}]],
        ),
    ]
    ends = {"input_layers": [["i", 0, 0]], "output_layers": [["a", 0, 0]]}
    config = {"class_name": "Functional", "config": {"layers": layers, **ends}}
    graph = from_keras(write_keras(tmp_path / "model.h5", config))
    image = np.array([-1.0, 0, 0.5, 2], np.float32).reshape(1, 2, 2, 1)
    found = reference_values(graph, image)[graph.outputs[0]]
    np.testing.assert_array_equal(found.ravel(), [-1, 0, 1, 4])


def test_names_that_are_spread_over_attributes_are_joined(tmp_path: Path) -> None:
    import h5py

    path = write_keras(
        tmp_path / "model.h5", sequential(("Conv2D", CONV)), {"layer0": conv_weights()}
    )
    with h5py.File(path, "a") as file:
        attributes = file["model_weights/layer0"].attrs
        names = attributes["weight_names"]
        del attributes["weight_names"]
        attributes["weight_names0"], attributes["weight_names1"] = names[:1], names[1:]
    assert isinstance(from_keras(path).nodes[0].operator, Conv2d)


def test_a_converted_network_runs_in_the_engine_from_its_own_file(tmp_path: Path) -> None:
    write(from_keras(FIXTURES / "larq_binary_sequential.h5"), tmp_path / "net.h5")
    graph = read(tmp_path / "net.h5")
    expected = np.load(FIXTURES / "larq_binary_sequential.npz")
    (scores,) = engine_values(graph, expected["images"]).values()
    np.testing.assert_allclose(scores, expected["output_00"], rtol=0, atol=2e-6)


def test_the_report_says_what_became_of_each_layer(tmp_path: Path) -> None:
    signs = {"input_quantizer": "ste_sign", "use_bias": False}
    path = write_keras(
        tmp_path / "model.h5",
        sequential(
            ("QuantConv2D", {**CONV, **signs, "kernel_quantizer": "ste_sign"}),
            ("QuantConv2D", {**CONV, **signs}),
            ("QuantConv2D", {**CONV, "use_bias": False, "kernel_quantizer": "ste_sign"}),
            ("Conv2D", {**CONV, "use_bias": False}),
        ),
        {"layer0": conv_weights(), **{f"layer{n}": conv_weights(channels=3) for n in (1, 2, 3)}},
    )
    found = [(layer.name, layer.kind, layer.note) for layer in convert(path).report.layers]
    assert found == [
        ("layer0", "binary", ""),
        ("layer1", "float", "its input is binary, but its kernel is not"),
        ("layer2", "binary weights", "its input is not binary"),
        ("layer3", "float", ""),
    ]
