"""Predicting batches: shapes, kinds, chunks, named values and refusals."""

import tracemalloc

import numpy as np
import pytest
from engine import chain, graph_of, random_bits, reference_values, signs
from small_networks import binary_resnet, pictures

import bitconv
from bitconv import Graph, Model, Node, TensorType
from bitconv.errors import InputError
from bitconv.model import MAX_BATCH
from bitconv.operators import Add, BinaryConv2d, Flatten, Relu, Sign, Slice


@pytest.fixture(scope="module")
def resnet():
    return Model(binary_resnet(), threads=1)


def test_scores_are_float32_one_row_an_image(resnet):
    scores = resnet.predict(pictures(resnet.graph, 3))
    assert (scores.shape, scores.dtype) == ((3, 5), np.float32)


def test_the_engine_equals_the_references_up_to_rounding(resnet):
    batch = pictures(resnet.graph, 3)
    expected = reference_values(resnet.graph, batch)["scores"]
    np.testing.assert_array_equal(resnet.reference(batch), expected)
    np.testing.assert_allclose(resnet.predict(batch), expected, rtol=1e-4, atol=1e-4)


def test_a_batch_larger_than_a_chunk_equals_its_images_one_by_one(resnet):
    batch = pictures(resnet.graph, MAX_BATCH + 3)
    one_by_one = np.concatenate([resnet.predict(image[None]) for image in batch])
    np.testing.assert_array_equal(resnet.predict(batch), one_by_one)


def test_large_maps_are_computed_in_chunks_of_bounded_memory(monkeypatch):
    monkeypatch.setattr("bitconv.model.BATCH_BYTES", 100_000)
    graph = binary_resnet()
    model, batch = Model(graph, threads=1), pictures(graph, 9)
    tracemalloc.start()
    found = model.predict(batch)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(found, Model(graph, threads=1).predict(batch))
    plans = [prepared.plan for prepared in model._plans.values()]
    assert max(plan.images for plan in plans) < len(batch)
    assert max(plan.arena_bytes for plan in plans) <= max(100_000, plans[0].arena_bytes)
    assert peak < 2**21


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_warm_call_allocates_no_array_but_its_result(kind, images, threads):
    graph = binary_resnet(size=64)  # an image, and every map of it, is larger than what is allowed
    model, batch = Model(graph, threads=threads), pictures(graph, images).astype(kind)
    assert min(batch.nbytes, model._plan("uint8", 1, ()).arena_bytes) > 2**13
    model.predict(batch)
    tracemalloc.start()
    model.predict(batch)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**13


def test_an_empty_batch_has_no_scores(resnet):
    scores = resnet.predict(pictures(resnet.graph, 0))
    assert (scores.shape, scores.dtype) == ((0, 5), np.float32)


def test_bytes_given_as_float32_score_the_same(resnet):
    batch = pictures(resnet.graph, 2)
    expected = resnet.predict(batch)
    np.testing.assert_array_equal(resnet.predict(batch.astype(np.float32)), expected)


def test_fractions_between_bytes_are_kept(resnet):
    batch = pictures(resnet.graph, 2).astype(np.float32) + np.float32(0.375)
    expected = resnet.reference(batch)
    np.testing.assert_allclose(resnet.predict(batch), expected, rtol=1e-4, atol=1e-4)


def test_a_network_of_float_images_takes_bytes():
    model = Model(chain((4, 4, 3), Relu()))
    batch = pictures(model.graph, 2)
    np.testing.assert_array_equal(model.predict(batch), batch.astype(np.float32))


def test_an_array_in_any_order_of_memory_is_taken(resnet):
    batch = pictures(resnet.graph, 2)
    expected = resnet.predict(batch)
    turned = np.ascontiguousarray(batch.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)
    np.testing.assert_array_equal(resnet.predict(turned), expected)
    np.testing.assert_array_equal(resnet.predict(batch[::-1]), expected[::-1])


def test_an_input_array_is_left_alone_even_if_it_is_read_only(resnet):
    batch = pictures(resnet.graph, 2)
    before = batch.copy()
    batch.flags.writeable = False
    resnet.predict(batch)
    np.testing.assert_array_equal(batch, before)


def test_named_values_come_along(resnet):
    batch = pictures(resnet.graph, 2)
    found = resnet.predict(batch, nodes=["sign1", "norm0", "normalize", "scores", "image"])
    assert list(found) == ["scores", "sign1", "norm0", "normalize", "image"]
    np.testing.assert_array_equal(found["scores"], resnet.predict(batch))
    np.testing.assert_array_equal(found["image"], batch)
    expected = reference_values(resnet.graph, batch)
    np.testing.assert_array_equal(found["normalize"], expected["normalize"])
    np.testing.assert_allclose(found["norm0"], expected["norm0"], rtol=1e-4, atol=1e-4)


def test_signs_come_as_int8_of_minus_and_plus_one(resnet):
    found = resnet.predict(pictures(resnet.graph, 2), nodes=["sign0"])["sign0"]
    assert (found.shape, found.dtype) == ((2, 12, 12, 24), np.int8)
    assert set(np.unique(found)) == {-1, 1}


def test_results_are_not_overwritten_by_the_next_call(resnet):
    first, second = pictures(resnet.graph, 2)
    scores = resnet.predict(first[None])
    before = scores.copy()
    resnet.predict(second[None])
    np.testing.assert_array_equal(scores, before)


def test_several_outputs_come_as_a_dict():
    graph = graph_of(
        (3, 3, 4),
        Node("relu", Relu(), "x"),
        Node("sign", Sign([0.0]), "x"),
        Node("flat", Flatten(), "relu"),
        outputs=("flat", "sign"),
    )
    model = Model(graph)
    batch = np.random.default_rng(0).normal(size=(2, 3, 3, 4)).astype(np.float32)
    found, expected = model.predict(batch), model.reference(batch)
    assert list(found) == list(expected) == ["flat", "sign"]
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, strict=True)


def test_a_network_may_end_in_a_map():
    graph = chain(
        (6, 5, 3), signs(3), BinaryConv2d(random_bits(np.random.default_rng(0), 7, 3, 3, 3))
    )
    batch = np.random.default_rng(1).normal(size=(2, 6, 5, 3)).astype(np.float32)
    found = Model(graph).predict(batch)
    assert found.shape == (2, 4, 3, 7)
    np.testing.assert_array_equal(found, Model(graph).reference(batch))


def test_a_second_prediction_allocates_next_to_nothing():
    model = bitconv.load(threads=1)
    batch = pictures(model.graph, 1)
    model.predict(batch)
    tracemalloc.start()
    model.predict(batch)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * 1024


def test_a_sum_of_two_outputs_keeps_both():
    graph = graph_of(
        (2, 2, 3),
        Node("relu", Relu(), "x"),
        Node("sum", Add(), ("relu", "x")),
        outputs=("sum", "relu", "x"),
    )
    batch = np.random.default_rng(2).normal(size=(3, 2, 2, 3)).astype(np.float32)
    found = Model(graph).predict(batch)
    for name, expected in Model(graph).reference(batch).items():
        np.testing.assert_array_equal(found[name], expected, strict=True)


def test_a_batch_without_its_axis_gets_a_hint(resnet):
    with pytest.raises(InputError, match=r"\(N, 12, 12, 3\).*image\[None\]"):
        resnet.predict(pictures(resnet.graph, 1)[0])


@pytest.mark.parametrize("shape", [(1, 12, 12, 4), (1, 11, 12, 3), (1, 3, 12, 12), (12,), ()])
def test_another_shape_is_refused(resnet, shape):
    with pytest.raises(InputError, match="found uint8 of shape"):
        resnet.predict(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("dtype", [np.float64, np.int32, np.int8, bool, object, complex])
def test_another_type_is_refused(resnet, dtype):
    with pytest.raises(InputError, match=r"uint8 or float32.*found"):
        resnet.predict(np.zeros((1, 12, 12, 3), dtype))


@pytest.mark.parametrize("images", ["picture.png", None, [[1, 2], [3]]])
def test_what_is_no_array_is_refused(resnet, images):
    with pytest.raises(InputError, match="uint8 or float32"):
        resnet.predict(images)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("method", ["predict", "reference", "verify"])
def test_nan_and_infinity_are_refused_with_the_image(resnet, value, method):
    batch = np.zeros((4, 12, 12, 3), np.float32)
    batch[2, 3, 4, 1] = value
    with pytest.raises(InputError, match=r"image 2 .*NaN or infinity"):
        getattr(resnet, method)(batch)


def test_an_unknown_node_is_refused(resnet):
    with pytest.raises(InputError, match="no node 'nowhere'"):
        resnet.predict(pictures(resnet.graph, 1), nodes=["nowhere"])


def test_a_float_batch_keeps_its_fractions_where_a_uint8_network_only_moves_it():
    graph = Graph(
        {"image": TensorType((4, 6, 3), "uint8")},
        (
            Node("part", Slice((0, 0, 0), (4, 6, 3), (2, 2, 1)), "image"),
            Node("flat", Flatten(), "part"),
        ),
    )
    model = Model(graph, threads=1)
    batch = np.random.default_rng(0).normal(size=(3, 4, 6, 3)).astype(np.float32) * 300
    values = model.predict(batch, nodes="image")
    np.testing.assert_array_equal(values["flat"], model.reference(batch), strict=True)
    np.testing.assert_array_equal(values["image"], batch, strict=True)
    assert model.verify(batch).ok


def test_verifying_a_network_without_steps_says_so_in_words():
    graph = Graph({"x": TensorType((2, 2, 1))}, (Node("flat", Flatten(), "x"),))
    verification = Model(graph, threads=1).verify(np.ones((1, 2, 2, 1), np.float32))
    assert str(verification).splitlines()[-1].startswith("equal to the reference")
