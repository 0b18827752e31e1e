"""Verifying a model step by step: a sound one is found sound, a broken one is found out."""

from dataclasses import replace

import numpy as np
import pytest
from engine import chain, graph_of, random_bits, random_norm, signs
from small_networks import binary_resnet, pictures

import bitconv
from bitconv import Model, Node
from bitconv.operators import BinaryConv2d, Clip, Concat, Conv2d, Normalize, Relu


@pytest.fixture
def model():
    return Model(binary_resnet(), threads=1)


def damage(model, kernel, field, dtype, change):
    """Change the constant at which a field of the first step of a kernel points, in every plan."""
    for prepared in model._plans.values():
        step = next(step for step in prepared.plan.steps if step.kernel == kernel)
        constants = prepared.plan.constants.view(dtype)
        at = int(step.parameters[field][0])
        constants[at] = change(constants[at])


def test_the_shipped_model_is_verified():
    model = bitconv.load(threads=1)
    found = model.verify(pictures(model.graph, 1))
    assert found.ok
    assert found.images == found.same_labels == 1
    assert found.largest_difference < 1e-4
    assert all(step.differing == 0 for step in found.steps if step.exact)
    exact = {step.kernel for step in found.steps if step.exact}
    assert "binary_conv2d" in exact


def test_every_stored_value_is_compared_once_in_the_order_of_the_plan(model):
    found = model.verify(pictures(model.graph, 3))
    values = [step.value for step in found.steps]
    assert values[-1] == "scores"
    assert {"sign0", "sign1", "map1", "map2", "mean"} <= set(values)
    assert len(set(values)) == len(values)
    order = [node.name for node in model.graph.nodes]
    assert values == sorted(values, key=order.index)
    assert [step.elements for step in found.steps if step.value == "sign0"] == [3 * 12 * 12 * 24]


def test_float_steps_may_round_and_binary_ones_may_not(model):
    exact = {step.value: step.exact for step in model.verify(pictures(model.graph, 1)).steps}
    assert not exact["map0"]
    assert not exact["sign0"]  # of a float convolution
    assert not exact["scores"]
    assert exact["map1"]
    assert exact["sign1"]


def test_floats_are_verified_as_well_as_bytes(model):
    found = model.verify(pictures(model.graph, 2).astype(np.float32) + np.float32(0.25))
    assert found.ok


def test_the_outcome_is_printed_with_a_line_a_value(model):
    found = model.verify(pictures(model.graph, 2))
    lines = str(found).splitlines()
    assert len(lines) == len(found.steps) + 1
    assert lines[-1].startswith("equal to the reference: 2 of 2 images get the same label")


def test_one_flipped_weight_is_found_where_it_is(model):
    batch = pictures(model.graph, 2)
    assert model.verify(batch).ok
    damage(model, "binary_conv2d", "weights", np.uint64, lambda word: word ^ np.uint64(1))
    found = model.verify(batch)
    assert not found.ok
    wrong = [step for step in found.steps if step.unexplained]
    assert {step.kernel for step in wrong} == {"binary_conv2d"}
    # Every step is fed what the step before it computed, so the layers behind are still right.
    assert {step.value for step in wrong} <= {"map1", "sign1"}
    assert all(step.exact and step.largest > 0 for step in wrong)
    assert "UNEXPLAINED" in str(found)
    assert "NOT equal to the reference" in str(found)


def test_a_wrong_float_weight_is_more_than_rounding(model):
    batch = pictures(model.graph, 2)
    assert model.verify(batch).ok
    damage(model, "conv2d", "weights", np.float32, lambda weight: weight + 0.5)
    wrong = [step for step in model.verify(batch).steps if step.unexplained]
    assert {step.kernel for step in wrong} == {"conv2d"}
    assert {step.value for step in wrong} <= {"map0", "sign0"}


def test_a_wrong_limit_is_found_in_the_signs():
    rng = np.random.default_rng(0)
    first = BinaryConv2d(random_bits(rng, 24, 3, 3, 24), padding=1)
    model = Model(chain((8, 8, 24), signs(24), first, random_norm(rng, 24), signs(24)))
    batch = rng.normal(size=(2, 8, 8, 24)).astype(np.float32)
    assert model.verify(batch).ok
    damage(model, "binary_conv2d", "limits", np.int32, lambda limit: -1 - limit)
    (wrong,) = (step for step in model.verify(batch).steps if step.unexplained)
    assert (wrong.value, wrong.exact, wrong.largest) == ("node3", True, 2.0)


def test_a_network_that_ends_in_a_map_is_verified():
    rng = np.random.default_rng(1)
    model = Model(chain((5, 5, 3), Conv2d(rng.normal(size=(4, 3, 3, 3))), Relu()))
    found = model.verify(rng.normal(size=(3, 5, 5, 3)).astype(np.float32))
    assert found.ok
    assert found.images == 3


def test_rounding_of_a_large_sum_may_show_where_the_sum_is_limited():
    rng = np.random.default_rng(2)
    sums = Conv2d(100 * rng.normal(size=(16, 3, 3, 64)))  # in the thousands
    model = Model(chain((22, 22, 64), sums, Clip(-2.0, 2.0)), threads=1)
    batch = rng.normal(size=(2, 22, 22, 64)).astype(np.float32)
    found = model.verify(batch)
    assert found.ok
    assert found.steps[0].largest > 2e-5
    damage(model, "conv2d", "weights", np.float32, lambda weight: weight + 50)
    assert not model.verify(batch).ok


def test_what_only_has_another_name_inside_a_step_is_verified():
    nodes = (
        Node("norm", Normalize([1.0], [2.0]), "x"),
        Node("same", Concat(), ("norm",)),
        Node("both", Concat(), ("x", "same")),
    )
    graph = graph_of((1, 7, 5), *nodes)
    found = Model(graph).verify(np.ones((1, 1, 7, 5), np.float32))
    assert found.ok


def test_an_empty_batch_is_verified(model):
    found = model.verify(pictures(model.graph, 0))
    assert (found.ok, found.images, found.same_labels) == (True, 0, 0)


def test_a_run_that_differs_from_the_compared_steps_is_found(model):
    batch = pictures(model.graph, 2)
    assert model.verify(batch).differing == 0
    for (_kind, _images, keep, _roomy), prepared in model._plans.items():
        if not keep:  # a plan of `predict`
            prepared.plan.constants.view(np.float32)[:] *= 2
    found = model.verify(batch)
    assert all(step.unexplained == 0 for step in found.steps)
    assert found.differing > 0
    assert not found.ok
    assert "DIFFERS" in str(found)


def test_a_step_with_an_unexplained_difference_spoils_the_whole(model):
    found = model.verify(pictures(model.graph, 1))
    first, *rest = found.steps
    assert found.ok
    assert not replace(found, steps=(replace(first, unexplained=1), *rest)).ok
