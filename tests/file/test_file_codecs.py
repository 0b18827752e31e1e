"""Codecs of feature maps in a file."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from small_networks import float_resnet, pictures, with_codecs

from bitconv import Model, load
from bitconv.errors import FileError
from bitconv.feature_maps import CODECS
from bitconv.feature_maps.compression import compress
from bitconv.file import read, write
from bitconv.file.format import CODEC_ATTRIBUTES

PAGE = (Path(__file__).parents[2] / "docs" / "format.md").read_text(encoding="utf-8")
Edit = Callable[[h5py.File], None]


@pytest.fixture
def coded(edited: Any) -> Any:
    """A file with codecs to spoil."""
    write(with_codecs(float_resnet()), edited.path)
    return edited


@pytest.mark.parametrize("codec", CODECS)
def test_the_page_lists_the_parameters_and_arrays_of_a_codec(codec: str):
    ((parameters, arrays),) = re.findall(
        rf"^\| `{codec}` \| (.*?) ?\| (.*?) ?\|$", PAGE, re.MULTILINE
    )
    given = with_codecs(float_resnet(), codec).codecs["map0"].codec.parameters()
    for cell, kept in ((parameters, False), (arrays, True)):
        names = {name for name, value in given.items() if isinstance(value, np.ndarray) == kept}
        assert set(re.findall(r"`(\w+)`", cell)) == names


@pytest.mark.parametrize("codec", CODECS)
def test_no_codec_has_a_parameter_with_the_name_of_a_codecs_own_attribute(codec: str):
    parameters = with_codecs(float_resnet(), codec).codecs["map0"].codec.parameters()
    assert not parameters.keys() & set(CODEC_ATTRIBUTES)


@pytest.mark.parametrize("codec", CODECS)
def test_codecs_are_read_as_they_were_written(codec: str, tmp_path: Path):
    graph = with_codecs(float_resnet(), codec)
    write(graph, tmp_path / "graph.h5")
    found = read(tmp_path / "graph.h5").codecs
    assert list(found) == list(graph.codecs)
    for name, each in found.items():
        assert each.largest == graph.codecs[name].largest
        assert each.codec.name == codec
        assert each.codec.fingerprint == graph.codecs[name].codec.fingerprint


@pytest.mark.parametrize("codec", CODECS)
def test_a_file_gives_the_network_with_its_maps_encoded(codec: str, tmp_path: Path):
    graph = with_codecs(float_resnet(), codec)
    images = pictures(graph, 2)
    write(graph, tmp_path / "graph.h5")
    for which in (False, True, "all"):
        expected = Model(graph, feature_maps=which).predict(images)
        found = load(tmp_path / "graph.h5", feature_maps=which).predict(images)
        np.testing.assert_array_equal(found, expected)


def test_the_same_codecs_give_the_same_bytes(tmp_path: Path):
    for name in ("one", "other"):
        write(with_codecs(float_resnet(), "transform-coding"), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_only_files_with_codecs_are_of_version_2(tmp_path: Path):
    for version, graph in ((1, float_resnet()), (2, with_codecs(float_resnet()))):
        write(graph, tmp_path / "graph.h5")
        with h5py.File(tmp_path / "graph.h5") as file:
            assert file.attrs["version"] == version
            assert ("codecs" in file) == (version == 2)


def test_a_network_with_encoded_maps_in_it_is_not_written(tmp_path: Path):
    with pytest.raises(FileError, match="encode_map"):
        write(compress(with_codecs(float_resnet())), tmp_path / "graph.h5")


def put(name: str, value: object, place: str = "codecs/00000") -> Edit:
    return lambda file: file[place].attrs.__setitem__(name, value)


def remove(name: str) -> Edit:
    return lambda file: file["codecs/00000"].attrs.__delitem__(name)


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda file: file.__delitem__("codecs"), "takes ['codecs', 'inputs'"),
        (put("version", np.int64(1), "/"), "found ['codecs', 'inputs'"),
        (put("version", np.int64(3), "/"), "versions up to 2"),
        (put("node", np.bytes_("nowhere")), "'nowhere', which is no node"),
        (put("node", np.bytes_("image")), "'image', which is no node"),
        (put("node", np.bytes_("mean")), "codecs are for float32 maps, found 8 float32"),
        (put("node", np.bytes_("inner0")), "two codecs for one node"),
        (put("node", np.int64(3)), "'node' takes a text"),
        (put("codec", np.bytes_("gzip")), "codec 'gzip' is unknown"),
        (put("codec", np.bytes_("dct-cm")), "the codec of 'map0'"),
        (put("largest", np.int64(0)), "0 bytes, expected 1 or more"),
        (put("largest", np.int64(2**40)), "integer within"),
        (put("largest", np.float64(2)), "'largest' takes an integer"),
        (put("step", np.float64(-1)), "the codec of 'map0'"),
        (put("step", np.bytes_("wide")), "the codec of 'map0'"),
        (put("colour", np.int64(1)), "the codec of 'map0'"),
        (remove("node"), "no attribute 'node'"),
        (remove("largest"), "no attribute 'largest'"),
        (remove("step"), "the codec of 'map0'"),
        (lambda file: file["codecs/00000"].create_group("more"), "more"),
        (lambda file: file["codecs"].create_group("00007"), "['00007']"),
        (
            lambda file: (
                file["codecs/00000"]
                .create_dataset("step", data=np.ones(1, "f4"))
                .attrs.__setitem__("encoding", np.bytes_("raw"))
            ),
            "['step'] twice",
        ),
    ],
)
def test_a_forged_codec_is_refused(coded: Any, edit: Edit, expected: str):
    with coded.file() as file:
        edit(file)
    with pytest.raises(FileError) as caught:
        read(coded.path)
    assert expected in str(caught.value)


def test_a_codec_of_other_channels_is_refused(edited: Any, tmp_path: Path):
    write(with_codecs(float_resnet(channels=8), "transform-coding"), edited.path)
    write(with_codecs(float_resnet(channels=6), "transform-coding"), tmp_path / "six.h5")
    with h5py.File(tmp_path / "six.h5") as other, edited.file() as file:
        del file["codecs/00000"]
        other.copy("codecs/00000", file["codecs"])
    with pytest.raises(FileError, match="codec of 'map0'"):
        read(edited.path)


def test_a_damaged_codec_is_found_by_the_digest(coded: Any):
    with coded.file(sign=False) as file:
        file["codecs/00000"].attrs["largest"] = np.int64(12)
    with pytest.raises(FileError, match="is damaged"):
        read(coded.path)
