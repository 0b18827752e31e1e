"""The recipe of the study of shared scales, on small networks and a few made-up images."""

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the recipe needs PyTorch")

import bitconv

RECIPES = Path(__file__).parents[2] / "weights" / "recipes"


@pytest.fixture
def recipe(monkeypatch):
    monkeypatch.syspath_prepend(str(RECIPES))
    import shared_scales

    monkeypatch.setattr(shared_scales, "BLOCKS_A_STAGE", 1)
    monkeypatch.setattr(shared_scales, "BATCH", 16)
    monkeypatch.setattr(shared_scales, "PARENT_SIDES", (16,))
    monkeypatch.setattr(shared_scales, "ROW_SIDES", (24,))
    monkeypatch.setattr(shared_scales.shutil, "which", lambda _: None)  # compiling takes a minute
    return shared_scales


@pytest.fixture
def study(recipe, tmp_path):
    generator = np.random.default_rng(3)
    for name, count in [*((f"data_batch_{i}", 16) for i in range(1, 6)), ("test_batch", 20)]:
        records = generator.integers(0, 256, (count, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        records.tofile(tmp_path / f"{name}.bin")
    return recipe.Study(tmp_path, tmp_path)


@pytest.mark.parametrize(("mode", "scale"), [("float", ""), ("bwn", "4xI"), ("xnor", "1x8")])
def test_a_row_becomes_a_model_that_says_what_pytorch_says(recipe, study, mode, scale):
    row = recipe.Row(mode, scale, width=8)
    study.run(row, seed=1)
    recipe.export_run(study.folder, row, 1, study.test_images)

    graph = bitconv.read(study.folder / f"{row.name}-seed1.h5")
    images = study.test_images.permute(0, 2, 3, 1).numpy()
    correct = bitconv.Model(graph).predict(images).argmax(1) == study.test_labels.numpy()
    results = map(json.loads, (study.folder / "results.jsonl").read_text().splitlines())
    in_pytorch = {result["run"]: result["correct_in_pytorch"] for result in results}
    assert correct.sum() == in_pytorch[f"{row.name}-seed1"]


def test_all_rows_of_a_seed_start_from_one_parent(recipe, study):
    study.run(recipe.Row("float", width=8), seed=1)
    parent = recipe.weights_path(study.folder, "parent", 1)
    trained = parent.stat().st_mtime_ns
    study.run(recipe.Row("xnor", "OxI", width=8), seed=1)
    assert parent.stat().st_mtime_ns == trained


def test_no_two_rows_of_the_study_have_the_same_grids(recipe):
    for width in (recipe.WIDTH, recipe.WIDE):
        rows = {row for row, _ in recipe.planned_runs() if row.width == width and row.scale}
        shapes = {(row.mode, tuple(_grids(recipe, row))): row.name for row in sorted(rows, key=str)}
        assert len(shapes) == len(rows)


def _grids(recipe, row):
    layers = recipe.ResNet20(row).modules()
    return [tuple(m.scales().shape) for m in layers if isinstance(m, recipe.BinaryConv2d)]
