"""Networks of Keras 2, Keras 3 and Larq in HDF5 files become graphs."""

from bitconv.convert.keras.walk import Conversion, convert, from_keras

__all__ = ["Conversion", "convert", "from_keras"]
