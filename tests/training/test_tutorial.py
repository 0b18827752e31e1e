"""The tutorial runs as it stands, on crops of one picture in the layout of CIFAR-10."""

import re
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the tutorial needs PyTorch")

from click.testing import CliRunner
from PIL import Image

from bitconv.commands import app
from bitconv.shipped import SAMPLE_PICTURE

TUTORIAL = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", TUTORIAL, re.DOTALL)
COMMANDS = re.findall(r"^    bitconv (.*)$", TUTORIAL, re.MULTILINE)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """With 200 training and 120 test images; the class of a crop is the column it is cut from."""
    generator = np.random.default_rng(4)
    picture = np.asarray(Image.open(SAMPLE_PICTURE).convert("RGB"))
    data = tmp_path / "cifar-10-batches-bin"
    data.mkdir()
    for name, count in [*((f"data_batch_{i}", 40) for i in range(1, 6)), ("test_batch", 120)]:
        targets = generator.integers(0, 10, count)
        tops = generator.integers(0, picture.shape[0] - 32, count)
        lefts = targets * ((picture.shape[1] - 32) // 10)
        crops = [picture[y : y + 32, x : x + 32] for y, x in zip(tops, lefts, strict=True)]
        planes = np.stack(crops).transpose(0, 3, 1, 2).reshape(count, -1)
        np.column_stack((targets, planes)).astype(np.uint8).tofile(data / f"{name}.bin")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_tutorial_trains_exports_and_runs(folder, capsys):
    names = {}
    for block in PYTHON:
        exec(block, names)
    printed = capsys.readouterr().out
    assert "epoch 2 of 2" in printed
    assert "100 of 100 labels are the same" in printed
    assert (folder / "tutorial.h5").stat().st_size < 100_000

    network = names["network"].eval()
    with torch.no_grad():
        labels = network(names["normalized"](names["test_images"])).argmax(1)
    accuracy = (labels == names["test_targets"]).float().mean().item()
    assert f"{accuracy:.1%} of the test images" in printed

    results = {c.split()[0]: CliRunner().invoke(app, c.split()) for c in COMMANDS}
    assert list(results) == ["run", "evaluate", "info", "cost"]
    assert all(result.exit_code == 0 for result in results.values())
    assert f"{100 * accuracy:.2f} %" in results["evaluate"].output
    assert "airplane" in results["info"].output
