"""Train binarized networks with PyTorch and export them (the extra ``train``)."""

from bitconv.errors import MissingPackageError

try:
    import torch as _torch  # noqa: F401  # only to see whether it is there
except ImportError as error:
    raise MissingPackageError(
        "bitconv.training needs PyTorch; install it with: pip install 'bitconv[train]'"
    ) from error

from bitconv.training.agreement import Agreement
from bitconv.training.export import export, to_graph
from bitconv.training.layers import BinaryConv2d, BinaryLinear, BinarySign, clamp_weights

__all__ = [
    "Agreement",
    "BinaryConv2d",
    "BinaryLinear",
    "BinarySign",
    "clamp_weights",
    "export",
    "to_graph",
]
