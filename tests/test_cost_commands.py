"""The commands that count costs and share scales anew, end to end."""

import pytest
from colour_network import binary_colour_graph

import bitconv


@pytest.fixture
def binary_model(tmp_path):
    """A file with scales 1, 1 and 4."""
    path = tmp_path / "binary.h5"
    bitconv.write(binary_colour_graph(), path)
    return path


def test_cost_counts_storage_and_operations(command, binary_model):
    code, out, err = command("cost", binary_model)
    assert (code, err) == (0, "")
    for text in ("memory", "weight bits", "speed-up at 2", "not a measured time", "total"):
        assert text in out
    assert "Now →" not in out


def test_cost_sets_another_grid_beside_the_present_one(command, binary_model):
    code, out, _ = command("cost", binary_model, "--scale", "OxI")
    assert code == 0
    assert "Now → with scales shared OxI." in out
    assert out.splitlines()[-1].split()[:4] == ["total", "3", "→", "1"]


def test_cost_of_the_shipped_model_adds_up(command):
    _, out, _ = command("cost", "cifar10-resnet")
    stored = next(line for line in out.splitlines() if line.startswith("total"))
    _, _, info = command("info", "cifar10-resnet")[1].rpartition("\ntotal ")
    assert stored.split()[1:3] == info.split()[:2]


@pytest.mark.parametrize("scale", ["16", "0xI", "Ix16", "16xO", "", "16 x I"])
def test_a_wrong_grid_is_one_line_and_exit_code_1(command, binary_model, tmp_path, scale):
    out_path = tmp_path / "out.h5"
    for arguments in (["cost", binary_model], ["reshare", binary_model, out_path]):
        code, out, err = command(*arguments, "--scale", scale)
        assert (code, out) == (1, "")
        assert "FILTERSxCHANNELS, numbers or O and I for all, such as 16xI" in err
        assert err.count("\n") == 1
    assert not out_path.exists()


def test_reshare_writes_the_model_with_other_scales(command, binary_model, tmp_path):
    out_path = tmp_path / "shared.h5"
    code, out, err = command("reshare", binary_model, out_path, "--scale", "OxI")
    assert (code, err) == (0, "")
    assert "error energy" in out
    assert str(out_path) in out.splitlines()[-1]
    before, after = bitconv.read(binary_model), bitconv.read(out_path)
    assert after.nodes[-1].operator.scale.values.tolist() == [[2.0]]
    assert after.metadata.labels == before.metadata.labels
    assert after.metadata.source == "tests, scales shared OxI"
    assert after.metadata.accuracy == ""


def test_reshare_counts_the_labels_that_change(command, binary_model, pictures, tmp_path):
    out_path = tmp_path / "shared.h5"
    arguments = ["reshare", binary_model, out_path, "--scale", "OxI", "--images", pictures]
    code, out, _ = command(*arguments)
    assert code == 0
    assert "labels    1 of 3 changed (33.33 %)" in out
    assert "accuracy  100.00 % before, 66.67 % after" in out
    assert bitconv.read(out_path).metadata.accuracy == "66.67 % of the 3 images of pictures"


def test_reshare_writes_nothing_where_the_images_do_not_fit(
    command, binary_model, pictures, tmp_path
):
    (pictures / "red").rename(pictures / "violet")
    out_path = tmp_path / "shared.h5"
    arguments = ["reshare", binary_model, out_path, "--scale", "OxI", "--images", pictures]
    code, _, err = command(*arguments)
    assert code == 1
    assert "'violet' is no label of the model" in err
    assert not out_path.exists()


def test_reshare_does_not_write_over_the_model_itself(command, binary_model, tmp_path):
    link = tmp_path / "link.h5"
    link.symlink_to(binary_model)
    before = binary_model.read_bytes()
    for out_path in (binary_model, link, tmp_path / "." / "binary.h5"):
        code, out, err = command("reshare", binary_model, out_path, "--scale", "OxI")
        assert (code, out) == (1, "")
        assert "is the model itself" in err
    assert binary_model.read_bytes() == before


def test_reshare_checks_where_to_write_and_what_to_read_first(command, binary_model, tmp_path):
    arguments = ["reshare", binary_model]
    places = {tmp_path: "is a folder", tmp_path / "none" / "out.h5": "there is no folder"}
    for out_path, message in places.items():
        code, out, err = command(*arguments, out_path, "--scale", "OxI")
        assert (code, out) == (1, "")
        assert message in err
    options = ["--scale", "OxI", "--images", tmp_path / "none"]
    code, out, err = command(*arguments, tmp_path / "out.h5", *options)
    assert (code, out) == (1, "")
    assert "none: no such file or folder" in err


def test_a_model_without_scales_is_not_reshared(command, model, tmp_path):
    code, out, err = command("reshare", model, tmp_path / "out.h5", "--scale", "OxI")
    assert (code, out) == (1, "")
    assert err == "bitconv: no layer of the network has scales to share\n"
    assert not (tmp_path / "out.h5").exists()


def test_the_shipped_model_is_reshared_and_runs(command, tmp_path):
    out_path = tmp_path / "shared.h5"
    code, out, _ = command("reshare", "cifar10-resnet", out_path, "--scale", "16xI")
    assert code == 0
    assert out.splitlines()[-3].startswith("Error energy")
    assert next(line for line in out.splitlines() if line.startswith("total")).split()[1:5] == [
        "272",
        "→",
        "136",
        "544",
    ]
    _, out, _ = command("run", "--model", out_path, "--threads", "1")
    assert "ms in the network" in out
