"""Networks of Keras 2, Keras 3 and Larq, in `.h5` and `.keras` files, become graphs."""

from bitconv.convert.keras.walk import Conversion, convert

__all__ = ["Conversion", "convert"]
