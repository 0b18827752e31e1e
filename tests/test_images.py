"""Pictures of every kind become the input of a network."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bitconv.errors import GraphError, InputError, MissingPackageError
from bitconv.graph import Preparation
from bitconv.images import prepare

AS_IT_IS = Preparation()
RED, WHITE = (255, 0, 0), (255, 255, 255)


@pytest.fixture
def photo() -> np.ndarray:
    """A smooth colour picture of 40 × 30 pixels with noise on it."""
    rows, columns = np.mgrid[0:30, 0:40]
    smooth = np.stack([rows * 8, columns * 6, (rows + columns) * 3], axis=-1)
    noise = np.random.default_rng(1).integers(0, 15, smooth.shape)
    return (smooth + noise).clip(0, 255).astype(np.uint8)


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


def test_an_array_of_the_input_size_passes_unchanged(photo):
    assert np.array_equal(prepare(photo, (30, 40, 3), AS_IT_IS), photo)


def test_the_result_does_not_share_memory_with_the_array(photo):
    assert not np.shares_memory(prepare(photo, (30, 40, 3), AS_IT_IS), photo)


def test_a_read_only_strided_array_is_taken(photo):
    view = photo[::-1, ::2]
    view.flags.writeable = False
    prepared = prepare(view, (30, 20, 3), AS_IT_IS)
    assert np.array_equal(prepared, view)
    assert prepared.flags.c_contiguous
    assert prepared.flags.writeable


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(8, 11), (30, 40), (50, 33)])
def test_path_pillow_image_and_array_give_the_same_input(photo, tmp_path, shape, channels):
    image = Image.fromarray(photo)
    path = saved(image, tmp_path / "photo.png")
    expected = prepare(photo, (*shape, channels), AS_IT_IS)
    assert expected.shape == (*shape, channels)
    for given in (path, str(path), image):
        assert np.array_equal(prepare(given, (*shape, channels), AS_IT_IS), expected)


def test_resizing_is_that_of_pillow(photo):
    expected = Image.fromarray(photo).resize((11, 8), Image.Resampling.BICUBIC)
    prepared = prepare(photo, (8, 11, 3), Preparation(interpolation="bicubic"))
    assert np.array_equal(prepared, np.asarray(expected))


def test_shrinking_is_antialiased():
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    prepared = prepare(board, (8, 8, 3), AS_IT_IS)
    assert np.abs(prepared.astype(int) - 127).max() < 8


def test_the_shorter_side_is_resized_and_the_centre_cropped(photo):
    preparation = Preparation(resize=(15,), crop=(12, 12))
    half = np.asarray(Image.fromarray(photo).resize((20, 15), Image.Resampling.BILINEAR))
    assert np.array_equal(prepare(photo, (12, 12, 3), preparation), half[2:14, 4:16])


def test_without_a_crop_the_centre_of_the_inputs_size_is_taken(photo):
    explicit = prepare(photo, (15, 15, 3), Preparation(resize=(15,), crop=(15, 15)))
    assert np.array_equal(prepare(photo, (15, 15, 3), Preparation(resize=(15,))), explicit)


def test_an_upright_picture_of_the_resized_size_is_not_touched(photo):
    assert np.array_equal(prepare(photo, (30, 40, 3), Preparation(resize=(30,))), photo)


def test_the_longer_side_is_rounded_down_as_torchvision_does():
    picture = np.random.default_rng(2).integers(0, 255, (300, 457, 3), np.uint8)
    resized = Image.fromarray(picture).resize((48, 32), Image.Resampling.BILINEAR)  # not 48.7
    prepared = prepare(picture, (32, 32, 3), Preparation(resize=(32,), crop=(32, 32)))
    assert np.array_equal(prepared, np.asarray(resized)[:, 8:40])


def test_a_preparation_that_misses_the_input_is_refused(photo):
    with pytest.raises(GraphError, match=r"16 × 16 .* network takes 12 × 12"):
        prepare(photo, (12, 12, 3), Preparation(resize=(20,), crop=(16, 16)))


def test_a_preparation_smaller_than_the_input_is_refused(photo):
    with pytest.raises(GraphError, match="10 × 10"):
        prepare(photo, (12, 12, 3), Preparation(resize=(10, 10)))


def test_a_long_thin_picture_is_refused_before_it_is_enlarged():
    with pytest.raises(InputError, match="too long and thin"):
        prepare(np.zeros((1, 60000), np.uint8), (224, 224, 3), Preparation(resize=(256,)))


@pytest.mark.parametrize("name", ["photo.png", "photo.tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_upright(photo, tmp_path, orientation, name):
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(undo[orientation](photo)))
    path = saved(stored, tmp_path / name, exif=exif)
    assert np.array_equal(prepare(path, (30, 40, 3), AS_IT_IS), photo)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("block", [b"Exif\0\0II*\0garbage", b"Exif\0\0MM", b"garbage", b"x"])
def test_a_broken_exif_block_does_not_hide_the_picture(photo, tmp_path, block):
    path = saved(Image.fromarray(photo), tmp_path / "photo.png", exif=block)
    assert np.array_equal(prepare(path, (30, 40, 3), AS_IT_IS), photo)


def test_transparent_pixels_are_white_and_half_transparent_ones_mixed():
    pixels = np.array([[[255, 0, 0, 255], [255, 0, 0, 0], [255, 0, 0, 128]]], np.uint8)
    expected = [[RED, WHITE, (255, 127, 127)]]
    for given in (pixels, Image.fromarray(pixels)):
        assert np.array_equal(prepare(given, (1, 3, 3), AS_IT_IS), expected)


def test_the_hidden_colour_of_transparent_pixels_does_not_bleed():
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[:, 8:] = (255, 255, 255, 255)
    assert prepare(pixels, (4, 4, 3), AS_IT_IS).min() == 255


def test_transparency_of_grey_pictures_counts(tmp_path):
    grey = Image.merge("LA", [Image.new("L", (2, 2), 0), Image.new("L", (2, 2), 0)])
    path = saved(grey, tmp_path / "grey.png")
    assert prepare(path, (2, 2, 1), AS_IT_IS).min() == 255


@pytest.mark.parametrize("name", ["palette.gif", "palette.png"])
def test_palette_pictures_show_their_colours(tmp_path, name):
    palette = Image.new("RGB", (4, 4), RED).convert("P", palette=Image.Palette.ADAPTIVE)
    path = saved(palette, tmp_path / name)
    assert np.array_equal(prepare(path, (4, 4, 3), AS_IT_IS), np.full((4, 4, 3), RED))


def test_transparent_entries_of_a_palette_are_white(tmp_path):
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, *RED])
    palette.putpixel((0, 0), 0)
    path = saved(palette, tmp_path / "palette.png", transparency=0)
    prepared = prepare(path, (4, 4, 3), AS_IT_IS)
    assert tuple(prepared[0, 0]) == WHITE
    assert tuple(prepared[1, 1]) == RED


def test_a_transparent_colour_key_is_white(tmp_path):
    path = saved(Image.new("RGB", (2, 2), RED), tmp_path / "key.png", transparency=RED)
    assert prepare(path, (2, 2, 3), AS_IT_IS).min() == 255


@pytest.mark.parametrize("name", ["grey.png", "grey.tif", "grey.pgm"])
def test_16_bits_become_8(tmp_path, name):
    values = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    path = saved(Image.fromarray(values), tmp_path / name)
    assert prepare(path, (1, 4, 1), AS_IT_IS).ravel().tolist() == [0, 1, 128, 255]


def test_black_and_white_pictures_are_grey(tmp_path):
    path = saved(Image.new("1", (2, 2), 1), tmp_path / "one.png")
    assert np.array_equal(prepare(path, (2, 2, 3), AS_IT_IS), np.full((2, 2, 3), 255))


def test_a_cmyk_photo_keeps_its_colours(tmp_path):
    path = saved(Image.new("RGB", (8, 8), RED).convert("CMYK"), tmp_path / "print.jpg")
    assert np.abs(prepare(path, (8, 8, 3), AS_IT_IS) - np.array(RED)).max() < 8


def test_the_first_frame_of_an_animation_counts(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, (0, 0, 255))]
    path = saved(frames[0], tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert np.array_equal(prepare(path, (4, 4, 3), AS_IT_IS), np.full((4, 4, 3), RED))


def test_grey_becomes_three_equal_channels(photo):
    grey = photo[:, :, 0]
    for given in (grey, grey[:, :, None], Image.fromarray(grey)):
        prepared = prepare(given, (30, 40, 3), AS_IT_IS)
        assert np.array_equal(prepared, np.repeat(grey[:, :, None], 3, axis=2))


def test_colour_becomes_grey_as_pillow_makes_it(photo):
    expected = np.asarray(Image.fromarray(photo).convert("L"))
    assert np.array_equal(prepare(photo, (30, 40, 1), AS_IT_IS)[:, :, 0], expected)


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.full((4, 4, 3), np.nan, np.float32), "float32"),
        (np.zeros((4, 4, 3), np.int64), "int64"),
        (np.zeros((4, 4), bool), "bool"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"\(1, 4, 4, 3\)"),
        (np.zeros((3, 4, 4 * 4), np.uint8), r"\(3, 4, 16\)"),
        (np.zeros((4, 4, 2), np.uint8), r"\(4, 4, 2\)"),
        (np.zeros(4, np.uint8), r"\(4,\)"),
        (np.zeros((0, 4, 3), np.uint8), "empty"),
    ],
)
def test_an_array_that_is_no_picture_is_refused(array, found):
    with pytest.raises(InputError, match=found):
        prepare(array, (4, 4, 3), AS_IT_IS)


@pytest.mark.parametrize("thing", [None, 3, b"bytes", [[1, 2], [3, 4]]])
def test_other_things_are_refused(thing):
    with pytest.raises(InputError, match=type(thing).__name__):
        prepare(thing, (4, 4, 3), AS_IT_IS)


@pytest.mark.parametrize("shape", [(7,), (8, 8, 64), (8, 8), (1, 8, 8, 3)])
def test_a_network_that_takes_no_picture_is_named(shape, photo):
    with pytest.raises(InputError, match=r"Model\.predict"):
        prepare(photo, shape, AS_IT_IS)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.png: No such file"):
        prepare(tmp_path / "none.png", (4, 4, 3), AS_IT_IS)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=tmp_path.name):
        prepare(tmp_path, (4, 4, 3), AS_IT_IS)


def test_an_impossible_path_is_refused():
    with pytest.raises(InputError, match="null"):
        prepare("a\0b.png", (4, 4, 3), AS_IT_IS)


@pytest.mark.parametrize("content", [b"", b"this is a text", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_no_picture_is_refused(tmp_path, content):
    path = tmp_path / "text.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"text\.png"):
        prepare(path, (4, 4, 3), AS_IT_IS)


@pytest.mark.parametrize("name", ["photo.png", "photo.jpg", "photo.gif", "photo.tif", "photo.webp"])
def test_a_truncated_picture_is_refused(photo, tmp_path, name):
    path = saved(Image.fromarray(photo), tmp_path / name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(InputError, match=name):
        prepare(path, (4, 4, 3), AS_IT_IS)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", ["photo.png", "photo.jpg", "photo.gif", "photo.tif"])
def test_a_damaged_picture_raises_nothing_foreign(photo, tmp_path, name, seed):
    path = saved(Image.fromarray(photo), tmp_path / name)
    octets = bytearray(path.read_bytes())
    for index in np.random.default_rng(seed).integers(0, len(octets), 8):
        octets[index] ^= 0x55
    path.write_bytes(octets)
    try:
        prepared = prepare(path, (4, 4, 3), AS_IT_IS)
    except InputError as error:
        assert name in str(error)  # noqa: PT017  (a damaged pixel may also go unnoticed)
    else:
        assert prepared.shape == (4, 4, 3)


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    path = saved(Image.new("1", (100, 100)), tmp_path / "bomb.png")
    with pytest.raises(InputError, match=r"bomb\.png.*exceeds limit"):
        prepare(path, (4, 4, 3), AS_IT_IS)


def test_float_pictures_are_refused(tmp_path):
    path = saved(Image.new("F", (4, 4), 0.5), tmp_path / "float.tif")
    with pytest.raises(InputError, match=r"float\.tif: pixels are float"):
        prepare(path, (4, 4, 3), AS_IT_IS)


def test_pixels_of_more_than_16_bits_are_refused():
    with pytest.raises(InputError, match="at most 16 bits"):
        prepare(Image.new("I", (4, 4), 70000), (4, 4, 3), AS_IT_IS)


def test_a_closed_pillow_image_is_refused(photo, tmp_path):
    path = saved(Image.fromarray(photo), tmp_path / "photo.png")
    with Image.open(path) as image:
        pass
    with pytest.raises(InputError, match="the picture"):
        prepare(image, (4, 4, 3), AS_IT_IS)


def test_an_array_needs_no_pillow_unless_it_is_resized(photo, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert np.array_equal(prepare(photo, (30, 40, 3), AS_IT_IS), photo)
    with pytest.raises(MissingPackageError, match=r"pip install 'bitconv\[images\]'"):
        prepare(photo, (15, 20, 3), AS_IT_IS)
