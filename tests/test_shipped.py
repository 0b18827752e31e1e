"""What travels inside the package is found by name."""

from pathlib import Path

import pytest
from PIL import Image

from bitconv.errors import InputError
from bitconv.shipped import SAMPLE_PICTURE, model_path


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """The folder of the models of a package that ships two."""
    folder = tmp_path / "weights"
    folder.mkdir()
    for name in ("small", "cifar10-resnet"):
        (folder / f"{name}.h5").touch()
    monkeypatch.setattr("bitconv.shipped.PACKAGE", tmp_path)
    return folder


def test_the_sample_picture_is_there_and_says_where_it_comes_from():
    with Image.open(SAMPLE_PICTURE) as picture:
        assert picture.size == (300, 300)
    assert SAMPLE_PICTURE.stat().st_size < 250_000
    assert "CC0" in (SAMPLE_PICTURE.parent / "README.md").read_text()


def test_a_name_stands_for_a_shipped_file(weights):
    assert model_path("small") == weights / "small.h5"


def test_without_a_name_there_is_a_default(weights):
    assert model_path() == weights / "cifar10-resnet.h5"


def test_a_path_stands_for_itself(weights):
    assert model_path(weights / "small.h5") == weights / "small.h5"


@pytest.mark.usefixtures("weights")
def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"large: .*shipped are: cifar10-resnet, small"):
        model_path("large")


def test_a_number_is_no_name():
    with pytest.raises(InputError, match="a text or a path, found int"):
        model_path(123)


def test_a_shipped_name_wins_over_a_file_of_that_name(weights, monkeypatch):
    elsewhere = weights / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "small").touch()
    monkeypatch.chdir(elsewhere)
    assert model_path("small") == weights / "small.h5"
    assert model_path("./small") == model_path(Path("small")) == Path("small")


def test_in_a_checkout_the_models_lie_beside_the_package(weights, monkeypatch):
    package = weights.parent / "bitconv"
    package.mkdir()
    monkeypatch.setattr("bitconv.shipped.PACKAGE", package)
    assert model_path("small") == weights / "small.h5"


def test_the_default_model_is_shipped():
    assert model_path().stat().st_size < 600 * 1024
