"""The Python of the README runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bitconv.shipped import SAMPLE_PICTURE

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=["using a model", "building a graph"])
def test_the_python_of_the_readme_runs(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.open(SAMPLE_PICTURE).save("photo.jpg")
    batch = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    names: dict[str, Any] = {"batch": batch}
    exec(block, names)
    assert capsys.readouterr().out
