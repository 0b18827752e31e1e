"""The codec of one value of a network, as a graph keeps it."""

from __future__ import annotations

from dataclasses import dataclass

from bitconv.errors import GraphError
from bitconv.feature_maps.codec import Codec
from bitconv.graph import TensorType
from bitconv.parameters import plain_integer

# Reserved for a map is this times the largest one seen and so many bytes; one that takes more is
# still right.
MARGIN, SPARE_BYTES = 1.25, 64


@dataclass(frozen=True)
class MapCodec:
    """How the maps of one node may be kept, and how large they were in calibration.

    Attributes
    ----------
    codec : Codec
    largest : int
        Bytes of the largest encoded map of the images that the codec was calibrated on.
    """

    codec: Codec
    largest: int

    def __post_init__(self) -> None:
        if not isinstance(self.codec, Codec):
            raise GraphError(f"a codec is expected, found {self.codec!r}")
        largest = plain_integer(self.largest, "the largest encoded map, in bytes,")
        if largest < 1:
            raise GraphError(f"the largest encoded map has {largest} bytes, expected 1 or more")
        object.__setattr__(self, "largest", largest)

    def check(self, value: TensorType) -> None:
        """Raise `GraphError` unless the codec can keep values of that type."""
        if value.kind != "float32" or len(value.shape) != 3:
            raise GraphError(f"codecs are for float32 maps, found {value}")
        self.codec.check(_shape(value))

    def reserve(self, value: TensorType) -> int:
        """Bytes to reserve for one encoded map: a margin above what calibration saw."""
        return min(int(self.largest * MARGIN) + SPARE_BYTES, self.codec.bound(_shape(value)))


def _shape(value: TensorType) -> tuple[int, int, int]:
    height, width, channels = value.shape
    return height, width, channels
