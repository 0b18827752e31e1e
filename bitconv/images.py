"""From a picture to the input of a network."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bitconv.errors import GraphError, InputError, MissingPackageError

if TYPE_CHECKING:
    from PIL.Image import Image

    from bitconv.graph import Preparation
    from bitconv.model import ImageLike

    Pixels = NDArray[np.uint8]

MAX_RESIZED_PIXELS = 2**26  # beyond it a picture is too long and thin to be meant
LUMA = (19595, 38470, 7471)  # ITU-R 601 in 1/65536, rounded as Pillow does

EXIF_ORIENTATION = 0x0112
EXIF_TURNS = {  # names in `PIL.Image.Transpose`
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


def prepare(
    image: ImageLike, input_shape: tuple[int, ...], preparation: Preparation
) -> NDArray[np.uint8]:
    """The input of a network for one picture.

    Parameters
    ----------
    image : path, Pillow image, or uint8 array
        An array is (H, W) or (H, W, 1) for grey, (H, W, 3) for RGB, (H, W, 4) for RGBA. Pictures
        are turned upright as their EXIF tag says, transparent ones lie on white, 16 bits a channel
        become 8, and of an animation the first frame counts.
    input_shape : tuple of int
        (height, width, channels) of the network's input; grey and colour become each other.
    preparation : Preparation
        Size, crop and interpolation. What is larger than the input after resizing is cropped to
        its centre.

    Returns
    -------
    uint8 array of shape `input_shape`

    Raises
    ------
    InputError
        What was given is no picture, or the network takes none.
    GraphError
        Resizing and cropping do not end in the network's input size.
    MissingPackageError
        Pillow is needed, to read a file or to resize, and is not installed.
    """
    if len(input_shape) != 3 or input_shape[2] not in (1, 3):
        raise InputError(
            f"the network takes an input of shape {input_shape}, not a picture (height, width, 1 "
            "or 3); give Model.predict an array"
        )
    height, width, channels = input_shape
    pixels = _with_channels(_pixels_of(image), channels)
    resized = _resize(pixels, (height, width), preparation)
    return np.array(_crop(resized, (height, width), preparation), order="C")


def _pixels_of(image: ImageLike) -> Pixels:
    """The picture as uint8 (H, W, 1) or (H, W, 3)."""
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if isinstance(image, (str, os.PathLike)):
        return _from_file(image)
    # A Pillow image exists only where Pillow has been imported.
    pillow = sys.modules.get("PIL.Image")
    if pillow is not None and isinstance(image, pillow.Image):
        return _from_pillow(image, "the picture")
    raise InputError(
        f"an image is a path, a Pillow image or a uint8 array, found {type(image).__name__}"
    )


def _from_array(array: NDArray[Any]) -> Pixels:
    if array.dtype != np.uint8:
        raise InputError(f"an image array holds uint8 values 0 to 255, found {array.dtype}")
    pixels = array[:, :, None] if array.ndim == 2 else array
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4):
        raise InputError(
            "an image array has the shape (height, width) or (height, width, channels) with 1, 3 "
            f"or 4 channels, found {array.shape}"
        )
    if not pixels.size:
        raise InputError(f"the image array of shape {array.shape} is empty")
    return _on_white(pixels) if pixels.shape[2] == 4 else pixels


def _from_file(path: str | os.PathLike[str]) -> Pixels:
    _require_pillow("reading a picture")
    from PIL import Image, UnidentifiedImageError

    what = os.fspath(path)
    try:
        file = open(path, "rb")  # noqa: SIM115  (the `with` below is kept out of this `try`)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{what}: {reason}") from error
    with file:
        try:
            image = Image.open(file)
        except UnidentifiedImageError as error:
            raise InputError(f"{what}: not a picture in a format that Pillow reads") from error
        except Exception as error:  # a decoder raises whatever a damaged file provokes
            raise InputError(f"{what}: cannot be read as a picture ({error})") from error
        return _from_pillow(image, what)


def _from_pillow(image: Image, what: str) -> Pixels:
    if not image.width or not image.height:
        raise InputError(f"{what}: the picture is empty ({image.width} × {image.height})")
    try:
        return _decode(image)
    except InputError as error:
        raise InputError(f"{what}: {error}") from error
    except Exception as error:  # a decoder raises whatever a damaged file provokes
        raise InputError(f"{what}: cannot be read as a picture ({error})") from error


def _decode(image: Image) -> Pixels:
    """Upright pixels on white, (H, W, 1) or (H, W, 3)."""
    image.load()
    upright = _upright(image)
    if upright.mode.startswith("I"):
        return _from_16_bits(np.asarray(upright))
    if upright.mode == "F":
        raise InputError("pixels are float, expected 8 or 16 bits a channel")
    if upright.has_transparency_data:
        return _on_white(np.asarray(upright.convert("RGBA")))
    if upright.mode in ("1", "L"):
        return np.asarray(upright.convert("L"))[:, :, None]
    return np.asarray(upright.convert("RGB"))


def _upright(image: Image) -> Image:
    """The picture turned as its EXIF tag says; a damaged EXIF block turns nothing."""
    from PIL.Image import Transpose

    try:
        turn = EXIF_TURNS.get(image.getexif().get(EXIF_ORIENTATION, 1))
    except Exception:  # parsing raises whatever the damage provokes
        turn = None
    return image if turn is None else image.transpose(Transpose[turn])


def _from_16_bits(values: NDArray[Any]) -> Pixels:
    """Grey values 0 to 65535, which Pillow may hold in 32 bits, as (H, W, 1)."""
    wide = values.astype(np.int64)
    if wide.min() < 0 or wide.max() > 0xFFFF:
        raise InputError(
            f"pixels from {wide.min()} to {wide.max()}, expected at most 16 bits a channel"
        )
    return ((wide + 128) // 257).astype(np.uint8)[:, :, None]


def _on_white(pixels: Pixels) -> Pixels:
    """RGBA laid on white."""
    colour, alpha = pixels[:, :, :3].astype(np.uint16), pixels[:, :, 3:].astype(np.uint16)
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _with_channels(pixels: Pixels, channels: int) -> Pixels:
    if pixels.shape[2] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=2)
    luma = pixels.astype(np.uint32) @ np.array(LUMA, np.uint32)
    return ((luma + 0x8000) >> 16).astype(np.uint8)[:, :, None]


def _resize(pixels: Pixels, input_size: tuple[int, int], preparation: Preparation) -> Pixels:
    height, width = _resized_size(pixels.shape[:2], input_size, preparation)
    if (height, width) == pixels.shape[:2]:
        return pixels
    if height * width > MAX_RESIZED_PIXELS:
        raise InputError(
            f"a picture of {pixels.shape[1]} × {pixels.shape[0]} would become {width} × {height}; "
            "it is too long and thin for this network"
        )
    _require_pillow("resizing a picture")
    from PIL import Image

    method = Image.Resampling[preparation.interpolation.upper()]
    grey = pixels.shape[2] == 1
    picture = Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if grey else pixels))
    return np.asarray(picture.resize((width, height), method)).reshape(height, width, -1)


def _resized_size(
    size: tuple[int, ...], input_size: tuple[int, int], preparation: Preparation
) -> tuple[int, int]:
    """(height, width) after resizing a picture of that size."""
    target = preparation.resize or input_size
    if len(target) == 2:
        return target[0], target[1]
    height, width = size
    shorter = min(height, width)
    # The longer side is rounded down, as torchvision does, which most networks are tested with.
    return target[0] * height // shorter, target[0] * width // shorter


def _crop(pixels: Pixels, input_size: tuple[int, int], preparation: Preparation) -> Pixels:
    height, width = preparation.crop or input_size
    rows, columns = pixels.shape[:2]
    if (height, width) != input_size or height > rows or width > columns:
        raise GraphError(
            f"the file's preparation makes {width} × {height} pixels of a picture resized to "
            f"{columns} × {rows}, but the network takes {input_size[1]} × {input_size[0]}"
        )
    top, left = round((rows - height) / 2), round((columns - width) / 2)
    return pixels[top : top + height, left : left + width]


def _require_pillow(purpose: str) -> None:
    try:
        import PIL  # noqa: F401  (only whether it is there)
    except ImportError as error:
        raise MissingPackageError(
            f"{purpose} needs Pillow: pip install 'bitconv[images]'"
        ) from error
