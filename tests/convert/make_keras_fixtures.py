"""Writes tests/fixtures/keras with Keras and Larq themselves, which no other test needs.

Keras 2 and Larq, on Python 3.11:

    pip install larq==0.13 tensorflow-cpu==2.15.1 'setuptools<70'
    python tests/convert/make_keras_fixtures.py keras2 larq

Keras 3, on PyTorch:

    pip install keras torch h5py
    KERAS_BACKEND=torch python tests/convert/make_keras_fixtures.py keras3

Each network comes as ``<prefix>_<name>.h5``, some as ``.keras`` too, beside ``<prefix>_<name>.npz``
with two images and what the framework makes of them, output by output. Weights are multiples of a
quarter, zero among them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

IS_KERAS_3 = keras.__version__ >= "3"

FOLDER = Path(__file__).parent.parent / "fixtures" / "keras"
SHAPE = (9, 8, 4)

layers = keras.layers


def _image() -> Any:
    return keras.Input(SHAPE, name="image")


def sequential() -> Any:
    """A small classifier as a tutorial builds it."""
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Rescaling(1 / 4, offset=-0.5),
            layers.Conv2D(6, 3, padding="same", strides=2, activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(2, padding="same"),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(5, activation="softmax"),
        ]
    )


def windows() -> Any:
    """Every window: same and valid, strides, dilations, groups, pools."""
    x = _image()
    outputs = [
        layers.Conv2D(3, 3, padding="same", strides=2)(x),
        layers.Conv2D(3, (3, 2), padding="valid", strides=(2, 1), use_bias=False)(x),
        layers.Conv2D(2, 3, padding="same", dilation_rate=2)(x),
        layers.Conv2D(4, 2, padding="same", strides=2, groups=2)(x),
        layers.Conv2D(2, 1, padding="same", strides=3)(x),
        layers.DepthwiseConv2D(3, padding="same", strides=2, depth_multiplier=2)(x),
        layers.SeparableConv2D(3, 3, padding="same", strides=2, depth_multiplier=2)(x),
        layers.MaxPooling2D(3, strides=2, padding="same")(x),
        layers.MaxPooling2D((2, 3))(x),
        layers.AveragePooling2D((3, 2))(x),
        layers.GlobalAveragePooling2D()(x),
        layers.GlobalAveragePooling2D(keepdims=True)(x),
        layers.GlobalMaxPooling2D()(x),
        layers.ZeroPadding2D(((1, 0), (2, 3)))(x),
        layers.Cropping2D(((1, 0), (2, 3)))(x),
    ]
    if keras.backend.backend() == "tensorflow":  # Keras 3 on PyTorch repeats the border instead
        outputs += [
            layers.AveragePooling2D(3, strides=2, padding="same")(x),
            layers.AveragePooling2D(2, strides=1, padding="same")(x),
        ]
    return keras.Model(x, outputs, name="windows")


def elements() -> Any:
    """Activations, normalizations and everything that only moves numbers."""
    x = _image()
    slope = "negative_slope" if IS_KERAS_3 else "alpha"
    outputs = [
        layers.ReLU(max_value=1.5)(x),
        layers.ReLU(max_value=1.5, negative_slope=0.25)(x),
        layers.ReLU(negative_slope=0.25)(x),
        layers.LeakyReLU(**{slope: 0.1})(x),
        layers.PReLU(shared_axes=[1, 2])(x),
        layers.PReLU(shared_axes=[1, 2, 3])(x),
        layers.Activation("relu")(x),
        layers.Activation("relu6")(x),
        layers.Activation("linear")(layers.ReLU()(x)),
        layers.Softmax()(x),
        layers.Activation("softmax")(x),
        layers.BatchNormalization()(x),
        layers.BatchNormalization(scale=False, epsilon=0.5)(x),
        layers.BatchNormalization(center=False)(x),
        layers.BatchNormalization(scale=False, center=False, axis=3)(x),
        layers.Rescaling(0.5)(x),
        layers.Normalization(mean=[1.0, 2, 3, 4], variance=[1.0, 4, 9, 0])(x),
        layers.Dense(3, activation="relu")(x),
        layers.Dense(3)(layers.Flatten()(x)),
        layers.Add()([x, layers.ReLU()(x), x]),
        layers.Concatenate()([x, layers.ReLU()(x)]),
        layers.Reshape((-1, 4))(x),
        layers.Reshape((4, 9, 8))(x),
        layers.Permute((3, 1, 2))(x),
        layers.SpatialDropout2D(0.5)(layers.ReLU()(x)),
        x + layers.Activation("relu6")(x),
    ]
    return keras.Model(x, outputs, name="elements")


def nested() -> Any:
    """Models within models, and layers that are called twice."""
    inner_image = keras.Input((9, 8, 4))
    y = layers.Conv2D(4, 3, padding="same", name="shared_name")(inner_image)
    inner = keras.Model(inner_image, layers.BatchNormalization()(y), name="inner")
    chain = keras.Sequential(
        [
            keras.Input((9, 8, 4)),
            layers.Conv2D(4, 1, name="shared_name"),
            layers.BatchNormalization(),
            layers.ReLU(),
        ],
        name="chain",
    )
    x = _image()
    twice = layers.Conv2D(4, 3, padding="same", name="twice")
    first = twice(x)
    second = twice(layers.Add()([inner(first), chain(x)]))
    return keras.Model(x, [second, inner(second), chain(second)], name="nested")


def larq_of_today() -> Any:
    """Larq, whose quantizers have names that TensorFlow 2.15 finds classes by, not objects."""
    import larq

    found = larq.quantizers.deserialize

    def deserialize(name: Any, custom_objects: Any = None) -> Any:
        quantizer = found(name, custom_objects)
        return quantizer() if isinstance(quantizer, type) else quantizer

    if found.__name__ != "quantizer_of":
        deserialize.__name__ = "quantizer_of"
        larq.quantizers.deserialize = deserialize
    return larq


def binary_windows() -> Any:
    """Larq's convolutions with every quantizer, padding and stride."""
    larq = larq_of_today()
    x = _image()
    both = {"input_quantizer": "ste_sign", "kernel_quantizer": "ste_sign"}
    quant = larq.layers
    signs = layers.Activation(larq.quantizers.SteSign())(x)
    outputs = [
        quant.QuantConv2D(5, 3, padding="same", strides=2, **both)(x),
        quant.QuantConv2D(5, 3, padding="same", strides=2, pad_values=1.0, **both)(x),
        quant.QuantConv2D(5, 3, padding="same", pad_values=-1.0, use_bias=False, **both)(x),
        quant.QuantConv2D(5, 2, padding="same", strides=2, pad_values=0.5, **both)(x),
        quant.QuantConv2D(4, 3, groups=2, padding="valid", activation="relu", **both)(x),
        quant.QuantConv2D(
            3, 3, input_quantizer=larq.quantizers.ApproxSign(), padding="same",
            kernel_quantizer=larq.quantizers.MagnitudeAwareSign(),
        )(x),
        quant.QuantConv2D(
            3, 3, input_quantizer=larq.quantizers.SwishSign(), use_bias=False,
            kernel_quantizer=larq.quantizers.SteSign(clip_value=1.25), dilation_rate=2,
        )(x),
        quant.QuantConv2D(3, 3, padding="same", kernel_quantizer="ste_sign")(x),
        quant.QuantConv2D(3, 3, padding="same", kernel_quantizer="magnitude_aware_sign",
                          pad_values=1.0)(x),
        quant.QuantConv2D(3, 3, padding="same", input_quantizer="ste_sign", pad_values=1.0)(x),
        quant.QuantConv2D(3, 3, padding="same", kernel_quantizer="ste_tern")(x),
        quant.QuantConv2D(3, 3, padding="same", input_quantizer="ste_sign",
                          kernel_quantizer="ste_heaviside")(x),
        quant.QuantConv2D(3, 3, padding="same", strides=2, input_quantizer="ste_heaviside",
                          kernel_quantizer="ste_sign")(x),
        quant.QuantConv2D(3, 3, padding="same", input_quantizer="ste_heaviside", pad_values=1.0,
                          kernel_quantizer="magnitude_aware_sign")(x),
        quant.QuantConv2D(3, 3, padding="same", input_quantizer="ste_heaviside")(x),
        quant.QuantDepthwiseConv2D(3, padding="same", strides=2, depth_multiplier=2, pad_values=1.0,
                                   input_quantizer="ste_sign", depthwise_quantizer="ste_sign")(x),
        quant.QuantDepthwiseConv2D(2, depth_multiplier=2, input_quantizer="ste_sign",
                                   depthwise_quantizer="magnitude_aware_sign")(x),
        quant.QuantSeparableConv2D(3, 3, padding="same", strides=2, input_quantizer="ste_sign",
                                   depthwise_quantizer="ste_sign", pointwise_quantizer="ste_sign",
                                   )(x),
        quant.QuantConv2D(3, 3, kernel_quantizer="ste_sign")(layers.MaxPooling2D(2)(signs)),
        quant.QuantConv2D(3, 3, **both)(layers.ZeroPadding2D(1)(signs)),
        layers.Add()([signs, x]),
        layers.Concatenate()([signs, x]),
        layers.Activation(larq.quantizers.SteHeaviside())(x),
        larq.quantizers.SteSign()(x),
        layers.AveragePooling2D(2)(signs),
    ]  # fmt: skip
    return keras.Model(x, outputs, name="binary_windows")


def binary_sequential() -> Any:
    """The classifier of Larq's tutorial, smaller."""
    larq = larq_of_today()
    quantizers = {
        "input_quantizer": "ste_sign",
        "kernel_quantizer": "ste_sign",
        "kernel_constraint": "weight_clip",
    }
    return keras.Sequential(
        [
            larq.layers.QuantConv2D(
                8, 3, kernel_quantizer="ste_sign", use_bias=False, input_shape=SHAPE
            ),
            layers.MaxPooling2D(2),
            layers.BatchNormalization(scale=False),
            larq.layers.QuantConv2D(16, 2, use_bias=False, **quantizers),
            layers.BatchNormalization(scale=False),
            layers.Flatten(),
            larq.layers.QuantDense(12, use_bias=False, **quantizers),
            layers.BatchNormalization(scale=False),
            larq.layers.QuantDense(5, **quantizers),
            layers.Activation("softmax"),
        ]
    )


KERAS = (sequential, windows, elements, nested)
NETWORKS: dict[str, tuple[Callable[[], Any], ...]] = {
    "keras2": KERAS,
    "keras3": KERAS,
    "larq": (binary_windows, binary_sequential),
}


def _quarters(rng: np.random.Generator, shape: tuple[int, ...], bound: int = 4) -> Any:
    return (rng.integers(-bound, bound + 1, shape) / 4).astype(np.float32)


def _fill(model: Any, rng: np.random.Generator) -> None:
    """Weights as training would leave them, but multiples of a quarter."""
    values = [
        np.abs(_quarters(rng, tuple(w.shape))) + 0.25
        if "variance" in w.name
        else _quarters(rng, tuple(w.shape))
        for w in model.weights
    ]
    model.set_weights(values)


def write(model: Any, path: Path) -> None:
    """The model's file, and beside it two images with the outputs."""
    rng = np.random.default_rng(7)
    _fill(model, rng)
    images = _quarters(rng, (2, *model.input_shape[1:]), 8)
    found = model.predict(images, verbose=0)
    outputs = found if isinstance(found, list) else [found]
    model.save(path, include_optimizer=False)
    named = {f"output_{index:02}": values for index, values in enumerate(outputs)}
    np.savez_compressed(path.with_suffix(".npz"), images=images, **named)
    if model.name in ("nested", "sequential"):
        model.save(path.with_suffix(".keras"))
    print(path.name, os.path.getsize(path))


if __name__ == "__main__":
    for prefix in sys.argv[1:]:
        for network in NETWORKS[prefix]:
            keras.backend.clear_session()
            write(network(), FOLDER / f"{prefix}_{network.__name__}.h5")
