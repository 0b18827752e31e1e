"""What each function becomes that a forward method may call; parameters as of its namesake.

A rule takes the graph under construction and the names of values in place of tensors. Parameters
and buffers of the module arrive as the tensors they are, and the shape of a value as a tuple that
begins with `BATCH`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bitconv.errors import UnsupportedError
from bitconv.operators import (
    Add,
    AvgPool2d,
    BatchNorm,
    Clip,
    Concat,
    Flatten,
    GlobalAvgPool2d,
    MaxPool2d,
    Multiply,
    Normalize,
    Pad,
    PRelu,
    Relu,
    Reshape,
    Slice,
    Softmax,
    Transpose,
)
from bitconv.training.build import Build
from bitconv.training.layer_rules import array


class Length(Enum):
    """A length that differs from call to call."""

    BATCH = "the batch"


BATCH = Length.BATCH


def _shape(build: Build, x: str) -> tuple[Any, ...]:
    """The shape of a value as PyTorch counts it."""
    if not isinstance(x, str):
        raise UnsupportedError("takes a value of the image, found a number or a parameter")
    *size, channels = build.types[x].shape
    return BATCH, channels, *size


def _to_graph_order(entries: Sequence[Any]) -> list[Any]:
    """From an entry each for (channels, height, width) to (height, width, channels)."""
    return [*entries[1:], entries[0]]


# --- Element by element ----------------------------------------------------------------------


def _add(build: Build, x: Any, y: Any) -> str:
    """The sum of two values, or of one and a number, or a parameter with one a channel."""
    value, other = (x, y) if isinstance(x, str) else (y, x)
    if isinstance(other, str):
        return build.add(Add(), value, other)
    statistics = np.empty((4, _shape(build, value)[1]), np.float32)
    statistics[:] = [[1], [0], [0], [1]]  # gamma, beta, mean and variance that change nothing
    statistics[1] = _per_channel(build, value, other)
    return build.add(BatchNorm(statistics, epsilon=0.0), value)


def _subtract(build: Build, x: Any, y: Any) -> str:
    return _add(build, x, _negate(build, y) if isinstance(y, str) else -y)


def _negate(build: Build, x: str) -> str:
    return _multiply(build, x, -1.0)


def _multiply(build: Build, x: Any, y: Any) -> str:
    """A value times a number, or times a parameter that has one number a channel."""
    value, factor = (x, y) if isinstance(x, str) else (y, x)
    if isinstance(factor, str):
        raise UnsupportedError("takes a map and a number or parameter, found two maps")
    return build.add(Multiply(_per_channel(build, value, factor)), value)


def _divide(build: Build, x: Any, y: Any) -> str:
    """A value over a number, or over a parameter that has one number a channel."""
    if not isinstance(x, str) or isinstance(y, str):
        raise UnsupportedError("takes a map over a number or parameter")
    return build.add(Normalize(np.zeros(1, np.float32), _per_channel(build, x, y)), x)


def _per_channel(build: Build, value: str, numbers: Any) -> NDArray[np.float32]:
    """A number, or a parameter that has one a channel of the value, as a vector."""
    if not isinstance(numbers, Tensor):
        return np.array([numbers], np.float32)
    _, channels, *size = _shape(build, value)
    per_channel = (channels, *[1] * len(size))
    if numbers.numel() > 1 and tuple(numbers.shape) not in (per_channel, (1, *per_channel)):
        raise UnsupportedError(
            f"takes one number a channel, found a parameter of shape {tuple(numbers.shape)}"
        )
    return array(numbers.reshape(-1))


def _relu(build: Build, x: str, inplace: bool = False) -> str:  # noqa: ARG001  # of no effect
    return build.add(Relu(), x)


def _leaky_relu(
    build: Build,
    x: str,
    negative_slope: float = 0.01,
    inplace: bool = False,  # noqa: ARG001  # of no effect
) -> str:
    return build.add(PRelu(np.array([negative_slope], np.float32)), x)


def _clamp(build: Build, x: str, min: float | None = None, max: float | None = None) -> str:  # noqa: A002  # PyTorch's names
    low, high = -math.inf if min is None else min, math.inf if max is None else max
    return build.add(Clip(low, high), x)


def _hardtanh(
    build: Build,
    x: str,
    min_val: float = -1.0,
    max_val: float = 1.0,
    inplace: bool = False,  # noqa: ARG001  # of no effect
) -> str:
    return build.add(Clip(min_val, max_val), x)


def _relu6(build: Build, x: str, inplace: bool = False) -> str:  # noqa: ARG001  # of no effect
    return build.add(Clip(0.0, 6.0), x)


def _dropout(
    build: Build,  # noqa: ARG001  # nothing is built
    x: str,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,  # noqa: ARG001  # of no effect
) -> str:
    if training and p > 0:
        raise UnsupportedError("works in evaluation mode too; pass training=self.training")
    return x


def _unchanged(build: Build, x: str) -> str:  # noqa: ARG001  # nothing is built
    return x


def _softmax(
    build: Build,
    x: str,
    dim: int | None = None,
    _stacklevel: int = 3,
    dtype: torch.dtype | None = None,
) -> str:
    if dim is None or dim % len(_shape(build, x)) != 1 or dtype is not None:
        raise UnsupportedError(f"takes dim=1, the channels, found dim={dim}, dtype={dtype}")
    return build.add(Softmax(), x)


# --- Windows ---------------------------------------------------------------------------------


def _avg_pool2d(
    build: Build,
    x: str,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> str:
    if ceil_mode or divisor_override is not None:
        raise UnsupportedError("ceil_mode and divisor_override are not known")
    pool = AvgPool2d(kernel_size, stride or None, padding, count_padding=count_include_pad)
    return build.add(pool, x)


def _max_pool2d(
    build: Build,
    x: str,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> str:
    if ceil_mode or return_indices or dilation not in (1, (1, 1), [1, 1]):
        raise UnsupportedError("ceil_mode, return_indices and dilation are not known")
    return build.add(MaxPool2d(kernel_size, stride or None, padding), x)


def _adaptive_avg_pool2d(build: Build, x: str, output_size: Any) -> str:
    return build.add(AvgPool2d(_adaptive_kernel(build, x, output_size)), x)


def _adaptive_max_pool2d(
    build: Build, x: str, output_size: Any, return_indices: bool = False
) -> str:
    if return_indices:
        raise UnsupportedError("return_indices is not known")
    return build.add(MaxPool2d(_adaptive_kernel(build, x, output_size)), x)


def _adaptive_kernel(build: Build, x: str, output_size: Any) -> tuple[int, int]:
    """The window of a pool that gives so many rows and columns."""
    wanted = (output_size, output_size) if isinstance(output_size, int) else tuple(output_size)
    _, _, *size = _shape(build, x)
    if len(size) != 2:
        raise UnsupportedError(f"takes a map, found {build.types[x]}")
    rows, columns = (
        length if some is None else some for some, length in zip(wanted, size, strict=True)
    )
    if min(rows, columns) < 1 or size[0] % rows or size[1] % columns:
        raise UnsupportedError(f"{size[0]} × {size[1]} pixels do not divide into {output_size}")
    return size[0] // rows, size[1] // columns


def _mean(build: Build, x: str, dim: Any = None, keepdim: bool = False) -> str:
    rank = len(_shape(build, x))
    axes = [] if dim is None else [dim] if isinstance(dim, int) else list(dim)
    if rank != 4 or sorted(axis % rank for axis in axes) != [2, 3]:
        raise UnsupportedError(f"takes dim=(2, 3), the whole map, found dim={dim}")
    return _adaptive_avg_pool2d(build, x, 1) if keepdim else build.add(GlobalAvgPool2d(), x)


# --- Shape -----------------------------------------------------------------------------------


def _cat(build: Build, tensors: list[str], dim: int = 0) -> str:
    if dim % len(_shape(build, tensors[0])) != 1:
        raise UnsupportedError(f"takes dim=1, the channels, found {dim}")
    return build.add(Concat(), *tensors)


def _chunk(build: Build, x: str, chunks: int, dim: int = 0) -> tuple[str, ...]:
    shape = _shape(build, x)
    if dim % len(shape) != 1:
        raise UnsupportedError(f"takes dim=1, the channels, found {dim}")
    length = -(-shape[1] // chunks)
    runs = [slice(first, first + length) for first in range(0, shape[1], length)]
    return tuple(_getitem(build, x, (slice(None), run)) for run in runs)


def _flatten(build: Build, x: str, start_dim: int = 0, end_dim: int = -1) -> str:
    rank = len(_shape(build, x))
    if start_dim % rank != 1 or end_dim % rank != rank - 1:
        raise UnsupportedError(f"takes everything after the batch, found from dim {start_dim}")
    return _as_vector(build, x)


def _as_vector(build: Build, x: str) -> str:
    _, _, *size = _shape(build, x)
    if not size:
        return x
    if max(size) > 1:
        # PyTorch counts (channel, row, column), a graph's map is (row, column, channel)
        x = build.add_part(Transpose((2, 0, 1)), x)
    return build.add(Flatten(), x)


def _squeeze(build: Build, x: str, dim: Any = None) -> str:
    """Without the rows or columns of which there is one."""
    shape = _shape(build, x)
    axes = {axis % len(shape) for axis in ([dim] if isinstance(dim, int) else dim or [0])}
    if not axes.isdisjoint((0, 1)):
        raise UnsupportedError(f"takes axes of the map, 2 and 3, found dim={dim}")
    return _without(build, x, [axis - 2 for axis in axes if shape[axis] == 1])


def _without(build: Build, x: str, axes: Sequence[int]) -> str:
    """Without axes of one element, counted from the rows."""
    *size, channels = build.types[x].shape
    left = [length for axis, length in enumerate(size) if axis not in axes]
    if len(left) == len(size):
        return x
    return build.add(Reshape((*left, channels)) if left else Flatten(), x)


def _view(build: Build, x: str, *shape: Any) -> str:
    """``view(batch, -1)`` in any spelling that says no more than that."""
    wanted = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
    size = build.types[x].size
    if tuple(wanted) not in ((BATCH, -1), (BATCH, size), (-1, size)):
        shown = ["batch" if length is BATCH else length for length in wanted]
        raise UnsupportedError(f"takes (batch, -1), a vector an image, found {shown}")
    return _as_vector(build, x)


def _size(build: Build, x: str, dim: int | None = None) -> Any:
    shape = _shape(build, x)
    return shape if dim is None else shape[dim]


def _getattr(build: Build, x: str, name: str) -> tuple[Any, ...]:
    if name != "shape":
        raise UnsupportedError(f".{name} is not known")
    return _shape(build, x)


def _getitem(build: Build, x: str | tuple[str, ...], index: Any) -> Any:
    """Some of the rows, columns and channels of a map, a row or column, or one of several maps."""
    if isinstance(x, tuple):
        return x[index]
    shape = _shape(build, x)
    entries = index if isinstance(index, tuple) else (index,)
    whole = slice(None)
    chosen = [axis for axis, entry in enumerate(entries) if isinstance(entry, int)]
    slices = [
        slice(entry, entry + 1 or None) if isinstance(entry, int) else entry for entry in entries
    ]
    known = all(isinstance(entry, slice) for entry in slices) and len(slices) <= len(shape)
    if not known or slices[0] != whole or 1 in chosen:
        raise UnsupportedError(f"takes slices, and the whole batch, found [{index}]")
    lengths = shape[1:]
    if any(not -shape[axis] <= entries[axis] < shape[axis] for axis in chosen):
        raise UnsupportedError(f"[{index}] lies outside of {shape[1:]}")
    asked = (*slices[1:], *(whole for _ in range(len(lengths) - len(slices) + 1)))
    runs = [entry.indices(length) for entry, length in zip(asked, lengths, strict=True)]
    start, stop, step = zip(*_to_graph_order(runs), strict=True)
    part = build.add(Slice(start, stop, step), x)
    return _without(build, part, [axis - 2 for axis in chosen])


def _pad(
    build: Build, x: str, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> str:
    """`pad` names (before, after) of the last axis, then of the one before it, and so on."""
    rank = len(_shape(build, x)) - 1
    if mode != "constant" or len(pad) > 2 * rank:
        raise UnsupportedError(f"takes mode 'constant' and up to {2 * rank} lengths, found {pad}")
    before, after = ([*pad[first::2], *[0] * (rank - len(pad) // 2)][::-1] for first in (0, 1))
    lengths = tuple(_to_graph_order(before)), tuple(_to_graph_order(after))
    return build.add(Pad(*lengths, value=value or 0.0), x)


FUNCTIONS: dict[Any, Callable[..., Any]] = {
    getattr: _getattr,
    operator.add: _add,
    operator.getitem: _getitem,
    operator.mul: _multiply,
    operator.neg: _negate,
    operator.sub: _subtract,
    operator.truediv: _divide,
    torch.add: _add,
    torch.cat: _cat,
    torch.chunk: _chunk,
    torch.clamp: _clamp,
    torch.concat: _cat,
    torch.concatenate: _cat,
    torch.div: _divide,
    torch.flatten: _flatten,
    torch.mean: _mean,
    torch.mul: _multiply,
    torch.neg: _negate,
    torch.relu: _relu,
    torch.reshape: _view,
    torch.softmax: _softmax,
    torch.squeeze: _squeeze,
    torch.sub: _subtract,
    functional.adaptive_avg_pool2d: _adaptive_avg_pool2d,
    functional.adaptive_max_pool2d: _adaptive_max_pool2d,
    functional.avg_pool2d: _avg_pool2d,
    functional.dropout: _dropout,
    functional.dropout2d: _dropout,
    functional.hardtanh: _hardtanh,
    functional.leaky_relu: _leaky_relu,
    functional.max_pool2d: _max_pool2d,
    functional.pad: _pad,
    functional.relu: _relu,
    functional.relu6: _relu6,
    functional.softmax: _softmax,
    "add": _add,
    "add_": _add,
    "chunk": _chunk,
    "clamp": _clamp,
    "clamp_": _clamp,
    "contiguous": _unchanged,
    "div": _divide,
    "flatten": _flatten,
    "mean": _mean,
    "mul": _multiply,
    "mul_": _multiply,
    "neg": _negate,
    "relu": _relu,
    "relu_": _relu,
    "reshape": _view,
    "size": _size,
    "softmax": _softmax,
    "squeeze": _squeeze,
    "sub": _subtract,
    "view": _view,
}
IN_PLACE = ("add_", "clamp_", "mul_", "relu_")
