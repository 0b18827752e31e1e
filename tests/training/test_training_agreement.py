from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="export needs PyTorch")

from torch import nn
from torch_modules import Calls, floats

from bitconv.bits import BitArray
from bitconv.errors import GraphError
from bitconv.graph import Graph, Node
from bitconv.operators import BatchNorm, BinaryDense, PRelu
from bitconv.operators import BinaryConv2d as BinaryConv2dOperator
from bitconv.training import (
    BinaryConv2d,
    BinaryLinear,
    BinarySign,
    export,
)
from bitconv.training.agreement import compare
from bitconv.training.translate import translate


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(5)


def means(x):
    return x.mean((2, 3))


def with_operators(graph, change):
    """The graph with every operator replaced by what `change` makes of it."""
    nodes = [Node(node.name, change(node.operator), node.inputs) for node in graph.nodes]
    return Graph(graph.inputs, tuple(nodes), graph.outputs, graph.metadata)


def with_another_sign(operator):
    """The binary layer with the sign of its last weight turned, so in its last run of channels."""
    if not isinstance(operator, BinaryConv2dOperator | BinaryDense):
        return operator
    bits = operator.weight.bits()
    bits.flat[-1] ^= True
    return replace(operator, weight=BitArray.from_bits(bits))


# --- Layers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("activation_scale", ["none", "map", "constant"])
@pytest.mark.parametrize(
    ("scale", "channels"), [("4xI", "0 to 4"), ("OxI", "0 to 4"), ("3x2", "4 to 4")]
)
def test_one_sign_that_differs_is_found_in_the_sums(scale, channels, activation_scale):
    options = {"scale": scale, "activation_scale": activation_scale}
    images = floats(3, 6, 6, 5)
    binary = BinaryConv2d(5, 8, 3, padding=1, **options)
    linear = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), BinaryLinear(5, 8, **options))
    for module in (nn.Sequential(nn.Identity(), binary), linear):
        translation = translate(module, images.shape[1:])
        assert compare(translation, images).same_labels == 3
        wrong = replace(translation, graph=with_operators(translation.graph, with_another_sign))
        message = rf"node '(1|2|2_binary_conv2d)' .* sums of signs over channels {channels} differ"
        with pytest.raises(GraphError, match=message):
            compare(wrong, images)


def test_one_sign_that_differs_is_found_among_floats():
    images = floats(3, 6, 6, 5)
    module = nn.Sequential(nn.PReLU(5), BinaryConv2d(5, 8, 3, mode="bwn", scale="4xI"))
    translation = translate(module, images.shape[1:])
    wrong = replace(translation, graph=with_operators(translation.graph, with_another_sign))
    with pytest.raises(GraphError, match=r"node '1' \(binary_conv2d\): .* values differ"):
        compare(wrong, images)


def test_of_several_layers_that_differ_the_first_is_named():
    images = floats(3, 6, 6, 5)
    module = nn.Sequential(
        BinaryConv2d(5, 8, 3), nn.PReLU(8), BinaryConv2d(8, 4, 3, mode="bwn"), nn.PReLU(4)
    )
    translation = translate(module, images.shape[1:])

    def with_other_slopes(operator):
        return PRelu(operator.slope + 0.01) if isinstance(operator, PRelu) else operator

    wrong = replace(translation, graph=with_operators(translation.graph, with_other_slopes))
    with pytest.raises(GraphError, match=r"node '1' \(prelu\): .* values differ"):
        compare(wrong, images)


def test_what_a_hook_changes_is_named_and_nothing_is_written(tmp_path):
    module = nn.Sequential(BinarySign(3), BinaryConv2d(3, 8, 3))
    module[1].register_forward_hook(lambda _module, _inputs, result: result / 2)
    with pytest.raises(GraphError, match=r"node '1' \(binary_conv2d\): .* values differ"):
        export(module, tmp_path / "wrong.h5", floats(2, 6, 6, 3))
    assert not list(tmp_path.iterdir())


class Doubling(nn.Module):
    def forward(self, x):
        y = x
        y += 1
        return means(x + y)


def with_hook():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), Calls(means))
    module.register_forward_hook(lambda _module, _inputs, output: -output)
    return module


def with_other_forward():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), Calls(means))
    forward = module.forward
    module.forward = lambda x: 2 * forward(x)
    return module


@pytest.mark.parametrize("make", [Doubling, with_hook, with_other_forward])
def test_a_module_that_computes_more_than_its_trace_is_refused(make, tmp_path):
    with pytest.raises(GraphError, match=r"computes something else than .* traced"):
        export(make(), tmp_path / "net.h5", floats(3, 6, 6, 3))
    assert not list(tmp_path.iterdir())


def test_images_stay_as_they_are(tmp_path):
    images = floats(3, 6, 6, 1)
    before = images.copy()
    module = nn.Sequential(nn.LeakyReLU(0.1, inplace=True), nn.Conv2d(1, 4, 3), Calls(means))
    assert export(module, tmp_path / "net.h5", images).same_labels == 3
    np.testing.assert_array_equal(images, before)


def test_images_may_be_views_with_channels_the_other_way_round(tmp_path):
    module = nn.Sequential(nn.Conv2d(3, 4, 3), Calls(means))
    assert export(module, tmp_path / "net.h5", floats(3, 6, 6, 3)[..., ::-1]).images == 3


def test_labels_that_cancellation_decides_are_traced_to_it(tmp_path):
    rng = np.random.default_rng(0)
    traced = []
    for _ in range(4):
        images = (100 + 0.02 * rng.normal(size=(40, 8, 8, 3))).astype(np.float32)
        module = nn.Sequential(
            nn.Conv2d(3, 8, 3),
            nn.BatchNorm2d(8, momentum=None),
            BinarySign(8),
            BinaryConv2d(8, 16, 3),
            Calls(means),
            nn.Linear(16, 10),
        )
        module.train()(torch.from_numpy(images).permute(0, 3, 1, 2))
        traced += export(module, tmp_path / "net.h5", images).traced
    assert traced


def test_a_channel_that_hardly_varies_is_compared_by_what_cancels_in_it():
    images, norm = floats(3, 6, 6, 3), nn.BatchNorm2d(3)
    images[..., 1] = 5 + 1e-4 * images[..., 1]  # becomes 316·x − 1580
    norm.running_mean[1], norm.running_var[1] = 5, 1e-8
    translation = translate(nn.Sequential(norm, Calls(means)), images.shape[1:])
    assert compare(translation, images).images == 3

    def with_another_offset(channel):
        def change(operator):
            if not isinstance(operator, BatchNorm):
                return operator
            statistics = operator.statistics.copy()
            statistics[1, channel] += 1e-3  # a thousandth of one value, a millionth of the other
            return replace(operator, statistics=statistics)

        return replace(translation, graph=with_operators(translation.graph, change))

    assert compare(with_another_offset(1), images).images == 3
    with pytest.raises(GraphError, match=r"node '0' \(batch_norm\): 108 of 324 values differ"):
        compare(with_another_offset(0), images)


# --- Labels ----------------------------------------------------------------------------------


@pytest.mark.parametrize("own_sign", [True, False])
def test_a_label_that_a_sign_at_its_threshold_decides_is_traced_to_it(tmp_path, own_sign):
    """A sum of -1e-8 here, which PyTorch in most orders of its terms rounds to zero."""
    images = np.zeros((6, 1, 2, 3), np.float32)
    images[:, 0, 0] = list(permutations((1, -1e-8, -1)))
    images[:, 0, 1, 0] = 1
    total, binary = nn.Conv2d(3, 1, 1, bias=False), BinaryConv2d(1, 2, (1, 2), bias=False)
    nn.init.ones_(total.weight)
    binary.weight.data = torch.tensor([[0.5, 0.5], [-0.5, 0.5]]).view(2, 1, 1, 2)
    sign = nn.Identity() if own_sign else BinarySign(1)
    module = nn.Sequential(total, sign, binary, Calls(means))
    agreement = export(module, tmp_path / "it.h5", images)
    assert 0 <= agreement.same_labels < 6
    assert len(agreement.traced) == 6 - agreement.same_labels
    name = "2_sign" if own_sign else "1"
    assert all(f"1 sign(s) of {name!r} within" in line for line in agreement.traced)


def test_labels_of_scores_that_rounding_orders_are_traced_to_them(tmp_path):
    """Two classes add the same numbers in another order; exact sums would tie."""
    generator = np.random.default_rng(1)
    weight = generator.standard_normal(64).astype(np.float32)
    linear = nn.Linear(64, 2, bias=False)
    linear.weight.data = torch.from_numpy(np.stack((weight, generator.permutation(weight))))
    images = np.repeat(generator.random((50, 1, 1, 1)), 64, axis=3).astype(np.float32)
    agreement = export(nn.Sequential(Calls(means), linear), tmp_path / "it.h5", images)
    assert 0 < agreement.same_labels < len(images)
    assert all("the scores of 1 and 0 are within" in line for line in agreement.traced)
