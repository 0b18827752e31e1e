"""Which codec and setting calibration gives to each map."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from engine import chain
from small_networks import float_resnet, pictures

from bitconv import Model, Node
from bitconv.errors import InputError
from bitconv.feature_maps import CODECS
from bitconv.feature_maps.calibration import Choice, Search, calibrate
from bitconv.feature_maps.map_codec import MapCodec
from bitconv.feature_maps.report import report
from bitconv.feature_maps.sample import Sample
from bitconv.operators import Dense, GlobalAvgPool2d, Normalize


@pytest.fixture(scope="module")
def images():
    """Pictures of many colours."""
    tints = np.random.default_rng(8).uniform(0, 1, (40, 1, 1, 3))
    return (pictures(float_resnet(size=8), 40) * tints).astype(np.uint8)


@pytest.fixture(scope="module")
def graph(images):
    """A network that gives the pictures several labels."""
    network = float_resnet(size=8, blocks=1)
    means = Model(network).predict(images, nodes="mean")["mean"]
    *nodes, last = network.nodes
    weight = last.operator.weight
    scores = Node("scores", Dense(weight, -weight @ means.mean(axis=0)), "mean")
    return replace(network, nodes=(*nodes, scores))


@pytest.fixture(scope="module")
def sample(images):
    return Sample(images)


@pytest.fixture(scope="module")
def labelled(graph, sample):
    return replace(sample, targets=Model(graph).predict(sample.images).argmax(axis=1))


@pytest.mark.parametrize("codec", CODECS)
def test_every_map_gets_the_codec_in_its_usual_setting(graph, sample, codec):
    result = calibrate(graph, sample, codec)
    assert list(result.graph.codecs) == ["map0", "inner0", "map1"]
    assert {each.codec.name for each in result.graph.codecs.values()} == {codec}


def test_the_loss_is_that_of_the_network_with_all_maps_encoded(graph, sample):
    result = calibrate(graph, sample, "dct-cm", max_loss=20)
    before = Model(graph).predict(sample.images).argmax(axis=1)
    after = Model(result.graph, feature_maps="all").predict(sample.images).argmax(axis=1)
    assert result.loss == 100 * (before != after).sum() / 40
    assert result.loss <= 20
    assert not result.labelled


def test_a_larger_loss_gives_smaller_maps(graph, labelled):
    search = Search(graph, labelled)
    trials = search.trials([CODECS["dct-cm"]])
    strict, loose = (search.within(loss, trials) for loss in (5, 90))
    assert strict.labelled
    assert strict.loss <= 5 < loose.loss
    assert strict.bytes > loose.bytes


@pytest.mark.parametrize("loss", [5, 10, 50])
def test_the_best_codec_is_no_larger_than_any_alone(graph, sample, loss):
    search = Search(graph, sample)
    trials = search.trials([CODECS[name] for name in ("zero-mask", "dct-cm")])

    def size(names):
        allowed = {
            name: [choice for choice in choices if choice.codec.codec.name in names]
            for name, choices in trials.items()
        }
        return search.within(loss, allowed).bytes

    assert size(["zero-mask", "dct-cm"]) <= min(size(["zero-mask"]), size(["dct-cm"]))


def test_codecs_of_before_are_replaced(graph, sample):
    once = calibrate(graph, sample, "eight-bit")
    again = calibrate(once.graph, sample, "zero-mask")
    assert {each.codec.name for each in again.graph.codecs.values()} == {"zero-mask"}


def test_the_largest_map_is_what_was_seen(graph, sample):
    result = calibrate(graph, sample, "eight-bit")
    assert [each.largest for each in result.graph.codecs.values()] == [8 * 8 * 8] * 3


def test_the_table_names_every_map_and_the_loss(graph, sample):
    text = str(calibrate(graph, sample, "eight-bit"))
    assert all(name in text for name in ("map0", "inner0", "map1", "labels changed", "40 images"))


@pytest.mark.parametrize(
    ("codec", "loss", "reason"),
    [
        ("zip", None, "unknown codec 'zip'"),
        ("best", None, "max_loss"),
        ("dct-cm", 101, "from 0 to 100"),
        ("dct-cm", -1, "from 0 to 100"),
        ("dct-cm", float("nan"), "from 0 to 100"),
    ],
)
def test_what_cannot_be_chosen_is_refused(graph, sample, codec, loss, reason):
    with pytest.raises(InputError, match=reason):
        calibrate(graph, sample, codec, loss)


def test_a_network_without_float_maps_is_refused():
    network = chain((4, 4, 3), Normalize([0.0], [1.0]), GlobalAvgPool2d(), kind="uint8")
    with pytest.raises(InputError, match="no float32 map"):
        calibrate(network, Sample(pictures(network, 2)), "eight-bit")


def test_what_loses_too_much_in_any_setting_is_refused(graph, sample):
    search = Search(graph, sample)
    flat = CODECS["eight-bit"].calibrate(np.zeros((1, 8, 8, 8), np.float32))
    zero = replace(flat.levels, step=1e6)
    nothing = Choice(MapCodec(replace(flat, levels=zero), 1), 1.0, 0.0)
    with pytest.raises(InputError, match="mildest settings lose"):
        search.within(0, {name: [nothing] for name in search.names})


def test_the_report_counts_what_the_arena_holds(graph, labelled):
    result = calibrate(graph, labelled, "zero-mask")
    found = report(result.graph, labelled)
    model = Model(result.graph, feature_maps="all")
    for each in found.coded:
        encoded = model.predict(labelled.images, nodes=f"{each.name} encoded")
        if each.name == "map0":  # those behind it are computed from a map that was encoded
            lengths = encoded[f"{each.name} encoded"][:, :8].copy().view("<i8")
            assert each.encoded_bytes == pytest.approx(8 + lengths.mean())
    assert found.images == 40
    assert found.correct_before == 40
    assert found.correct_after == 40 - found.changed
    plain, some, every = found.arena_bytes
    assert some < plain
    assert every == model.arena_bytes


def test_the_report_says_what_each_map_is(graph, sample):
    found = report(calibrate(graph, sample, "zero-mask").graph, sample)
    names = [each.name for each in found.maps]
    assert names == ["normalize", "map0", "inner0", "map1"]
    stem = found.maps[1]
    values = Model(graph).predict(sample.images, nodes="map0")["map0"]
    assert stem.sparsity == pytest.approx((values == 0).mean())
    assert stem.ratio == pytest.approx(512 / stem.encoded_bytes)
    assert 30 < stem.snr < 70
    assert [each.outlives_next_step for each in found.coded] == [True, False, False]
    assert found.mean_ratio == pytest.approx(np.mean([each.ratio for each in found.coded]))
    assert "against float32" in str(found)


def test_a_report_needs_codecs(graph, sample):
    with pytest.raises(InputError, match="bitconv calibrate"):
        report(graph, sample)
