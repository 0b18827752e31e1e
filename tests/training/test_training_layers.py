import copy
import inspect

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch")

from torch import nn
from torch.nn import functional

from bitconv.errors import BitconvError
from bitconv.operators import ActivationScaleMap
from bitconv.scales import ScaleGrid, ScaleSharing
from bitconv.training import (
    BinaryConv2d,
    BinaryLinear,
    BinarySign,
    clamp_weights,
)

GRIDS = (
    "1xI",
    "4xI",
    "5xI",
    "OxI",
    "20x20",
    "1x2",
    "1x1",
    "5x2",
    "Ox4",
)  # of 12 filters, 5 channels


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(7)


def convolution(scale, **options):
    layer = BinaryConv2d(5, 12, 3, scale=scale, dtype=torch.float64, **options)
    nn.init.uniform_(layer.weight, -1.5, 1.5)  # some beyond where the gradient passes
    return layer


def linear(scale, **options):
    layer = BinaryLinear(5, 12, scale=scale, dtype=torch.float64, **options)
    nn.init.uniform_(layer.weight, -1.5, 1.5)
    return layer


LAYERS = pytest.mark.parametrize(
    ("make", "shape"), [(convolution, (3, 5, 7, 6)), (linear, (3, 5))], ids=["conv", "linear"]
)


def groups_of(scale, filters=12, channels=5):
    """The number of its group for each filter and channel."""
    down, across = ScaleSharing.parse(scale).steps(filters, channels)
    return torch.arange(filters)[:, None] // down * 1000 + torch.arange(channels) // across


def signs_of(values):
    return torch.where(values >= 0, 1.0, -1.0).to(values.dtype)


def group_averages(values, scale):
    """The mean of `values` over each group, at the place of each of its members."""
    groups, result = groups_of(scale, *values.shape[:2]), torch.empty_like(values)
    for group in groups.unique():
        result[groups == group] = values[groups == group].mean()
    return result


# --- Signs -----------------------------------------------------------------------------------


def test_a_sign_is_one_exactly_where_its_input_reaches_the_threshold():
    sign = BinarySign(3)
    sign.threshold.data = torch.tensor([0.0, 0.5, -0.25])
    below = torch.nextafter(sign.threshold.data, torch.tensor(-10.0))
    x = torch.stack((sign.threshold.data, below, torch.tensor([-0.0, 3.0, -3.0])))
    expected = [[1, 1, 1], [-1, -1, -1], [1, 1, -1]]
    assert sign(x.reshape(3, 3, 1, 1)).reshape(3, 3).tolist() == expected
    assert sign(x).tolist() == expected  # vectors
    assert sign(x[0].view(3, 1, 1)).flatten().tolist() == sign(x[0]).tolist() == expected[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_signs_are_exact_for_any_input(dtype):
    x = (torch.randn(4, 8, 50, 50) * torch.logspace(-9, 3, 50)).to(dtype)
    signs = BinarySign(8).to(dtype)(x)
    assert signs.dtype == dtype
    assert set(signs.unique().tolist()) == {-1.0, 1.0}


def test_the_gradient_of_a_sign_is_that_of_a_parabola_within_one():
    sign = BinarySign(1).double()
    sign.threshold.data.fill_(0.3)
    x = torch.linspace(-2, 2, 101, dtype=torch.float64).view(1, 1, 1, -1).requires_grad_()
    sign(x).sum().backward()
    z = (x - 0.3).detach()
    expected = torch.where(z.abs() <= 1, 2 - 2 * z.abs(), 0.0)
    assert torch.allclose(x.grad, expected)
    assert torch.allclose(sign.threshold.grad, -expected.sum())


def test_binary_activations_pass_the_gradient_within_one():
    layer = convolution("4xI")
    x = torch.linspace(-2, 2, 5 * 81, dtype=torch.float64).view(1, 5, 9, 9).requires_grad_()
    readout = torch.randn_like(layer(x))
    (layer(x) * readout).sum().backward()
    signs = signs_of(x.detach()).requires_grad_()
    (layer(signs) * readout).sum().backward()
    assert torch.allclose(x.grad, (x.detach().abs() <= 1) * signs.grad)


# --- Shared scales and their gradients -------------------------------------------------------


@pytest.mark.parametrize("make", [convolution, linear])
@pytest.mark.parametrize("scale", GRIDS)
def test_a_scale_is_the_mean_magnitude_of_its_group(make, scale):
    layer = make(scale)
    weight = layer.weight.detach().movedim(1, -1).numpy()
    expected = ScaleGrid.from_weight(weight, *layer.scale.steps(12, 5)).values
    np.testing.assert_allclose(layer.scales().detach().numpy(), expected, rtol=1e-6)


@LAYERS
@pytest.mark.parametrize("scale", GRIDS)
@pytest.mark.parametrize("mode", ["xnor", "bwn"])
def test_the_weight_gradient_is_exact_for_the_group_mean(make, shape, scale, mode):
    """dL/dW = α·1[|W| <= 1]·G + sign(W)·mean(G·sign(W)), with G the gradient at W̃ = α·sign(W)."""
    layer = make(scale, mode=mode)
    x = torch.randn(shape, dtype=torch.float64)
    readout = torch.randn_like(layer(x))
    (layer(x) * readout).sum().backward()

    weight = layer.weight.detach()
    signs, alpha = signs_of(weight), group_averages(weight.abs(), scale)
    scaled = (alpha * signs).requires_grad_()
    activations = signs_of(x) if mode == "xnor" else x
    (layer.multiply(activations, scaled) * readout).sum().backward()
    g = scaled.grad
    expected = alpha * (weight.abs() <= 1) * g + signs * group_averages(g * signs, scale)
    assert torch.allclose(layer.weight.grad, expected)


def test_the_groups_of_a_grouped_convolution_share_scales_by_filter():
    layer = BinaryConv2d(6, 8, 3, groups=2, scale="3x2", mode="bwn", dtype=torch.float64)
    x, readout = torch.randn(2, 6, 5, 5).double(), torch.randn(2, 8, 3, 3).double()
    weight = layer.weight.detach()
    scaled = (group_averages(weight.abs(), "3x2") * signs_of(weight)).requires_grad_()
    expected = functional.conv2d(x, scaled, layer.bias, groups=2)
    assert torch.allclose(layer(x), expected)
    (layer(x) * readout).sum().backward()
    (expected * readout).sum().backward()
    g, signs = scaled.grad, signs_of(weight)
    through_signs = group_averages(weight.abs(), "3x2") * g
    assert torch.allclose(
        layer.weight.grad, through_signs + signs * group_averages(g * signs, "3x2")
    )


@LAYERS
@pytest.mark.parametrize("scale", GRIDS)
def test_the_scale_gradient_equals_finite_differences(make, shape, scale):
    layer = make(scale)
    x = torch.randn(shape, dtype=torch.float64)
    weight = layer.weight.data
    # Beyond ±1 no gradient passes the sign, so only the scale sees a change of the weight.
    weight.copy_(torch.where(weight >= 0, 1.25, -1.25))
    layer(x).square().sum().backward()
    step = 1e-6
    for entry in (0, weight.numel() // 2 + 1, weight.numel() - 1):  # the last one in ragged groups
        values = []
        for change in (step, -step):
            weight.view(-1)[entry] += change
            values.append(layer(x).square().sum().item())
            weight.view(-1)[entry] -= change
        slope = (values[0] - values[1]) / (2 * step)
        assert layer.weight.grad.view(-1)[entry].item() == pytest.approx(slope, rel=1e-5)


def test_weights_of_zero_count_as_positive_in_their_gradient_too():
    layer = convolution("OxI")
    layer.weight.data.zero_()
    x = torch.randn(2, 5, 6, 6, dtype=torch.float64)
    layer(x).sum().backward()
    ones = torch.ones_like(layer.weight, requires_grad=True)
    layer.multiply(signs_of(x), ones).sum().backward()
    assert torch.allclose(layer.weight.grad, ones.grad.mean().expand_as(ones))


def test_clamped_weights_stay_within_one():
    network = nn.Sequential(convolution("4xI"), nn.Conv2d(12, 5, 3).double(), convolution("OxI"))
    nn.init.uniform_(network[1].weight, -3, 3)
    clamp_weights(network)
    assert network[0].weight.abs().max() == network[2].weight.abs().max() == 1
    assert network[1].weight.abs().max() > 1  # a float layer is left alone


# --- In place of PyTorch's layers ------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Using padding='same'")  # that it may copy the input
@pytest.mark.parametrize(
    "geometry",
    [
        {},
        {"stride": 2, "padding": 1},
        {"kernel_size": (3, 2), "stride": (1, 2), "padding": (2, 0), "dilation": (1, 2)},
        {"kernel_size": 4, "padding": "same", "dilation": (3, 1)},
        {"padding": "valid", "groups": 2, "bias": False},
        {"padding": 1, "padding_mode": "reflect"},
        {"kernel_size": 2, "padding": "same", "padding_mode": "circular"},
    ],
)
def test_a_convolution_of_weights_that_are_scaled_signs_stays_the_same(geometry):
    geometry = {"kernel_size": 3, **geometry}
    theirs = nn.Conv2d(6, 8, **geometry)
    theirs.weight.data = signs_of(theirs.weight) * torch.rand(8, 1, 1, 1)
    ours = BinaryConv2d(6, 8, **geometry, mode="bwn")
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 6, 9, 8)
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours(x[0]), theirs(x[0]))  # one image without a batch axis
    signs = signs_of(x)
    binary = BinaryConv2d(6, 8, **geometry, mode="xnor")
    binary.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(binary(x), theirs(signs))


def test_a_linear_layer_of_weights_that_are_scaled_signs_stays_the_same():
    theirs = nn.Linear(6, 8)
    theirs.weight.data = signs_of(theirs.weight) * torch.rand(8, 1)
    x = torch.randn(4, 3, 6)
    for mode, activations in (("bwn", x), ("xnor", signs_of(x))):
        ours = BinaryLinear(6, 8, mode=mode)
        ours.load_state_dict(theirs.state_dict())
        torch.testing.assert_close(ours(x), theirs(activations))


@pytest.mark.parametrize(("ours", "theirs"), [(BinaryConv2d, nn.Conv2d), (BinaryLinear, nn.Linear)])
def test_a_layer_takes_the_arguments_of_its_namesake_in_their_order(ours, theirs):
    expected = list(inspect.signature(theirs).parameters)
    assert list(inspect.signature(ours).parameters)[: len(expected)] == expected


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("scale", ["4xI", "1x2"])
def test_a_layer_computes_in_the_type_it_was_made_in(dtype, scale):
    for activation_scale in ("none", "map", "constant"):
        options = {"scale": scale, "activation_scale": activation_scale, "dtype": dtype}
        x = torch.randn(2, 5, 6, 6, dtype=dtype)
        assert BinaryConv2d(5, 12, 3, **options)(x).dtype == dtype
        assert BinaryLinear(6, 4, **options)(x).dtype == dtype


@pytest.mark.parametrize("scale", ["16xI", "OxI"])
def test_scales_of_float16_are_those_of_float32(scale):
    layer = BinaryConv2d(256, 256, 3, scale=scale)
    expected = layer.scales()
    torch.testing.assert_close(layer.half().scales().float(), expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize("activation_scale", ["none", "map", "constant"])
def test_autocast_gives_the_type_that_pytorchs_layers_give(activation_scale):
    layers = (
        BinaryConv2d(3, 4, 3, activation_scale=activation_scale),
        BinaryLinear(6, 4, activation_scale=activation_scale),
    )
    with torch.autocast("cpu", torch.bfloat16):
        assert all(layer(torch.randn(2, 3, 6, 6)).dtype == torch.bfloat16 for layer in layers)


def test_weights_of_a_float_layer_can_be_loaded_into_one_with_a_constant():
    layer, source = BinaryConv2d(3, 4, 3, activation_scale="constant"), torch.nn.Conv2d(3, 4, 3)
    layer.load_state_dict(source.state_dict())
    assert torch.equal(layer.weight, source.weight)
    assert layer.activation_mean == 1


def test_an_empty_batch_leaves_the_constant_as_it_is():
    layer = BinaryConv2d(3, 4, 3, activation_scale="constant").train()
    layer(torch.empty(0, 3, 6, 6))
    assert layer.activation_mean == 1


def test_a_sign_is_made_in_the_type_asked_for():
    assert BinarySign(3, device="cpu", dtype=torch.float64).threshold.dtype == torch.float64


def test_a_copied_or_restored_layer_computes_the_same():
    layer = convolution("5x2", activation_scale="constant")
    x = torch.randn(2, 5, 6, 6, dtype=torch.float64)
    layer(x)  # moves the running mean
    layer.eval()
    restored = convolution("5x2", activation_scale="constant").eval()
    restored.load_state_dict(layer.state_dict())
    assert torch.equal(restored(x), layer(x))
    assert torch.equal(copy.deepcopy(layer)(x), layer(x))


def test_a_layer_shows_what_it_shares():
    layer = BinaryConv2d(5, 12, 3, scale="4xI", activation_scale="map")
    assert "kernel_size=(3, 3)" in repr(layer)
    assert "mode=xnor, scale=4xI, activation_scale=map" in repr(layer)
    assert repr(BinaryLinear(5, 12, mode="bwn")).endswith("mode=bwn, scale=1xI)")


# --- Activation scales -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "geometry",
    [
        {"kernel_size": 3},
        {"kernel_size": (2, 3), "stride": (2, 1), "padding": (0, 1), "dilation": (2, 1)},
        {"kernel_size": 3, "padding": 1, "groups": 3},
    ],
)
def test_the_map_of_activation_scales_is_the_operators(geometry):
    layer = BinaryConv2d(6, 9, activation_scale="map", **geometry)
    plain = BinaryConv2d(6, 9, **geometry)
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(2, 6, 8, 7)
    operator = ActivationScaleMap(geometry.pop("kernel_size"), **geometry)
    k = torch.from_numpy(operator.reference(x.permute(0, 2, 3, 1).numpy())).permute(0, 3, 1, 2)
    k = k.repeat_interleave(9 // layer.groups, dim=1)
    unbiased = plain(x) - layer.bias.view(-1, 1, 1)
    torch.testing.assert_close(layer(x), unbiased * k + layer.bias.view(-1, 1, 1))


def test_the_map_of_a_linear_layer_is_the_mean_magnitude_of_each_row():
    layer = BinaryLinear(6, 9, activation_scale="map", bias=False)
    plain = BinaryLinear(6, 9, bias=False)
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(4, 6)
    torch.testing.assert_close(layer(x), plain(x) * x.abs().mean(1, keepdim=True))


def test_the_constant_is_the_batchs_in_training_and_its_running_mean_after():
    layer = BinaryConv2d(6, 9, 3, activation_scale="constant", bias=False)
    plain = BinaryConv2d(6, 9, 3, bias=False)
    plain.weight = layer.weight
    running = 1.0
    for _ in range(3):
        x = torch.randn(2, 6, 8, 7) * 3
        mean = x.abs().mean()
        torch.testing.assert_close(layer(x), plain(x) * mean)
        running = 0.9 * running + 0.1 * mean
    torch.testing.assert_close(layer.eval()(x), plain(x) * running)
    torch.testing.assert_close(layer.activation_mean, running)


# --- Refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "float"}, "mode takes 'xnor' or 'bwn', found 'float'"),
        ({"activation_scale": "K"}, "activation_scale takes 'none' or 'map' or 'constant'"),
        ({"mode": "bwn", "activation_scale": "map"}, "activations of mode 'bwn' are floats"),
        ({"scale": "16"}, "such as 16xI, .* found '16'"),
        ({"scale": 16}, "scale takes a text such as '16xI', found 16"),
    ],
)
def test_arguments_that_are_none_of_the_known_are_refused(options, message):
    with pytest.raises(BitconvError, match=message):
        BinaryConv2d(5, 12, 3, **options)
    with pytest.raises(BitconvError, match=message):
        BinaryLinear(5, 12, **options)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")  # as PyTorch's do
def test_a_layer_without_weights_is_refused():
    with pytest.raises(BitconvError, match=r"needs weights, found the shape \(0, 5, 3, 3\)"):
        BinaryConv2d(5, 0, 3)
    with pytest.raises(BitconvError, match=r"needs weights, found the shape \(0, 5\)"):
        BinaryLinear(5, 0)
