"""Writes the architectures of Larq Zoo at random weights, with what Larq makes of two images.

    pip install larq==0.13 larq-zoo tensorflow-cpu==2.15.1 'setuptools<70'
    python tests/convert/make_larq_zoo.py FOLDER [SIDE] [NAME ...]

on Python 3.11. Then, where bitconv is installed:

    BITCONV_LARQ_ZOO=FOLDER pytest tests/convert/test_keras_larq_zoo.py
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from make_keras_fixtures import larq_of_today

larq_of_today()

import larq_zoo  # noqa: E402  # its layers need Larq as it is now

NETWORKS = {
    "BinaryAlexNet": larq_zoo.literature.BinaryAlexNet,
    "BiRealNet": larq_zoo.literature.BiRealNet,
    "BinaryResNetE18": larq_zoo.literature.BinaryResNetE18,
    "BinaryDenseNet28": larq_zoo.literature.BinaryDenseNet28,
    "QuickNetSmall": larq_zoo.sota.QuickNetSmall,
    "XNORNet": larq_zoo.literature.XNORNet,
    "RealToBinaryNet": larq_zoo.literature.RealToBinaryNet,
}


def _as_trained(model: Any, rng: np.random.Generator) -> None:
    """Statistics of batch norms as training would leave them, so that signs of both kinds occur."""
    for layer in model.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            values = [
                rng.uniform(0.5, 2, w.shape)
                if "variance" in w.name
                else rng.normal(0, 0.3, w.shape)
                for w in layer.weights
            ]
            if layer.scale:
                values[0] = rng.uniform(0.5, 1.5, values[0].shape)
            layer.set_weights(values)


def write(name: str, side: int, folder: Path) -> None:
    rng = np.random.default_rng(11)
    model = NETWORKS[name](input_shape=(side, side, 3), weights=None, num_classes=1000)
    _as_trained(model, rng)
    images = rng.normal(size=(2, side, side, 3)).astype(np.float32)
    last = model.layers[-2]  # in front of the softmax
    logits = tf.keras.Model(model.input, last.output).predict(images, verbose=0)
    model.save(folder / f"{name}.h5", include_optimizer=False)
    np.savez_compressed(folder / f"{name}.npz", images=images, logits=logits, layer=last.name)
    print(name, logits.std(), logits.argmax(axis=1))


if __name__ == "__main__":
    target, *rest = sys.argv[1:]
    size = int(rest.pop(0)) if rest and rest[0].isdigit() else 224
    for each in rest or NETWORKS:
        tf.keras.backend.clear_session()
        write(each, size, Path(target))
