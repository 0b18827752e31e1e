"""Feature maps kept in fewer bytes: quantized to 8 bits, and compressed beyond that.

`CODECS` are the codecs by name; each is a `Codec`, calibrated on maps of a layer.
"""

from __future__ import annotations

from bitconv.feature_maps.codec import Codec
from bitconv.feature_maps.dct_cm import DctCm
from bitconv.feature_maps.eight_bit import EightBit
from bitconv.feature_maps.transform_coding import TransformCoding
from bitconv.feature_maps.zero_mask import ZeroMask

CODECS: dict[str, type[Codec]] = {
    codec.name: codec for codec in (EightBit, ZeroMask, DctCm, TransformCoding)
}
