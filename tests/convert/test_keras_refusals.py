"""What cannot be converted is refused: all of it at once, and damage with one clear error."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import h5py
import numpy as np
import pytest
from keras_files import CONV, conv_weights, sequential, write_keras

from bitconv.convert import from_keras
from bitconv.errors import BitconvError, FileError, GraphError, UnsupportedError

FIXTURES = Path(__file__).parent.parent / "fixtures" / "keras"


def _junk() -> list[Any]:
    deep: Any = 1
    for _ in range(50):
        deep = [deep]
    return [None, True, -1, 0, 3, 1e300, 10**400, "", "x", "\0", [], [[]], {}, [None], deep,
            [0, 0], [-1, -1], [2**31, 1], {"class_name": 3}, ["layer0", 0, 0]]  # fmt: skip


def test_all_layers_that_have_no_operator_are_refused_at_once(tmp_path: Path) -> None:
    config = sequential(
        ("Conv2D", {**CONV, "activation": "sigmoid"}),
        ("Lambda", {}),
        ("ReLU", {"threshold": 1.0}),
        ("QuantConv2D", {**CONV, "input_quantizer": "dorefa_quantizer"}),
        ("MaxPooling2D", {"pool_size": 2, "dtype": "float16"}),
    )
    with pytest.raises(UnsupportedError) as caught:
        from_keras(write_keras(tmp_path / "model.h5", config))
    message = str(caught.value)
    assert "4 layers cannot be converted" in message
    for part in (
        "layer0 (Conv2D): activation 'sigmoid'",
        "layer1 (Lambda): there is no operator",
        "layer3 (QuantConv2D): input_quantizer 'dorefaquantizer'",
        "layer4 (MaxPooling2D): computes in 'float16'",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("kind", "config", "reason"),
    [
        ("ReLU", {"threshold": 1.0}, "threshold"),
        ("MaxPooling2D", {"pool_size": 2, "data_format": "channels_first"}, "channels_last"),
        ("BatchNormalization", {"axis": [1]}, "axis"),
        ("Softmax", {"axis": 1}, "axis"),
        ("MaxPooling2D", {"pool_size": 2, "padding": "causal"}, "causal"),
        ("Activation", {"activation": "magnitude_aware_sign"}, "magnitudeawaresign"),
        ("Normalization", {"mean": [0.0], "variance": [1.0], "invert": True}, "invert"),
    ],
)
def test_a_setting_that_has_no_operator_is_refused(
    tmp_path: Path, kind: str, config: dict[str, Any], reason: str
) -> None:
    path = write_keras(tmp_path / "model.h5", sequential((kind, config)))
    with pytest.raises(UnsupportedError, match=rf"layer0 \({kind}\).*{reason}"):
        from_keras(path)


@pytest.mark.parametrize(
    "shape", [None, [None, None, None, 3], [None], "wide", [None, 0, 4, 3], [None, True, 4, 3]]
)
def test_an_input_without_a_fixed_size_is_refused(tmp_path: Path, shape: Any) -> None:
    config = sequential(("ReLU", {"batch_input_shape": shape}))
    with pytest.raises(FileError, match="input has the shape"):
        from_keras(write_keras(tmp_path / "model.h5", config))


def test_weights_that_do_not_fit_are_refused_with_their_layer(tmp_path: Path) -> None:
    path = write_keras(
        tmp_path / "model.h5", sequential(("Conv2D", CONV)), {"layer0": conv_weights(channels=4)}
    )
    with pytest.raises(GraphError, match=r"layer0 \(Conv2D\)"):
        from_keras(path)


def test_weights_that_are_not_finite_are_refused_with_their_layer(tmp_path: Path) -> None:
    weights = conv_weights()
    weights["kernel"][0, 0, 0, 0] = np.nan
    path = write_keras(tmp_path / "model.h5", sequential(("Conv2D", CONV)), {"layer0": weights})
    with pytest.raises(GraphError, match=r"layer0 \(Conv2D\).*finite"):
        from_keras(path)


def test_weights_that_are_missing_are_refused_with_their_layer(tmp_path: Path) -> None:
    weights = conv_weights()
    del weights["bias"]
    path = write_keras(tmp_path / "model.h5", sequential(("Conv2D", CONV)), {"layer0": weights})
    with pytest.raises(FileError, match=r"layer0 \(Conv2D\).*'bias'"):
        from_keras(path)


def test_a_file_of_weights_alone_is_refused_with_advice(tmp_path: Path) -> None:
    path = write_keras(tmp_path / "model.h5", "")
    with h5py.File(path, "a") as file:
        del file.attrs["model_config"]
    with pytest.raises(FileError, match="save the whole model"):
        from_keras(path)


def test_links_to_other_places_are_not_followed(tmp_path: Path) -> None:
    path = write_keras(
        tmp_path / "model.h5", sequential(("Conv2D", CONV)), {"layer0": conv_weights()}
    )
    with h5py.File(path, "a") as file:
        group = file["model_weights/layer0/layer0"]
        del group["kernel:0"]
        group["kernel:0"] = h5py.ExternalLink("other.h5", "/kernel")
    with pytest.raises(FileError, match="link"):
        from_keras(path)


def test_an_array_that_claims_more_than_the_file_holds_is_refused(tmp_path: Path) -> None:
    path = write_keras(
        tmp_path / "model.h5", sequential(("Conv2D", CONV)), {"layer0": conv_weights()}
    )
    with h5py.File(path, "a") as file:
        group = file["model_weights/layer0/layer0"]
        del group["kernel:0"]
        group.create_dataset("kernel:0", (2**12, 2**12, 2**6, 2), "f4", chunks=True)
    with pytest.raises(FileError, match="claims the shape"):
        from_keras(path)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "3", '{"class_name": "Functional"}'])
def test_a_configuration_that_is_no_model_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(FileError, match=r"model\.h5"):
        from_keras(write_keras(tmp_path / "model.h5", text))


def test_a_model_that_goes_in_a_circle_is_refused(tmp_path: Path) -> None:
    def layer(kind: str, name: str, *sources: str) -> dict[str, Any]:
        node = [[source, 0, 0, {}] for source in sources]
        return {"class_name": kind, "name": name, "config": {"batch_input_shape": [None, 4, 4, 1]},
                "inbound_nodes": [node] if node else []}  # fmt: skip

    layers = [layer("InputLayer", "i"), layer("Add", "a", "i", "b"), layer("ReLU", "b", "a")]
    ends = {"input_layers": [["i", 0, 0]], "output_layers": [["b", 0, 0]]}
    config = {"class_name": "Functional", "config": {"layers": layers, **ends}}
    with pytest.raises(FileError, match="no layer before it makes"):
        from_keras(write_keras(tmp_path / "model.h5", config))


@pytest.mark.parametrize("name", ["absent.h5", "."])
def test_a_path_without_a_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileError, match="no such file"):
        from_keras(tmp_path / name)


def test_a_file_that_is_no_hdf5_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.h5").write_bytes(b"PK\3\4 and more")
    with pytest.raises(FileError, match="no HDF5"):
        from_keras(tmp_path / "model.h5")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    whole = (FIXTURES / "larq_binary_sequential.h5").read_bytes()
    (tmp_path / "model.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileError, match="damaged"):
        from_keras(tmp_path / "model.h5")


@pytest.mark.parametrize(
    "stem", ["keras2_elements", "keras2_windows", "keras3_nested", "larq_binary_windows"]
)
def test_a_damaged_configuration_raises_no_foreign_exception(tmp_path: Path, stem: str) -> None:
    path = tmp_path / "model.h5"
    shutil.copy(FIXTURES / f"{stem}.h5", path)
    with h5py.File(path) as file:
        whole = json.loads(file.attrs["model_config"])
    rng, junk = np.random.default_rng(4), _junk()
    for _ in range(25):
        config = copy.deepcopy(whole)
        places = _places(config)
        holder, key = places[rng.integers(len(places))]
        holder[key] = junk[rng.integers(len(junk))]
        with h5py.File(path, "a") as file:
            file.attrs["model_config"] = json.dumps(config)
        _read_or_refuse(path)


def _read_or_refuse(path: Path) -> None:
    """Damage may change what is not looked at; all else must raise an error of ours."""
    try:
        from_keras(path)
    except BitconvError:
        return


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every entry of every object and list within a value, as its holder and key."""
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    else:
        return []
    return [(value, key) for key, _ in items] + [
        place for _, entry in items for place in _places(entry)
    ]


@pytest.mark.parametrize("name", ["larq_binary_sequential.h5", "keras3_sequential.h5"])
def test_a_damaged_file_raises_no_foreign_exception(tmp_path: Path, name: str) -> None:
    whole = (FIXTURES / name).read_bytes()
    rng = np.random.default_rng(5)
    for _ in range(50):
        image = bytearray(whole)
        for place in rng.integers(0, len(whole), 4):
            image[place] ^= 1 << rng.integers(8)
        (tmp_path / "model.h5").write_bytes(image)
        _read_or_refuse(tmp_path / "model.h5")


def test_models_that_call_one_another_thousands_of_times_are_refused(tmp_path: Path) -> None:
    shape = {"batch_input_shape": [None, 4, 4, 1]}
    entry = {"class_name": "InputLayer", "name": "i", "config": shape, "inbound_nodes": []}
    config: dict[str, Any] = {"layers": [entry], "output_layers": [["i", 0, 0]]}
    for depth in range(5):
        nodes = [[["i", 0, 0, {}]]] + [[["m", n, 0, {}]] for n in range(99)]
        inner = {"class_name": "Functional", "name": "m", "inbound_nodes": nodes,
                 "config": {"input_layers": [["i", 0, 0]], **config}}  # fmt: skip
        config = {"name": f"m{depth}", "layers": [entry, inner], "output_layers": [["m", 99, 0]]}
    whole = {"class_name": "Functional", "config": {"input_layers": [["i", 0, 0]], **config}}
    with pytest.raises(FileError, match="calls more than"):
        from_keras(write_keras(tmp_path / "model.h5", whole))


def test_an_archive_that_is_no_keras_file_is_refused(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(FileError, match=r"without 'model\.weights\.h5'"):
        from_keras(tmp_path / "model.keras")


def test_a_compressed_archive_is_refused(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "model.keras", "w", ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", bytes(10_000))
    with pytest.raises(FileError, match="compressed"):
        from_keras(tmp_path / "model.keras")


def test_a_damaged_archive_raises_no_foreign_exception(tmp_path: Path) -> None:
    whole = (FIXTURES / "keras3_nested.keras").read_bytes()
    rng = np.random.default_rng(6)
    for _ in range(50):
        image = bytearray(whole)
        for place in rng.integers(0, len(whole), 4):
            image[place] ^= 1 << rng.integers(8)
        (tmp_path / "model.keras").write_bytes(image)
        _read_or_refuse(tmp_path / "model.keras")


def test_a_model_within_that_is_called_as_in_training_is_refused(tmp_path: Path) -> None:
    shape = {"batch_input_shape": [None, 4, 4, 1]}
    entry = {"class_name": "InputLayer", "name": "i", "config": shape, "inbound_nodes": []}
    ends = {"input_layers": [["i", 0, 0]], "output_layers": [["i", 0, 0]]}
    inner = {"class_name": "Functional", "name": "m", "config": {"layers": [entry], **ends},
             "inbound_nodes": [[["i", 0, 0, {"training": True}]]]}  # fmt: skip
    ends = {"input_layers": [["i", 0, 0]], "output_layers": [["m", 0, 0]]}
    whole = {"class_name": "Functional", "config": {"layers": [entry, inner], **ends}}
    with pytest.raises(UnsupportedError, match=r"m \(Functional\).*training"):
        from_keras(write_keras(tmp_path / "model.h5", whole))
