"""What each node means: parameters, shape rule and NumPy reference."""

from bitconv.operators.convolution import ActivationScaleMap, BinaryConv2d, Conv2d
from bitconv.operators.dense import BinaryDense, Dense
from bitconv.operators.feature_map import DecodeMap, EncodeMap
from bitconv.operators.operator import Operator
from bitconv.operators.pointwise import (
    Add,
    BatchNorm,
    Clip,
    Multiply,
    Normalize,
    PRelu,
    Relu,
    Sign,
    Softmax,
)
from bitconv.operators.pooling import AvgPool2d, GlobalAvgPool2d, MaxPool2d
from bitconv.operators.shape import Concat, Flatten, Pad, Reshape, Slice, Transpose

# Those that a file may hold; EncodeMap and DecodeMap come from its table of codecs.
OPERATORS: dict[str, type[Operator]] = {
    operator.name: operator
    for operator in (
        ActivationScaleMap,
        Add,
        AvgPool2d,
        BatchNorm,
        BinaryConv2d,
        BinaryDense,
        Clip,
        Concat,
        Conv2d,
        Dense,
        Flatten,
        GlobalAvgPool2d,
        MaxPool2d,
        Multiply,
        Normalize,
        PRelu,
        Pad,
        Relu,
        Reshape,
        Sign,
        Slice,
        Softmax,
        Transpose,
    )
}

__all__ = [
    "OPERATORS",
    "ActivationScaleMap",
    "Add",
    "AvgPool2d",
    "BatchNorm",
    "BinaryConv2d",
    "BinaryDense",
    "Clip",
    "Concat",
    "Conv2d",
    "DecodeMap",
    "Dense",
    "EncodeMap",
    "Flatten",
    "GlobalAvgPool2d",
    "MaxPool2d",
    "Multiply",
    "Normalize",
    "Operator",
    "PRelu",
    "Pad",
    "Relu",
    "Reshape",
    "Sign",
    "Slice",
    "Softmax",
    "Transpose",
]
