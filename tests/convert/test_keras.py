"""Files that Keras 2, Keras 3 and Larq wrote, against what they computed themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from engine import reference_values

from bitconv.convert import from_keras

FOLDER = Path(__file__).parent.parent / "fixtures" / "keras"
FILES = sorted([*FOLDER.glob("*.h5"), *FOLDER.glob("*.keras")])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_graph_computes_what_the_framework_did(path: Path) -> None:
    graph = from_keras(path)
    expected = np.load(path.with_suffix(".npz"))
    values = reference_values(graph, expected["images"])
    assert len(graph.outputs) == len(expected.files) - 1
    for index, name in enumerate(graph.outputs):
        output = expected[f"output_{index:02}"]
        rounding = 2e-6 * max(1.0, float(np.abs(output).max()))
        np.testing.assert_allclose(
            values[name].astype(np.float32), output, rtol=0, atol=rounding, err_msg=name
        )
