"""The architectures of Larq Zoo at random weights; opt-in, make_larq_zoo.py says how."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from engine import engine_values

from bitconv.convert import from_keras
from bitconv.errors import UnsupportedError
from bitconv.operators import BinaryConv2d, BinaryDense

FOLDER = Path(os.environ.get("BITCONV_LARQ_ZOO", "absent"))
REAL_TO_BINARY = FOLDER / "RealToBinaryNet.h5"
FILES = [path for path in sorted(FOLDER.glob("*.h5")) if path != REAL_TO_BINARY]

# In standard deviations. Most networks agree to 5e-6; where an input of a sign lies within rounding
# of zero, the sign may be another one, and random weights make much of it.
TOLERANCE = 0.05

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="needs the files that make_larq_zoo.py writes"
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_network_of_the_zoo_computes_what_larq_does(path: Path) -> None:
    graph = from_keras(path)
    expected = np.load(path.with_suffix(".npz"))
    layer = str(expected["layer"])
    found = engine_values(graph, expected["images"], keep=(layer,))[layer]
    error = np.abs(found - expected["logits"]).max() / expected["logits"].std()
    print(f"{path.stem}: largest difference {error:.2g} standard deviations")
    assert error < TOLERANCE


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_binary_layer_of_the_zoo_runs_on_bits(path: Path) -> None:
    graph = from_keras(path)
    layers = [n for n in graph.nodes if isinstance(n.operator, BinaryConv2d | BinaryDense)]
    assert layers
    on_floats = [n.name for n in layers if graph.types[n.inputs[0]].kind != "bits"]
    assert len(on_floats) <= 1  # BinaryAlexNet's first layer takes the image


@pytest.mark.skipif(not REAL_TO_BINARY.is_file(), reason="not among the files that were made")
def test_real_to_binary_is_refused_for_what_it_computes_per_image() -> None:
    with pytest.raises(UnsupportedError, match=r"Multiply"):
        from_keras(REAL_TO_BINARY)
