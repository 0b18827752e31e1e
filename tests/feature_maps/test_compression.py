"""Networks whose maps are kept encoded: what they compute, and the memory they take."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from engine import graph_of, signs, value_in
from guarded import at_both_ends, guarded_plan, posix_only
from small_networks import binary_resnet, float_resnet, pictures, with_codecs

from bitconv import Graph, Model, Node
from bitconv.compiler import compile_graph
from bitconv.errors import InputError
from bitconv.executor import DoesNotFitError, Workspace
from bitconv.feature_maps import CODECS
from bitconv.feature_maps.compression import compress, stored_maps, with_room
from bitconv.feature_maps.map_codec import MARGIN, SPARE_BYTES, MapCodec
from bitconv.operators import Add, Concat, Conv2d, EncodeMap, Flatten, Relu, Slice, Softmax

NETWORKS = {"float": float_resnet, "binary": binary_resnet}


def codings(graph: Graph) -> list[str]:
    return [node.name for node in graph.nodes if isinstance(node.operator, EncodeMap)]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("network", NETWORKS)
def test_every_step_equals_its_reference(codec: str, network: str):
    graph = with_codecs(NETWORKS[network](), codec)
    for which in (True, "all"):
        model = Model(graph, feature_maps=which)
        verification = model.verify(pictures(graph, 3))
        assert verification.ok, str(verification)
        exact = [step.exact for step in verification.steps if step.kernel.startswith("encode")]
        assert exact
        assert all(exact)


@pytest.mark.parametrize("codec", CODECS)
def test_all_codecs_keep_close_to_the_network_without(codec: str):
    graph = float_resnet()
    images = pictures(graph, 6)
    expected = Model(graph).predict(images)
    found = Model(with_codecs(graph, codec), feature_maps="all").predict(images)
    assert 0 < np.abs(found - expected).max() < 0.3 * np.abs(expected).max()


def test_a_network_with_codecs_computes_the_same_until_it_is_told_to_use_them():
    graph = float_resnet()
    images = pictures(graph, 3)
    expected = Model(graph).predict(images)
    np.testing.assert_array_equal(Model(with_codecs(graph)).predict(images), expected)


def test_maps_that_outlive_the_next_step_are_those_read_twice():
    outliving = [each.name for each in stored_maps(float_resnet()) if each.outlives_next_step]
    assert outliving == ["map0", "map1"]
    assert codings(compress(with_codecs(float_resnet()))) == ["map0 encoded", "map1 encoded"]


def test_all_maps_behind_a_layer_are_encoded_when_asked_for():
    names = ["map0", "inner0", "map1", "inner1", "map2"]
    assert codings(compress(with_codecs(float_resnet()), "all")) == [f"{n} encoded" for n in names]


def test_the_maps_of_a_binary_network_are_those_beside_its_signs():
    stored = stored_maps(binary_resnet())
    assert [each.name for each in stored if each.takes_codec] == ["map0", "map1", "map2"]
    assert [each.name for each in stored if each.type.kind == "bits"] == ["sign0", "sign1"]


def test_what_is_only_moved_and_what_is_one_pixel_takes_no_codec():
    rng = np.random.default_rng(4)
    graph = graph_of(
        (5, 5, 3),
        Node("conv", Conv2d(rng.normal(size=(4, 2, 2, 3))), "x"),
        Node("other", Relu(), "conv"),
        Node("joined", Concat(), ("conv", "other")),
        Node("cut", Slice((0, 0, 0), (4, 4, 8), (1, 1, 2)), "joined"),
        Node("pixel", Conv2d(rng.normal(size=(4, 4, 4, 4))), "cut"),
        Node("end", Softmax(), "pixel"),
    )
    stored = stored_maps(graph)
    assert [each.name for each in stored] == ["conv", "other", "cut", "pixel"]  # joined: of both
    assert [each.name for each in stored if each.takes_codec] == ["conv", "other"]


def test_a_map_that_only_a_join_takes_does_not_outlive_the_next_step():
    rng = np.random.default_rng(4)
    graph = graph_of(
        (5, 5, 3),
        Node("conv", Conv2d(rng.normal(size=(4, 2, 2, 3))), "x"),
        Node("other", Relu(), "conv"),
        Node("joined", Concat(), ("other", "conv")),
        Node("end", Softmax(), "joined"),
    )
    outliving = {each.name: each.outlives_next_step for each in stored_maps(graph)}
    assert outliving == {"conv": True, "other": False}


def test_every_reader_sees_the_decoded_map():
    model = Model(with_codecs(float_resnet()), feature_maps="all")
    values = model.predict(
        pictures(model.graph, 2), nodes=["map0", "map0 raw", "map0 encoded", "map0 again"]
    )
    operator = next(n.operator for n in model.graph.nodes if n.name == "map0 encoded")
    for index in range(2):
        payload = operator.codec.reference_encode(values["map0 raw"][index])
        expected = operator.codec.reference_decode(payload, values["map0"][index].shape)
        np.testing.assert_array_equal(values["map0"][index], expected)
        np.testing.assert_array_equal(values["map0 again"][index], expected)
    assert (values["map0"] != values["map0 raw"]).any()


@pytest.mark.parametrize("network", NETWORKS)
def test_memory_falls(network: str):
    graph = with_codecs(NETWORKS[network](size=20, channels=64, blocks=1), "dct-cm")
    plain, encoded = (compile_graph(each) for each in (graph, compress(graph)))
    assert encoded.arena_bytes < 0.8 * plain.arena_bytes
    saved = plain.arena_bytes - encoded.arena_bytes
    assert len(encoded.constants) - len(plain.constants) < saved / 10


@pytest.mark.parametrize("codec", CODECS)
def test_what_a_codec_knows_is_kept_once_for_all_its_steps(codec: str):
    graph = with_codecs(float_resnet(blocks=1), codec)
    plain, encoded = (len(compile_graph(each).constants) for each in (graph, compress(graph)))
    steps = [step for step in compile_graph(compress(graph)).steps if step.functions]
    assert len(steps) == 3  # one encodes, two decode
    assert encoded - plain <= graph.codecs["map0"].codec.constants.nbytes + 64


@pytest.mark.parametrize("network", NETWORKS)
def test_a_sum_in_place_is_what_it_is_elsewhere(network: str):
    model = Model(with_codecs(NETWORKS[network]()), feature_maps="all")
    images = pictures(model.graph, 3)
    every = [node.name for node in model.graph.nodes]
    kept = model.predict(images, nodes=every)  # so nothing may be overwritten
    np.testing.assert_array_equal(model.predict(images), kept["scores"])


def test_no_decoded_map_lies_beside_the_convolution_that_it_is_added_to():
    plan = compile_graph(compress(with_codecs(float_resnet())))
    adding = next(step for step in plan.steps if "add0" in step.nodes)
    assert adding.kernel == "decode_map"
    assert adding.functions["code"] == "unpack_plain"
    assert adding.reads == ("map0 encoded", "second0")
    assert plan.places["second0"] == plan.places["map1 raw"]


@pytest.mark.parametrize("channels", [64, 72, 130])
def test_signs_of_many_channels_are_taken_from_decoded_maps(channels: int):
    graph = with_codecs(binary_resnet(size=5, channels=channels, blocks=1))
    model = Model(graph, feature_maps="all")
    verification = model.verify(pictures(graph, 2))
    assert verification.ok, str(verification)


def test_sums_with_decoded_maps_go_where_they_are_joined():
    rng = np.random.default_rng(6)
    weight = rng.normal(size=(6, 1, 1, 6))
    graph = graph_of(
        (6, 5, 6),
        Node("map", Conv2d(weight), "x"),
        Node("second", Conv2d(weight), "map"),
        Node("third", Conv2d(weight), "second"),
        Node("sum", Add(), ("map", "third")),
        Node("again", Add(), ("map", "second")),
        Node("sums", Concat(), ("sum", "again")),
        Node("terms", Concat(), ("second", "map")),
        outputs=("sums", "terms"),
    )
    images = rng.normal(size=(3, 6, 5, 6)).astype(np.float32)
    maps = Model(graph).predict(images, nodes="map")["map"]
    codec = MapCodec(CODECS["eight-bit"].calibrate(maps), maps[0].size)
    model = Model(replace(graph, codecs={"map": codec}), feature_maps=True)
    assert "copy_floats" not in [step.kernel for step in model.profile(repeat=1).steps]
    verification = model.verify(images)
    assert verification.ok, str(verification)
    found, expected = model.predict(images), model.reference(images)
    for name in graph.outputs:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-4)


def test_a_map_too_large_for_its_place_still_gives_the_right_result():
    graph = float_resnet()
    images = pictures(graph, 3)
    expected = Model(with_codecs(graph), feature_maps="all").predict(images)
    cramped = with_codecs(graph, largest=16)
    plan = compile_graph(compress(cramped, "all"))
    with pytest.raises(DoesNotFitError):
        Workspace(plan).run("image", images[:1])
    model = Model(cramped, feature_maps="all")
    np.testing.assert_array_equal(model.predict(images), expected)
    assert model.run(images[0]).scores.tolist() == pytest.approx(expected[0].tolist(), abs=1e-5)


def test_one_map_too_large_among_many_is_found():
    graph = float_resnet(blocks=1)
    images = np.stack([np.zeros_like(pictures(graph, 1)[0]), *pictures(graph, 2)])
    model = Model(with_codecs(graph, "zero-mask"), feature_maps="all")
    sizes = [
        int.from_bytes(encoded[:8].tobytes(), "little")
        for encoded in model.predict(images, nodes="map0 encoded")["map0 encoded"]
    ]
    between = ((min(sizes) + max(sizes)) / 2 - SPARE_BYTES) / MARGIN
    codecs = {"map0": replace(with_codecs(graph, "zero-mask").codecs["map0"], largest=int(between))}
    cramped_graph = replace(graph, codecs=codecs)
    cramped = Model(cramped_graph, feature_maps="all")
    workspace = Workspace(compile_graph(compress(cramped_graph, "all"), images=3))
    fitting = int(np.argmin(sizes))
    workspace.run("image", images[fitting : fitting + 1])
    with pytest.raises(DoesNotFitError):
        workspace.run("image", images)
    roomy = Model(replace(graph, codecs={"map0": replace(codecs["map0"], largest=10**6)}))
    expected = Model(roomy.graph, feature_maps="all").predict(images)
    np.testing.assert_array_equal(cramped.predict(images), expected)


def test_room_is_made_for_the_largest_encoding():
    graph = with_room(compress(with_codecs(float_resnet(), largest=16), "all"))
    plan = compile_graph(graph)
    Workspace(plan).run("image", pictures(graph, 1))


def test_profiles_are_of_what_ran():
    profile = Model(with_codecs(float_resnet(), largest=16), feature_maps=True).profile(repeat=1)
    assert "encode_map" in [step.kernel for step in profile.steps]


@pytest.mark.parametrize("which", [True, "all"])
def test_run_and_predict_give_the_same_labels_on_any_number_of_threads(which):
    graph = with_codecs(binary_resnet(size=8), "dct-cm")
    images = pictures(graph, 70)
    model = Model(graph, feature_maps=which, threads=2)
    scores = model.predict(images)
    alone = Model(graph, feature_maps=which, threads=1)
    np.testing.assert_array_equal(alone.predict(images), scores)
    labels = [str(label) for label in scores.argmax(axis=1)]
    with ThreadPoolExecutor(4) as pool:
        assert [each.label for each in pool.map(model.run, images)] == labels


def test_float_images_are_taken_too():
    model = Model(with_codecs(float_resnet()), feature_maps="all")
    images = pictures(model.graph, 2)
    found = model.predict(images.astype(np.float32))
    np.testing.assert_array_equal(found, model.predict(images))


def test_a_map_read_much_later_and_as_another_shape_is_decoded_for_each_reader():
    rng = np.random.default_rng(5)
    weight = rng.normal(size=(6, 3, 3, 6)) / 7
    graph = graph_of(
        (6, 5, 6),
        Node("first", Conv2d(weight, padding=1), "x"),
        Node("map", Relu(), "first"),
        Node("second", Conv2d(weight, padding=1), "map"),
        Node("third", Conv2d(weight, padding=1), "second"),
        Node("joined", Concat(), ("third", "map")),
        Node("flat", Flatten(), "map"),
        Node("bits", signs(6), "map"),
        outputs=("joined", "flat", "bits"),
    )
    images = rng.normal(size=(3, 6, 5, 6)).astype(np.float32)
    plan = compile_graph(graph, images=3, keep=("map",))
    workspace = Workspace(plan)
    workspace.run("x", images)
    maps = value_in(workspace, graph, "map", 3)
    codec = MapCodec(CODECS["eight-bit"].calibrate(maps), maps[0].size)
    model = Model(replace(graph, codecs={"map": codec}), feature_maps=True)
    assert model.verify(images).ok
    found, expected = model.predict(images), model.reference(images)
    np.testing.assert_array_equal(found["flat"], expected["flat"])
    np.testing.assert_array_equal(found["bits"], expected["bits"])


def test_names_that_the_network_has_already_are_left_alone():
    graph = float_resnet(blocks=1)
    nodes = tuple(
        replace(
            node,
            name="map0 encoded" if node.name == "stem" else node.name,
            inputs=tuple("map0 encoded" if name == "stem" else name for name in node.inputs),
        )
        for node in graph.nodes
    )
    renamed = with_codecs(replace(graph, nodes=nodes))
    images = pictures(graph, 2)
    expected = Model(with_codecs(graph), feature_maps="all").predict(images)
    np.testing.assert_array_equal(Model(renamed, feature_maps="all").predict(images), expected)


def test_a_network_without_codecs_is_refused():
    with pytest.raises(InputError, match="bitconv calibrate"):
        Model(float_resnet(), feature_maps=True)


def test_another_choice_of_maps_is_refused():
    with pytest.raises(InputError, match="'some'"):
        Model(with_codecs(float_resnet()), feature_maps="some")  # type: ignore[arg-type]  # on purpose


def test_a_network_that_is_compressed_already_has_no_codecs_left():
    assert not compress(with_codecs(float_resnet()), "all").codecs


@posix_only
@at_both_ends
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("largest", [None, 40])
def test_the_kernels_stay_within_their_memory(codec: str, at_end: bool, largest: int | None):
    graph = compress(with_codecs(binary_resnet(size=9, channels=9), codec, largest), "all")
    images = pictures(graph, 2)
    plan, arena, _memory = guarded_plan(graph, at_end, images=2, threads=1)
    workspace = Workspace(plan, arena)
    if largest is None:
        workspace.run("image", images)
        found = value_in(workspace, graph, "scores", 2)
        np.testing.assert_allclose(found, Model(graph).predict(images), atol=1e-5)
    else:
        before = value_in(workspace, graph, "scores", 2)
        with pytest.raises(DoesNotFitError):
            workspace.run("image", images)
        after = value_in(workspace, graph, "scores", 2)
        np.testing.assert_array_equal(after, before)  # nothing read what does not fit
