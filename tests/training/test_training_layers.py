import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch")

from torch.nn import functional  # noqa: E402  # after the check for torch

from bitconv.scales import ScaleGrid  # noqa: E402  # as above
from bitconv.training.layers import BinaryConv2d, BinarySign  # noqa: E402  # as above


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(7)


def layer_of(filters_per_scale, **geometry):
    layer = BinaryConv2d(5, 12, 3, filters_per_scale=filters_per_scale, **geometry).double()
    torch.nn.init.uniform_(layer.weight, -1.5, 1.5)  # some beyond where the gradient passes
    return layer


def test_a_sign_is_one_exactly_where_its_input_reaches_the_threshold():
    sign = BinarySign(3)
    sign.threshold.data = torch.tensor([0.0, 0.5, -0.25])
    below = torch.nextafter(sign.threshold.data, torch.tensor(-10.0))
    x = torch.stack((sign.threshold.data, below, torch.tensor([-0.0, 3.0, -3.0])))
    result = sign(x.reshape(3, 3, 1, 1)).reshape(3, 3)
    assert result.tolist() == [[1, 1, 1], [-1, -1, -1], [1, 1, -1]]


def test_signs_are_exact_for_any_input():
    x = torch.randn(4, 8, 50, 50) * torch.logspace(-9, 3, 50)
    assert set(BinarySign(8)(x).unique().tolist()) == {-1.0, 1.0}


def test_the_gradient_of_a_sign_is_that_of_a_parabola_within_one():
    sign = BinarySign(1).double()
    sign.threshold.data.fill_(0.3)
    x = torch.linspace(-2, 2, 101, dtype=torch.float64).view(1, 1, 1, -1).requires_grad_()
    sign(x).sum().backward()
    z = (x - 0.3).detach()
    expected = torch.where(z.abs() <= 1, 2 - 2 * z.abs(), 0.0)
    assert torch.allclose(x.grad, expected)
    assert torch.allclose(sign.threshold.grad, -expected.sum())


@pytest.mark.parametrize("filters_per_scale", [1, 4, 5, 12, 20])
def test_filters_of_a_group_share_the_mean_magnitude(filters_per_scale):
    layer = layer_of(filters_per_scale)
    weight = layer.weight.detach().numpy().transpose(0, 2, 3, 1)
    # The layer takes the mean of the filters' means, which are of equal size.
    expected = ScaleGrid.from_weight(weight, filters_per_scale).by_filter(12)[:, 0]
    np.testing.assert_allclose(layer.filter_scales().detach().numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("geometry", [{}, {"stride": 2, "padding": 1}])
def test_a_binary_convolution_is_one_with_scaled_signs(geometry):
    layer = layer_of(4, **geometry)
    x = torch.randn(2, 5, 9, 8, dtype=torch.float64)
    signs = torch.where(layer.weight >= 0, 1.0, -1.0)
    scaled = layer.filter_scales().view(-1, 1, 1, 1) * signs
    expected = functional.conv2d(x, scaled, **geometry)
    assert torch.allclose(layer(x), expected)


@pytest.mark.parametrize("filters_per_scale", [1, 4, 5, 12])
def test_the_weight_gradient_is_exact_for_the_group_mean(filters_per_scale):
    layer = layer_of(filters_per_scale, stride=2, padding=1)
    x = torch.randn(3, 5, 9, 9, dtype=torch.float64)
    readout = torch.randn_like(layer(x))
    (layer(x) * readout).sum().backward()

    signs = torch.where(layer.weight.detach() >= 0, 1.0, -1.0)
    scales = layer.filter_scales().detach().view(-1, 1, 1, 1)
    scaled = (scales * signs).requires_grad_()  # the weight W̃ that the convolution sees
    (functional.conv2d(x, scaled, stride=2, padding=1) * readout).sum().backward()
    g = scaled.grad
    expected = scales * (layer.weight.detach().abs() <= 1) * g
    for group in torch.arange(12).split(filters_per_scale):
        expected[group] += signs[group] * (g[group] * signs[group]).mean()
    assert torch.allclose(layer.weight.grad, expected)


def test_the_scale_gradient_equals_finite_differences():
    layer = layer_of(4)
    x = torch.randn(2, 5, 6, 6, dtype=torch.float64)
    weight = layer.weight.data
    # Beyond ±1 no gradient passes the sign, so only the scale sees a change of the weight.
    weight.copy_(torch.where(weight >= 0, 1.25, -1.25))
    layer(x).square().sum().backward()
    step = 1e-6
    for index in [(0, 0, 0, 0), (5, 4, 2, 1), (11, 2, 1, 0)]:
        values = []
        for change in (step, -step):
            weight[index] += change
            values.append(layer(x).square().sum().item())
            weight[index] -= change
        slope = (values[0] - values[1]) / (2 * step)
        assert layer.weight.grad[index].item() == pytest.approx(slope, rel=1e-5)


def test_clamped_weights_stay_within_one():
    layer = layer_of(4)
    layer.clamp_weight()
    assert layer.weight.abs().max() == 1
