import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="export needs PyTorch")

from torch import nn
from torch_modules import (
    IMAGES,
    NORMALIZATION,
    Network,
    as_trained,
    floats,
    in_pytorch,
    reference,
)

import bitconv
from bitconv.errors import GraphError, InputError
from bitconv.graph import Metadata, Preparation
from bitconv.training import BinaryConv2d, BinaryLinear, export, to_graph


@pytest.fixture
def network():
    torch.manual_seed(5)
    return as_trained(Network())


def test_an_export_is_the_file_of_its_graph(network, tmp_path):
    metadata = Metadata(name="tiny", labels=("a", "b", "c", "d"))
    agreement = export(
        network, tmp_path / "tiny.h5", IMAGES, normalization=NORMALIZATION, metadata=metadata
    )
    assert agreement.images == agreement.same_labels == len(IMAGES)
    graph = bitconv.read(tmp_path / "tiny.h5")
    assert graph.metadata == metadata
    expected = to_graph(network, IMAGES.shape[1:], normalization=NORMALIZATION)
    np.testing.assert_array_equal(reference(graph, IMAGES), reference(expected, IMAGES))


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "bwn", "scale": "4xI"},
        {"mode": "bwn", "scale": "3x5"},
        {"scale": "OxI", "activation_scale": "constant"},
        {"scale": "3x5", "activation_scale": "map"},
    ],
    ids=lambda options: "-".join(options.values()),
)
def test_the_engine_computes_what_pytorch_does(options, tmp_path):
    torch.manual_seed(2)
    module = as_trained(
        nn.Sequential(
            nn.Conv2d(3, 12, 3),
            nn.BatchNorm2d(12),
            nn.Hardtanh(),
            BinaryConv2d(12, 8, 3, padding=1, **options),
            nn.BatchNorm2d(8),
            nn.PReLU(8),
            nn.MaxPool2d(2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            BinaryLinear(8, 5, **options),
        )
    )
    export(module, tmp_path / "it.h5", IMAGES, normalization=NORMALIZATION)
    found = bitconv.load(tmp_path / "it.h5").predict(IMAGES)
    expected = in_pytorch(module, NORMALIZATION.reference(IMAGES))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_an_exported_model_names_the_class_of_a_picture(network, tmp_path):
    labels = ["ant", "bee", "cat", "dog"]
    preparation = Preparation(resize=(13,), crop=(13, 11))
    export(
        network,
        tmp_path / "tiny.h5",
        IMAGES,
        labels=labels,
        normalization=NORMALIZATION,
        metadata=Metadata(name="tiny", preparation=preparation),
    )
    model = bitconv.load(tmp_path / "tiny.h5")
    assert model.graph.metadata.name == "tiny"
    image = IMAGES[1]
    wider = np.pad(image, ((0, 0), (4, 4), (0, 0)))  # of the input's height, so it is only cropped
    scores = in_pytorch(network, NORMALIZATION.reference(image[None]))
    assert model.run(wider).label == labels[scores.argmax()]
    np.testing.assert_array_equal(model.run(wider).scores, model.predict(image[None])[0])


# --- Refusals; nothing is written --------------------------------------------------------------


def test_labels_that_contradict_the_metadata_are_refused(network, tmp_path):
    metadata = Metadata(labels=("a", "b", "c", "d"))
    with pytest.raises(InputError, match=r"labels are \['a', 'b', 'c', 'e'\], but those of the"):
        export(
            network,
            tmp_path / "it.h5",
            IMAGES,
            labels="abce",
            normalization=NORMALIZATION,
            metadata=metadata,
        )
    assert not list(tmp_path.iterdir())


def test_labels_that_are_no_list_are_refused(network, tmp_path):
    with pytest.raises(InputError, match="labels takes the names of the classes, found None"):
        export(network, tmp_path / "net.h5", IMAGES, labels=None, normalization=NORMALIZATION)


def test_labels_of_another_number_than_the_classes_are_refused(network, tmp_path):
    with pytest.raises(GraphError, match="3 labels do not fit the output 'classifier'"):
        export(network, tmp_path / "it.h5", IMAGES, labels="abc", normalization=NORMALIZATION)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("images", "normalization", "message"),
    [
        (IMAGES, None, "without normalization are a float32 array .* found uint8 of shape"),
        (floats(2, 13, 11, 3), NORMALIZATION, "with normalization are a uint8 array"),
        (IMAGES[0], NORMALIZATION, r"\(N, height, width, channels\), found uint8 of shape \(13,"),
        (IMAGES[:0], NORMALIZATION, r"found uint8 of shape \(0, 13, 11, 3\)"),
        (torch.from_numpy(IMAGES), NORMALIZATION, "found Tensor"),
        (np.full((2, 13, 11, 3), np.nan, np.float32), None, "found NaN or infinity in it"),
        (np.full((2, 13, 11, 3), -np.inf, np.float32), None, "found NaN or infinity in it"),
    ],
)
def test_what_are_no_images_is_refused(network, tmp_path, images, normalization, message):
    with pytest.raises(InputError, match=message):
        export(network, tmp_path / "it.h5", images, normalization=normalization)


def test_a_module_that_pytorch_cannot_run_is_refused(tmp_path):
    module = nn.Sequential(nn.Conv2d(3, 3, 1), nn.PReLU(3))
    module[0].register_forward_hook(lambda _module, _inputs, result: result[:, :2])
    with pytest.raises(InputError, match="PyTorch cannot run the module on these images"):
        export(module, tmp_path / "it.h5", floats(2, 5, 5, 3))
