import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="export needs PyTorch")

from torch import nn
from torch.nn import functional
from torch_modules import (
    IMAGES,
    NORMALIZATION,
    Calls,
    Network,
    as_trained,
    floats,
    in_pytorch,
    reference,
)

from bitconv.errors import BitconvError, GraphError, UnsupportedError
from bitconv.operators import BinaryConv2d as BinaryConv2dOperator
from bitconv.operators import Sign
from bitconv.training import (
    BinaryConv2d,
    BinaryLinear,
    BinarySign,
    to_graph,
)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(5)


@pytest.fixture
def network():
    return as_trained(Network())


def means(x):
    return x.mean((2, 3))


def expect_equal(module, images):
    """The graph of the module computes what PyTorch does."""
    graph = to_graph(as_trained(module), images.shape[1:])
    expected = in_pytorch(module, images)
    result = reference(graph, images)
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)
    return [node.operator.name for node in graph.nodes]


# --- Whole networks --------------------------------------------------------------------------


def test_a_graph_computes_what_pytorch_does(network):
    graph = to_graph(network, IMAGES.shape[1:], normalization=NORMALIZATION)
    expected = in_pytorch(network, NORMALIZATION.reference(IMAGES))
    np.testing.assert_allclose(reference(graph, IMAGES), expected, atol=1e-5)


def test_nodes_are_named_after_their_place_in_the_module(network):
    names = [node.name for node in to_graph(network, IMAGES.shape[1:]).nodes]
    assert names[:4] == ["stem", "norm", "relu", "blocks_0_shrink"]
    assert "blocks_1_convolution" in names
    assert "blocks_1_add" in names
    assert names[-2:] == ["global_avg_pool2d", "classifier"]


def test_without_normalization_the_graph_takes_floats(network):
    assert to_graph(network, (13, 11, 3)).inputs["image"].kind == "float32"


def test_the_module_is_not_changed(network):
    network.double().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    to_graph(network, IMAGES.shape[1:])
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_layer_called_twice_becomes_two_nodes():
    shared = nn.PReLU()
    graph = to_graph(nn.Sequential(shared, shared), (8, 8, 3))
    assert [node.name for node in graph.nodes] == ["0", "0_2"]


def test_a_module_that_is_one_layer_is_taken_too():
    assert expect_equal(nn.Conv2d(3, 4, 3), floats(2, 5, 5, 3)) == ["conv2d"]
    assert expect_equal(nn.ReLU(), floats(2, 5, 5, 3)) == ["relu"]


# --- Binary layers ---------------------------------------------------------------------------


def test_a_layer_takes_the_signs_of_its_input_before_it():
    names = [n.name for n in to_graph(nn.Sequential(BinaryConv2d(3, 8, 3)), (8, 8, 3)).nodes]
    assert names == ["0_sign", "0"]


def test_signs_are_not_taken_twice():
    module = nn.Sequential(BinarySign(3), nn.MaxPool2d(2), BinaryConv2d(3, 8, 3))
    graph = to_graph(module, (8, 8, 3))
    assert [node.name for node in graph.nodes] == ["0", "1", "2"]
    expect_equal(module, floats(2, 8, 8, 3))


def test_what_shares_a_scale_stores_it_once():
    module = nn.Sequential(
        BinaryConv2d(6, 10, 3, scale="3xI"),
        BinaryConv2d(10, 20, 3, scale="OxI"),
        BinaryConv2d(20, 7, 1, groups=1, scale="20x8"),
    )
    nodes = to_graph(module, (8, 8, 6)).nodes
    grids = [n.operator.scale for n in nodes if isinstance(n.operator, BinaryConv2dOperator)]
    assert [grid.values.shape for grid in grids] == [(4, 1), (1, 1), (1, 3)]


@pytest.mark.parametrize("activation_scale", ["none", "map", "constant"])
@pytest.mark.parametrize("scale", ["1xI", "4xI", "OxI", "1x1", "3x2"])
def test_signs_times_signs_become_what_pytorch_computes(scale, activation_scale):
    options = {"scale": scale, "activation_scale": activation_scale}
    module = nn.Sequential(
        BinaryConv2d(6, 8, (3, 2), 2, (1, 0), (1, 2), 2, **options),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        BinaryLinear(8, 5, **options),
    )
    if activation_scale == "constant":
        module[0].activation_mean.fill_(0.7)
        module[3].activation_mean.fill_(1.6)
    expect_equal(module, floats(3, 9, 8, 6))


@pytest.mark.parametrize("scale", ["1xI", "4xI", "OxI", "1x1", "3x2"])
def test_numbers_times_signs_become_what_pytorch_computes(scale):
    module = nn.Sequential(
        BinaryConv2d(6, 8, (3, 2), 2, (1, 0), (1, 2), 2, mode="bwn", scale=scale),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        BinaryLinear(8, 5, mode="bwn", scale=scale),
    )
    names = expect_equal(module, floats(3, 9, 8, 6))
    assert Sign.name not in names


@pytest.mark.filterwarnings("ignore:Using padding='same'")  # that it may copy the input
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("make", [nn.Conv2d, BinaryConv2d])
def test_padding_by_name_is_pytorchs(make, padding):
    """With an even kernel there is one more at the end."""
    module = nn.Sequential(make(3, 4, (4, 3), padding=padding, dilation=(1, 2)))
    expect_equal(module, floats(2, 9, 8, 3))


# --- Other layers ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layer",
    [
        nn.AdaptiveAvgPool2d((2, 3)),
        nn.AdaptiveMaxPool2d((None, 1)),
        nn.AvgPool2d((2, 3), stride=1, padding=1, count_include_pad=False),
        nn.BatchNorm2d(3),
        nn.ConstantPad2d((1, 0, 2, 3), -0.5),
        nn.Dropout(),
        nn.Dropout2d(),
        nn.Hardtanh(-0.25, 0.75),
        nn.Identity(),
        nn.LeakyReLU(0.2, inplace=True),
        nn.MaxPool2d(3, 2, 1),
        nn.PReLU(3),
        nn.ReLU6(),
        nn.Softmax(dim=1),
        nn.ZeroPad2d(1),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_a_usual_layer_becomes_what_pytorch_computes(layer):
    expect_equal(nn.Sequential(nn.Conv2d(3, 3, 1), layer), 3 * floats(2, 8, 9, 3))


def test_layers_after_a_linear_one_take_its_vectors():
    module = nn.Sequential(
        nn.Flatten(),
        nn.Linear(36, 8),
        nn.BatchNorm1d(8),
        nn.Hardtanh(),
        BinarySign(8),
        BinaryLinear(8, 6, scale="4xI"),
        nn.BatchNorm1d(6),
        nn.PReLU(6),
        nn.Softmax(dim=-1),
    )
    expect_equal(module, floats(5, 3, 4, 3))


def test_a_flattened_map_keeps_pytorchs_order():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 5 * 6, 3))
    expect_equal(module, floats(2, 7, 8, 3))


def test_a_flattened_pixel_is_not_transposed():
    module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    assert expect_equal(module, floats(2, 7, 8, 3)) == ["avg_pool2d", "flatten", "dense"]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: functional.max_pool2d(x, 2, padding=1),
        lambda x: functional.avg_pool2d(x, x.shape[2:]),
        lambda x: functional.adaptive_avg_pool2d(x, 1),
        lambda x: functional.pad(x[:, :, ::2, 1:-1], (0, 0, 0, 0, 1, 2)),
        lambda x: functional.pad(x, [1, 2], value=1.5),
        lambda x: functional.relu6(x),
        lambda x: functional.hardtanh(x, -0.5, 0.5),
        lambda x: functional.leaky_relu(x, 0.3),
        lambda x: functional.dropout(torch.relu(x), training=False),
        lambda x: functional.softmax(x, dim=1),
        lambda x: x.clamp(max=0.5),
        lambda x: torch.clamp(x, -0.1, 0.2),
        lambda x: torch.cat([x, x.contiguous()], -3) + 0.5 * torch.cat([x, x], 1),
        lambda x, gain: x * gain,
        lambda x, gain: gain.abs().view(1, -1, 1, 1) * x,
        lambda x: x.view(x.size(0), -1),
        lambda x: x.reshape(-1, 3 * 8 * 9),
        lambda x: torch.flatten(x.reshape((x.shape[0], -1)), 1),
        lambda x: x.mean((2, 3), keepdim=True),
        lambda x: x.mean([-1, -2]),
        lambda x: x + 0.25,
        lambda x: 2 - x,
        lambda x: -x - 1.5,
        lambda x: x - x * 3,
        lambda x: x / 3,
        lambda x, gain: x.sub(gain) / (gain + 3),
        lambda x, gain: gain + x,
        lambda x: torch.concat([x, x * 2], 1),
        lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
        lambda x: torch.chunk(x, 3, 1)[-1],
        lambda x: x.mul(2).relu_().add_(x),
        lambda x: functional.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(-1),
        lambda x: torch.squeeze(functional.adaptive_avg_pool2d(x, 1), (2, 3)),
        lambda x: x.squeeze(2) * 2,
        lambda x: functional.adaptive_avg_pool2d(x, 1)[:, :, 0, 0],
        lambda x: x[:, :, -1],
        lambda x: x[:, 1:, :, 2],
    ],
)
def test_a_function_becomes_what_pytorch_computes(function):
    expect_equal(nn.Sequential(nn.Identity(), Calls(function)), floats(2, 8, 9, 3))


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Conv2d(3, 4, 3)],
        [nn.BatchNorm2d(3), nn.PReLU(3)],
        [nn.AvgPool2d(2)],
        [nn.Flatten(), nn.Linear(3 * 8 * 9, 4)],
        [nn.Flatten(), BinarySign(3 * 8 * 9)],
        [Calls(lambda x: torch.cat([x, x * 2, x], 1) + 1)],
        [Calls(lambda x: x[:, :, 0]), Calls(lambda x: x * 3)],
        [BinaryConv2d(3, 4, 3, mode="bwn"), BinarySign(4), BinaryConv2d(4, 5, 3)],
    ],
)
def test_signs_are_numbers_to_layers_that_take_numbers(layers):
    expect_equal(nn.Sequential(BinarySign(3), *layers), floats(2, 8, 9, 3))


@pytest.mark.parametrize("wrap", [torch.compile, nn.DataParallel])
def test_a_wrapped_module_is_what_is_inside(wrap):
    module = nn.Sequential(nn.Conv2d(3, 4, 3), wrap(nn.Sequential(nn.PReLU(4), nn.ReLU())))
    names = [node.name for node in to_graph(wrap(module), (8, 8, 3)).nodes]
    assert names == ["0", "1_0", "1_1"]


# --- Refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((nn.Conv2d(3, 4, 1), nn.GELU()), r"1 \(GELU\): no operator for this layer; known are"),
        ((nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"),), "mode 'reflect'"),
        ((BinaryConv2d(3, 4, 3, padding=1, padding_mode="circular"),), "mode 'circular'"),
        ((nn.BatchNorm2d(3, track_running_stats=False),), r"0 \(BatchNorm2d\): .*batch"),
        ((nn.AvgPool2d(3, ceil_mode=True),), "ceil_mode"),
        ((nn.MaxPool2d(3, dilation=2),), r"0 \(MaxPool2d\): max_pool2d: .*dilation"),
        ((nn.AdaptiveAvgPool2d(3),), "8 × 8 pixels do not divide into 3"),
        ((nn.AdaptiveAvgPool2d(0),), "8 × 8 pixels do not divide into 0"),
        ((nn.Softmax(dim=2),), "takes dim=1, the channels, found dim=2"),
        ((nn.BatchNorm1d(3),), r"0 \(BatchNorm1d\): takes vectors, found 8 × 8 × 3"),
        ((nn.Flatten(), nn.BatchNorm2d(192)), r"1 \(BatchNorm2d\): takes maps, found 192"),
        (
            (BinarySign(3), BinaryConv2d(3, 4, 3, activation_scale="map")),
            r"1 \(BinaryConv2d\): .*the input is signs already",
        ),
    ],
)
def test_a_layer_without_operator_is_refused_with_its_place(layers, message):
    with pytest.raises(UnsupportedError, match=message):
        to_graph(nn.Sequential(*layers), (8, 8, 3))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: functional.interpolate(x, scale_factor=2), r"inner \(Calls\): interpolate"),
        (lambda x: x.view(-1), r"inner \(Calls\): view: takes \(batch, -1\)"),
        (lambda x: x.view(x.shape[0], 3, -1), r"view: .*found \['batch', 3, -1\]"),
        (lambda x: x.view(x.shape[0] * 2, -1), r"inner \(Calls\): mul"),
        (lambda x, gain: x + gain.view(1, 1, 1, -1), r"add: .*shape \(1, 1, 1, 3\)"),
        (lambda x: 1 / x, "truediv: takes a map over a number"),
        (lambda x: x.chunk(2, 2)[0], "chunk: takes dim=1"),
        (lambda x: x.squeeze(), "squeeze: takes axes of the map"),
        (lambda x: x[:, 0], "getitem: takes slices"),
        (lambda x: x[:, :, 8], r"getitem: .*lies outside of \(3, 8, 8\)"),
        (lambda x: x.relu_() + x, "relu_: works in place"),
        (lambda x: x * x, "mul: .*found two maps"),
        (lambda x, gain: x * gain.view(1, 1, 1, -1), r"mul: .*shape \(1, 1, 1, 3\)"),
        (lambda x: torch.add(x, x, alpha=2), "add: .*alpha"),
        (lambda x: torch.cat([x, x], 2), "cat: takes dim=1"),
        (lambda x, gain: torch.cat([gain, x], 1), "cat: takes a value of the image"),
        (lambda x: x.mean((1, 2)), r"mean: takes dim=\(2, 3\)"),
        (lambda x: torch.flatten(x), "flatten: takes everything after the batch"),
        (lambda x: x[0], "getitem: takes slices"),
        (lambda x: x.dtype, "getattr: .dtype is not known"),
        (lambda x: functional.pad(x, (1, 1), mode="reflect"), "pad: takes mode 'constant'"),
        (lambda x: functional.dropout(x), "dropout: works in evaluation mode too"),
        (lambda x: functional.relu(x, inplace=True) + x, "in place"),
        (lambda x: functional.hardtanh(x, -1, 1, True) + x, "in place"),
        (lambda x: x if x.sum() > 0 else -x, "cannot be traced"),
        (lambda x: x.shape, "the module returns .*, expected one tensor"),
        (lambda x: {}[x], "cannot be traced"),
        (lambda x: x.view(x.shape[7], -1), r"inner \(Calls\): getitem: tuple index out of range"),
        (lambda x: x * 10**400, r"inner \(Calls\): mul: int too large"),
        (lambda x, gain: x * gain.view(7), r"inner \(Calls\): view: .*size 3"),
        (lambda x, gain: x * gain.real_part, r"inner \(Calls\): getattr: .*'real_part'"),
    ],
)
def test_a_call_without_operator_is_refused_with_its_place(function, message):
    outer = nn.Sequential()
    outer.add_module("inner", Calls(function))
    with pytest.raises(UnsupportedError, match=message):
        to_graph(outer, (8, 8, 3))


def test_a_call_in_no_inner_module_is_refused_with_the_name_of_the_module():
    with pytest.raises(UnsupportedError, match=r"the module itself \(Calls\): view: takes"):
        to_graph(Calls(lambda x: x.view(-1)), (8, 8, 3))


def test_a_function_is_refused_with_its_type():
    with pytest.raises(UnsupportedError, match=r"takes a torch.nn.Module, found function"):
        to_graph(means, (8, 8, 3))


def test_a_module_that_keeps_the_value_of_a_call_is_refused():
    module = nn.Sequential(nn.Conv2d(3, 4, 1))
    module.last = module(torch.zeros(1, 3, 8, 8))
    with pytest.raises(UnsupportedError, match=r"Sequential cannot be copied: .*deepcopy"):
        to_graph(module, (8, 8, 3))


def test_parameters_that_are_no_numbers_are_refused_with_their_place():
    module = nn.Sequential(BinaryConv2d(3, 4, 3), nn.Conv2d(4, 4, 1))
    module[0].weight.data[1, 2, 0, 0] = float("nan")
    with pytest.raises(GraphError, match=r"0 \(BinaryConv2d\): .*NaN"):
        to_graph(module, (8, 8, 3))


def test_a_layer_that_does_not_fit_its_input_is_refused_with_its_place():
    with pytest.raises(GraphError, match=r"1 \(Linear\): node '1' \(dense\): takes a vector"):
        to_graph(nn.Sequential(nn.ReLU(), nn.Linear(3, 2)), (8, 8, 3))


def test_a_layer_derived_from_a_known_one_is_not_taken_for_it():
    class Centred(nn.Conv2d):
        def forward(self, x):
            return functional.conv2d(x, self.weight - self.weight.mean(), self.bias)

    class Scaled(BinaryConv2d):
        def binary_weight(self):
            return 2 * super().binary_weight()

    for layer in (Centred(3, 4, 3), Scaled(3, 4, 3)):
        with pytest.raises(UnsupportedError, match="no operator for this layer"):
            to_graph(nn.Sequential(layer), (8, 8, 3))


def test_a_module_of_several_inputs_is_refused():
    class Two(nn.Module):
        def forward(self, x, y):
            return x + y

    with pytest.raises(BitconvError, match="several inputs"):
        to_graph(Two(), (8, 8, 3))
