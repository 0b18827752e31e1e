"""What the reader refuses: files that are whole, but hold what the format does not allow."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from bitconv.errors import FileError
from bitconv.file import read

BINARY = "nodes/00006"  # the node 'binary' of the network with every operator
Edit = Callable[[h5py.File], None]


def refusal(path: Path) -> str:
    with pytest.raises(FileError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    return message


def put(path: str, name: str, value: object) -> Edit:
    return lambda file: file[path].attrs.__setitem__(name, value)


def replaced(path: str, data: np.ndarray, **options: object) -> Edit:
    """A dataset with other content and the attributes that it had."""

    def edit(file: h5py.File) -> None:
        attributes = dict(file[path].attrs)
        del file[path]
        file.create_dataset(path, data=data, **options).attrs.update(attributes)

    return edit


def without(path: str) -> Edit:
    return lambda file: file.__delitem__(path)


def without_attribute(path: str, name: str) -> Edit:
    return lambda file: file[path].attrs.__delitem__(name)


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (without(f"{BINARY}/weight"), "weight is missing"),
        (lambda file: file.copy(f"{BINARY}/bias", f"{BINARY}/extra"), "['extra']"),
        (replaced(f"{BINARY}/bias", np.zeros(7, "f4")), "bias has shape (7,), expected (6,)"),
        (replaced(f"{BINARY}/scale", np.zeros((6, 2), "f4")), "need the grid (3, 2)"),
        (replaced(f"{BINARY}/scale", np.full((3, 2), np.inf, "f4")), "scale must be finite"),
        (replaced(f"{BINARY}/scale", np.full((3, 2), np.nan, "f4")), "scale must be finite"),
        (replaced(f"{BINARY}/weight", np.zeros(17, "u1")), "takes 18 bytes"),
        (replaced(f"{BINARY}/weight", np.zeros(18, "f4")), "a row of uint8"),
        (replaced(f"{BINARY}/bias", np.zeros(6, "u1")), "holds float32, found uint8"),
        (put(f"{BINARY}/weight", "shape", np.array([6, 3, 2, 5])), "takes 23 bytes"),
        (put(f"{BINARY}/weight", "shape", np.array([2**31] * 4)), "shape takes"),
        (put(f"{BINARY}/weight", "shape", np.array([-6, -3, 2, 4])), "does not exist"),
        (put(f"{BINARY}/weight", "planes", np.int64(2)), "takes 36 bytes"),
        (put(f"{BINARY}/weight", "planes", np.int64(2**62)), "planes takes"),
        (put(f"{BINARY}/weight", "encoding", np.bytes_("zip")), "unknown encoding 'zip'"),
        (put(f"{BINARY}/bias", "planes", np.int64(1)), "takes the attributes []"),
        (without_attribute(f"{BINARY}/weight", "planes"), "takes the attributes"),
        (without_attribute(f"{BINARY}/weight", "encoding"), "unknown encoding None"),
        (put(BINARY, "operator", np.bytes_("binary_conv9d")), "upgrade"),
        (without_attribute(BINARY, "operator"), "no attribute 'operator'"),
        (put(BINARY, "inputs", np.int64(3)), "'inputs' takes a text, found 3"),
        (put(BINARY, "colour", np.int64(1)), "['colour']"),
        (put(BINARY, "stride", np.array([0, 1])), "stride takes 2 integers from 1"),
        (put(BINARY, "stride", np.arange(1, 4)), "stride"),
        (put(BINARY, "stride", np.bytes_("2")), "stride takes"),
        (put(BINARY, "groups", np.int64(5)), "5 groups"),
        (put(BINARY, "groups", np.float64(2)), "groups takes an integer"),
        (put(BINARY, "pad_value", np.int64(3)), "pad_value takes 0, 1 or -1"),
        (put(BINARY, "activation_scale", np.float64(np.nan)), "activation_scale"),
        (put(BINARY, "activation_scale", np.float64(1e300)), "activation_scale"),
        (put(BINARY, "filters_per_scale", np.int64(0)), "filters_per_scale"),
        (put(BINARY, "channels_per_scale", np.int64(2**62)), "channels_per_scale"),
        (without(f"{BINARY}/scale"), "filters_per_scale"),
        (without_attribute(BINARY, "filters_per_scale"), "filters_per_scale"),
        (put(BINARY, "inputs", np.bytes_("binary\nK\n")), "neither a graph input nor a node"),
        (put(BINARY, "inputs", np.bytes_("prelu\nK\n")), "neither a graph input nor a node"),
        (put(BINARY, "inputs", np.bytes_("sign\nK")), "must end with a line break"),
        (put(BINARY, "inputs", np.bytes_("sign\nK\nK\n")), "takes 1 to 2 input(s), found 3"),
        (lambda file: file.create_group(f"{BINARY}/more"), "more"),
    ],
)
def test_a_node_that_does_not_fit_is_refused_by_its_name(edited, edit: Edit, expected: str):
    with edited.file() as file:
        edit(file)
    message = refusal(edited.path)
    assert "node 'binary'" in message
    assert expected in message


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda file: file[BINARY].__setitem__("more", h5py.SoftLink("/nodes")), "soft or ext"),
        (
            lambda file: file[BINARY].__setitem__("more", h5py.ExternalLink("other.h5", "/x")),
            "soft or external",
        ),
        (
            lambda file: file[BINARY].__setitem__("more", file[f"{BINARY}/bias"]),
            "second link",
        ),
        (lambda file: file[BINARY].__setitem__("more", file["nodes"]), "second link"),
        (lambda file: file[BINARY].__setitem__("more", file["/"]), "second link"),
        (lambda file: file[BINARY].__setitem__("more", np.dtype("f4")), "no dataset"),
        (replaced(f"{BINARY}/bias", np.zeros(6, "f4"), chunks=(3,)), "chunked"),
        (
            replaced(f"{BINARY}/bias", np.zeros(6, "f4"), chunks=(6,), compression="gzip"),
            "chunked",
        ),
        (
            lambda file: file.create_dataset(f"{BINARY}/huge", (2**40,), "f4"),
            "claims the shape (1099511627776,)",
        ),
        (
            lambda file: file.create_dataset(f"{BINARY}/huge", (2**20,) * 3, "f4", chunks=True),
            "chunked",
        ),
        (lambda file: file.create_dataset(f"{BINARY}/none", (0, 3), "f4"), "is empty"),
        (
            lambda file: file.create_dataset(f"{BINARY}/null", data=h5py.Empty("f4")),
            "is empty",
        ),
        (
            lambda file: file.create_dataset(
                f"{BINARY}/outside", (4,), "f4", external=[("/etc/hostname", 0, 16)]
            ),
            "outside the file",
        ),
        (
            lambda file: file.create_dataset(f"{BINARY}/text", data="variable"),
            "variable text",
        ),
        (
            lambda file: file.create_dataset(f"{BINARY}/object", (2,), h5py.ref_dtype),
            "reference",
        ),
        (
            lambda file: file.create_dataset(
                f"{BINARY}/rows", data=np.zeros(3, [("a", "f4"), ("b", "i8")])
            ),
            "not one of the format's",
        ),
        (
            lambda file: file.create_dataset(f"{BINARY}/big", data=np.zeros(6, ">f4")),
            "not one of the format's",
        ),
        (
            lambda file: file.create_dataset(
                f"{BINARY}/ragged", (2,), h5py.vlen_dtype(np.dtype("f4"))
            ),
            "variable length",
        ),
        (replaced(f"{BINARY}/bias", np.zeros(6, "f8")), "expected float32 or uint8"),
        (put(BINARY, "stride", "variable text"), "variable text"),
        (put(BINARY, "stride", h5py.Empty("i8")), "is empty"),
        (put(BINARY, "stride", np.ones(8001, "i8")), "exceeds 64000 bytes"),
        (put(BINARY, "stride", np.ones((2, 1), "i8")), "no attribute's type"),
        (put(BINARY, "stride", np.ones(2, "i4")), "not one of the format's"),
        (put(BINARY, "groups", np.uint8(2)), "no attribute's type"),
        (put(BINARY, "groups", True), "not one of the format's"),
        (put(BINARY, "operator", np.array([b"a", b"b"])), "takes one text"),
        (put(BINARY, "operator", np.bytes_(b"\xff\xfe")), "not UTF-8"),
        (put(BINARY, "operator", np.bytes_(b"add\0more")), "a zero within"),
        (put(BINARY, "Stride", np.int64(1)), "not a name of the format"),
        (lambda file: file.create_group(f"{BINARY}/é"), "not a name of the format"),
    ],
)
def test_an_object_that_the_format_does_not_have_is_refused_by_its_nodes_name(
    edited, edit: Edit, expected: str
):
    with edited.file(sign=False) as file:
        edit(file)
    message = refusal(edited.path)
    assert "/nodes/00006 'binary'" in message
    assert expected in message


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (put("/", "format", np.bytes_("onnx")), "has the format 'onnx', expected 'bitconv'"),
        (without_attribute("/", "format"), "not a bitconv file"),
        (put("/", "version", np.int64(0)), "format version 0"),
        (put("/", "version", np.int64(3)), "pip install --upgrade bitconv"),
        (put("/", "version", np.float64(1)), "format version 1.0"),
        (put("/", "outputs", np.bytes_("nowhere\n")), "output 'nowhere'"),
        (put("/", "outputs", np.bytes_("softmax\nsoftmax\n")), "twice"),
        (put("/", "author", np.bytes_("me")), "['author']"),
        (without_attribute("/", "outputs"), "no attribute 'outputs'"),
        (without("metadata"), "found ['inputs', 'nodes']"),
        (lambda file: file.create_group("more"), "'more'"),
        (lambda file: file.move("nodes/00003", "nodes/00099"), "['00099']"),
        (put("nodes/00025", "name", np.bytes_("sum")), "already taken"),
        (put("nodes/00003", "name", np.bytes_("")), "the name is empty"),
        (without_attribute("nodes/00003", "name"), "/nodes/00003 has no attribute 'name'"),
        (put("nodes", "count", np.int64(26)), "['count']"),
        (without("inputs/00000"), "at least one input"),
        (lambda file: file.copy("inputs/00000", "inputs/00001"), "two inputs have one name"),
        (put("inputs/00000", "kind", np.bytes_("int4")), "input 'picture': unknown kind"),
        (put("inputs/00000", "shape", np.array([2**30, 2**30, 3])), "input 'picture': shape"),
        (put("inputs/00000", "shape", np.array([8, 6, 4])), "node 'normalize'"),
        (put("inputs/00000", "planes", np.int64(0)), "input 'picture'"),
        (put("metadata", "crop", np.array([0, 3])), "crop (0, 3)"),
        (put("metadata", "resize", np.array([2**40])), "resize"),
        (put("metadata", "interpolation", np.bytes_("magic")), "unknown interpolation"),
        (put("metadata", "licence", np.int64(1)), "'licence' takes a text, found 1"),
        (put("metadata", "colour", np.int64(1)), "['colour']"),
        (put("metadata/labels", "encoding", np.bytes_("raw")), "labels are one text"),
        (replaced("metadata/labels", np.zeros(5, "u1")), "labels are one text"),
        (replaced("metadata/labels", np.bytes_("a\nb\n")), "2 labels do not fit"),
    ],
)
def test_a_file_that_does_not_fit_together_is_refused(edited, edit: Edit, expected: str):
    with edited.file() as file:
        edit(file)
    assert expected in refusal(edited.path)


def test_a_newer_version_is_named_before_anything_of_it_is_read(edited):
    with edited.file(sign=False) as file:
        file.attrs["version"] = np.int64(7)
        file["nodes/00000"].create_dataset("new", (5,), h5py.ref_dtype)
        del file["metadata"]
    assert "has the format version 7" in refusal(edited.path)


def test_content_that_does_not_fit_the_digest_is_refused(edited):
    with edited.file(sign=False) as file:
        file[f"{BINARY}/bias"][0] += 1
    assert "is damaged: its content has the SHA-256" in refusal(edited.path)


def test_a_file_without_digest_is_refused(edited):
    with edited.file(sign=False) as file:
        del file.attrs["sha256"]
    assert "no attribute 'sha256'" in refusal(edited.path)


def test_a_file_before_hdf5_kept_check_sums_is_refused(tmp_path: Path):
    with h5py.File(tmp_path / "old.h5", "w", libver="earliest") as file:
        file.attrs["format"] = np.bytes_("bitconv")
    assert "libver" in refusal(tmp_path / "old.h5")


@pytest.mark.parametrize("content", [b"", b"\x89HDF", b"\x89HDF\r\n\x1a\n", b"layers: 3\n" * 99])
def test_a_file_that_is_not_hdf5_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "model.h5").write_bytes(content)
    refusal(tmp_path / "model.h5")


def test_another_hdf5_file_is_refused(tmp_path: Path):
    with h5py.File(tmp_path / "keras.h5", "w", libver="latest") as file:
        file.attrs["keras_version"] = "2.0"
    assert "is not a bitconv file" in refusal(tmp_path / "keras.h5")


def test_a_missing_path_is_refused(tmp_path: Path):
    assert "No such file" in refusal(tmp_path / "missing.h5")


def test_a_folder_is_refused(tmp_path: Path):
    assert "folder" in refusal(tmp_path)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.h5")
    assert "device" in refusal(tmp_path / "pipe.h5")


def test_a_path_that_cannot_be_is_refused():
    with pytest.raises(FileError):
        read("model\0.h5")
