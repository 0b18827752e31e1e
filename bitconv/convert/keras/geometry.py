"""The padding of TensorFlow as numbers."""

from __future__ import annotations

from bitconv.convert.keras.fields import Fields, Pair, shown
from bitconv.errors import UnsupportedError

Sides = tuple[int, int, int, int]  # (top, left, bottom, right)


def expect_channels_last(config: Fields) -> None:
    """Raise `UnsupportedError` where the channels come first; null stands for the default."""
    order = config.get("data_format") or "channels_last"
    if order != "channels_last":
        raise UnsupportedError(f"data_format {shown(order)}, expected 'channels_last'")


def padding_of(config: Fields, size: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> Sides:
    """The padding of a window on a map of `size`.

    ``"valid"`` is none. With ``"same"`` the result has ``ceil(size / stride)`` pixels a side, and
    what that takes is added half before and half after, the odd one after; at stride 2 this
    depends on the size of the map.
    """
    mode = config.text("padding", "valid").lower()
    if mode == "valid":
        return (0, 0, 0, 0)
    if mode != "same":
        raise UnsupportedError(f"padding {mode!r}, expected 'same' or 'valid'")
    (top, bottom), (left, right) = (
        _same(*axis) for axis in zip(size, kernel, stride, dilation, strict=True)
    )
    return top, left, bottom, right


def _same(length: int, kernel: int, stride: int, dilation: int) -> Pair:
    steps = -(-length // stride)
    extent = (kernel - 1) * dilation + 1
    total = max((steps - 1) * stride + extent - length, 0)
    return total // 2, total - total // 2
