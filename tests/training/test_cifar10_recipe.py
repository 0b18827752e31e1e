"""The recipe of the shipped model, on a small network and a few made-up images."""

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the recipe needs PyTorch")

import bitconv
from bitconv.operators import Dense, GlobalAvgPool2d, Normalize

RECIPES = Path(__file__).parents[2] / "weights" / "recipes"


@pytest.fixture
def recipe(monkeypatch):
    monkeypatch.syspath_prepend(str(RECIPES))
    import cifar10_resnet

    monkeypatch.setattr(cifar10_resnet, "STAGES", ((8, 1), (16, 1)))
    monkeypatch.setattr(cifar10_resnet, "EPOCH_SIDES", (24, 24, 32))
    monkeypatch.setattr(cifar10_resnet, "BATCH", 16)
    monkeypatch.setattr(cifar10_resnet.shutil, "which", lambda _: None)  # compiling takes a minute
    return cifar10_resnet


@pytest.fixture
def data(tmp_path):
    generator = np.random.default_rng(2)
    folder = tmp_path / "data"
    folder.mkdir()
    for name, count in [*((f"data_batch_{i}", 16) for i in range(1, 6)), ("test_batch", 40)]:
        records = generator.integers(0, 256, (count, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        records.tofile(folder / f"{name}.bin")
    return folder


def trained(recipe, data, run, stop=3):
    training = recipe.Training(data, run, seed=1)
    while training.epoch < stop:
        training.train_epoch()
    return training


def exported(recipe, training, out):
    out.mkdir(exist_ok=True)
    recipe.export_model(training, out)
    return out / "cifar10-resnet.h5"


def test_a_run_goes_on_after_an_interruption_as_if_there_had_been_none(recipe, data, tmp_path):
    whole = trained(recipe, data, tmp_path / "whole").model.state_dict()
    trained(recipe, data, tmp_path / "parts", stop=1)
    trained(recipe, data, tmp_path / "parts", stop=2)
    parts = trained(recipe, data, tmp_path / "parts").model.state_dict()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_run_is_finished_after_its_last_epoch(recipe, data, tmp_path):
    assert not trained(recipe, data, tmp_path, stop=2).finished
    assert trained(recipe, data, tmp_path).finished


def test_a_run_starts_from_a_file_with_the_scores_of_the_file(recipe, data, tmp_path):
    first = trained(recipe, data, tmp_path / "first")
    path = exported(recipe, first, tmp_path / "out")
    second = recipe.Training(data, tmp_path / "second", seed=2, start_from=path)
    before, after = (recipe.predict(run.model, run.test_images) for run in (first, second))
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


def test_a_run_starts_from_a_checkpoint_with_its_latent_weights(recipe, data, tmp_path):
    trained(recipe, data, tmp_path / "first")
    checkpoint = tmp_path / "first" / "checkpoint.pt"
    second = recipe.Training(data, tmp_path / "second", seed=2, start_from=checkpoint)
    assert second.epoch == 0
    kept = torch.load(checkpoint)["model"]
    assert all(
        torch.equal(values, kept[name]) for name, values in second.model.state_dict().items()
    )
    second.train_epoch()
    lines = map(json.loads, (tmp_path / "second" / "log.jsonl").read_text().splitlines())
    assert [line["epoch"] for line in lines] == [1, 2, 3, 1]


def test_blocks_that_a_file_does_not_have_start_as_identity(recipe, data, tmp_path, monkeypatch):
    first = trained(recipe, data, tmp_path / "first")
    path = exported(recipe, first, tmp_path / "out")
    monkeypatch.setattr(recipe, "STAGES", ((8, 1), (16, 2)))
    deeper = recipe.Training(data, tmp_path / "deeper", seed=2, start_from=path)
    before, after = (recipe.predict(run.model, run.test_images) for run in (first, deeper))
    assert len(deeper.model.blocks) == len(first.model.blocks) + 1
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


def test_a_file_of_another_network_is_refused(recipe, data, tmp_path, monkeypatch):
    monkeypatch.setattr(recipe, "STAGES", ((8, 1), (16, 2)))
    path = exported(recipe, trained(recipe, data, tmp_path / "first", stop=1), tmp_path / "out")
    for stages, message in (
        (((8, 1), (16, 1)), "no layers for blocks_2_sign"),
        (((8, 1), (16, 2), (32, 1)), r"classifier: the network has \(10, 32\)"),
        (((8, 1), (16, 2), (16, 1)), "changes the shape"),
    ):
        monkeypatch.setattr(recipe, "STAGES", stages)
        with pytest.raises(SystemExit, match=message):
            recipe.Training(data, tmp_path / "second", seed=2, start_from=path)


def test_a_restarted_run_goes_on_at_its_own_learning_rate(recipe, data, tmp_path):
    path = exported(recipe, trained(recipe, data, tmp_path / "first"), tmp_path / "out")
    run = tmp_path / "second"
    recipe.Training(data, run, seed=2, start_from=path).train_epoch()
    resumed = recipe.Training(data, run, seed=2)
    resumed.train_epoch()
    steps = 80 // recipe.BATCH
    last = recipe.learning_rate((1 + (steps - 1) / steps) / 3, recipe.RESTART_LEARNING_RATE)
    assert resumed.optimizer.param_groups[0]["lr"] == last


def test_workers_test_the_network_together(recipe, data, tmp_path):
    training = recipe.Training(data, tmp_path, seed=1)
    alone = training._correct()
    meeting_point = f"file://{tmp_path / 'workers'}"
    torch.distributed.init_process_group("gloo", init_method=meeting_point, rank=0, world_size=1)
    try:
        assert training._correct() == alone
    finally:
        torch.distributed.destroy_process_group()


def test_the_log_of_a_run_goes_on_behind_that_of_the_file_it_starts_from(recipe, data, tmp_path):
    path = exported(recipe, trained(recipe, data, tmp_path / "first"), tmp_path / "out")
    second = recipe.Training(data, tmp_path / "second", seed=2, start_from=path)
    second.train_epoch()
    lines = map(json.loads, (tmp_path / "second" / "log.jsonl").read_text().splitlines())
    assert [line["epoch"] for line in lines] == [1, 2, 3, 1]


def test_a_run_learns_what_its_teachers_make_of_the_images(recipe, data, tmp_path):
    teachers = [
        exported(
            recipe, trained(recipe, data, tmp_path / f"teacher{stop}", stop), tmp_path / f"{stop}"
        )
        for stop in (1, 2)
    ]
    run = tmp_path / "run"
    recipe.teach(teachers, data, run)
    training = recipe.Training(data, run, seed=1)
    pixels = training.images.permute(0, 2, 3, 1).numpy()
    first, second = (
        model.predict(pixels.copy()) + model.predict(pixels[:, :, ::-1].copy())
        for model in map(bitconv.load, teachers)
    )
    expected = sum(torch.softmax(torch.from_numpy(scores) / 8, 1) for scores in (first, second)) / 2
    torch.testing.assert_close(training.targets, expected)
    training.train_epoch()
    assert recipe.Training(data, tmp_path / "other", seed=1).targets.shape == (80,)


def test_a_teacher_of_other_classes_is_refused(recipe, data, tmp_path):
    nodes = (
        bitconv.Node("values", Normalize([0], [255]), "image"),
        bitconv.Node("pool", GlobalAvgPool2d(), "values"),
        bitconv.Node("scores", Dense(np.eye(3)), "pool"),
    )
    graph = bitconv.Graph({"image": bitconv.TensorType((32, 32, 3), "uint8")}, nodes)
    bitconv.write(graph, tmp_path / "colours.h5")
    with pytest.raises(SystemExit, match=r"colours.h5: gives \[3\] scores, not \[10\]"):
        recipe.teach([tmp_path / "colours.h5"], data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_without_a_checkpoint_is_not_exported(recipe, data, tmp_path, monkeypatch):
    command = ["recipe", str(data), str(tmp_path / "run"), "--export-only", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit, match=r"run: has no checkpoint.pt to export"):
        recipe.main()
    assert not (tmp_path / "cifar10-resnet.h5").exists()


def test_workers_share_the_images_of_a_batch(recipe, data):
    images, labels = recipe.read_batches(data, ["test_batch"])

    def batches(part):
        generator = torch.Generator().manual_seed(1)
        return list(recipe.augmented(images, labels, 16, 24, generator, max_shift=2, part=part))

    for whole, first, second in zip(
        batches(slice(None)), batches(slice(0, None, 2)), batches(slice(1, None, 2)), strict=True
    ):
        for all_of_them, *parts in zip(whole, first, second, strict=True):
            torch.testing.assert_close(all_of_them[0::2], parts[0])
            torch.testing.assert_close(all_of_them[1::2], parts[1])


def test_the_exported_model_carries_its_measured_accuracy(recipe, data, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    card = (RECIPES.parent / "cifar10-resnet.md").read_text()
    (out / "cifar10-resnet.md").write_text(card)
    training = trained(recipe, data, tmp_path / "run")
    recipe.export_model(training, out)

    graph = bitconv.read(out / "cifar10-resnet.h5")
    log = (out / "cifar10-resnet.log.jsonl").read_text().splitlines()
    *epochs, exported = map(json.loads, log)
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3]
    correct = exported["correct"]
    predicted = recipe.predict(training.model, training.test_images).argmax(1)
    assert correct == (predicted == training.test_labels).sum()
    assert graph.metadata.accuracy == f"{100 * correct / 40:.2f} % of the 40 CIFAR-10 test images"
    assert graph.metadata.preparation.crop == (32, 32)
    measured = (out / "cifar10-resnet.md").read_text()
    assert f"| Test accuracy | {100 * correct / 40:.2f} % ({correct} of 40 images) |" in measured
    assert measured.partition("<!--")[0] == card.partition("<!--")[0]
