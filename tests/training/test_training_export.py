import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="export needs PyTorch")

from torch import nn  # noqa: E402  # after the check for torch
from torch.nn import functional  # noqa: E402  # as above

from bitconv.errors import GraphError, UnsupportedError  # noqa: E402  # as above
from bitconv.file import read  # noqa: E402  # as above
from bitconv.graph import Metadata  # noqa: E402  # as above
from bitconv.operators import BinaryConv2d as BinaryConv2dOperator  # noqa: E402  # as above
from bitconv.operators import Normalize  # noqa: E402  # as above
from bitconv.training import BinaryConv2d, BinarySign, export, to_graph  # noqa: E402  # as above

IMAGES = np.random.default_rng(3).integers(0, 256, (6, 13, 11, 3), dtype=np.uint8)
NORMALIZATION = Normalize(np.array([120.0, 110, 100]), np.array([60.0, 65, 70]))


class Block(nn.Module):
    """A residual block with everything that the export knows."""

    def __init__(self, channels):
        super().__init__()
        self.sign = BinarySign(channels)
        self.convolution = BinaryConv2d(
            channels, 2 * channels, 3, stride=2, padding=1, filters_per_scale=3
        )
        self.norm = nn.BatchNorm2d(2 * channels)
        self.shrink = nn.AvgPool2d(3, 2, 1)
        self.activation = nn.PReLU(2 * channels)

    def forward(self, x):
        shortcut = self.shrink(x)
        y = self.norm(self.convolution(self.sign(x)))
        return self.activation(torch.cat([shortcut, shortcut], 1) + y)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 5, (3, 2), padding=(1, 0), dilation=(1, 2))
        self.norm = nn.BatchNorm2d(5, affine=False)
        self.relu = nn.ReLU(inplace=True)
        self.blocks = nn.Sequential(Block(5), Block(10))
        self.classifier = nn.Linear(20, 4)

    def forward(self, x):
        return self.classifier(self.blocks(self.relu(self.norm(self.stem(x)))).mean((2, 3)))


@pytest.fixture
def network():
    """With batch statistics, slopes and thresholds as training would leave them: all different."""
    torch.manual_seed(5)
    network = Network()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -1, 1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            if module.affine:
                nn.init.uniform_(module.weight, -1, 1)
                nn.init.uniform_(module.bias, -1, 1)
        elif isinstance(module, BinarySign):
            nn.init.uniform_(module.threshold, -0.5, 0.5)
        elif isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, -0.5, 0.5)
    return network


def reference(graph, images):
    values = {"image": images}
    for node in graph.nodes:
        values[node.name] = node.operator.reference(*(values[name] for name in node.inputs))
    return values[graph.outputs[0]]


def in_pytorch(module, images):
    with torch.no_grad():
        batch = torch.from_numpy(images.astype(np.float32)).permute(0, 3, 1, 2)
        return module.eval()(batch).numpy()


def as_graph(module, shape=(8, 8, 3)):
    return to_graph(module, shape)


def test_an_exported_graph_computes_what_pytorch_does(network):
    graph = to_graph(network, IMAGES.shape[1:], normalization=NORMALIZATION)
    normalized = NORMALIZATION.reference(IMAGES)
    expected = in_pytorch(network, normalized)
    np.testing.assert_allclose(reference(graph, IMAGES), expected, atol=1e-5)


def test_nodes_are_named_after_their_place_in_the_module(network):
    names = [node.name for node in to_graph(network, IMAGES.shape[1:]).nodes]
    assert names[:4] == ["stem", "norm", "relu", "blocks_0_shrink"]
    assert "blocks_1_convolution" in names
    assert "blocks_1_add" in names
    assert names[-2:] == ["global_avg_pool2d", "classifier"]


def test_without_normalization_the_graph_takes_floats(network):
    assert to_graph(network, (13, 11, 3)).inputs["image"].kind == "float32"


def test_filters_that_share_a_scale_store_it_once(network):
    graph = to_graph(network, IMAGES.shape[1:])
    (first, second) = (
        n.operator for n in graph.nodes if isinstance(n.operator, BinaryConv2dOperator)
    )
    assert first.scale.values.shape == (4, 1)  # 10 filters by 3
    assert second.scale.values.shape == (7, 1)  # 20 filters by 3


def test_exporting_does_not_change_the_module(network):
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    to_graph(network, IMAGES.shape[1:])
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_an_export_is_the_file_of_its_graph(network, tmp_path):
    metadata = Metadata(name="tiny", labels=("a", "b", "c", "d"))
    agreement = export(
        network, tmp_path / "tiny.h5", IMAGES, normalization=NORMALIZATION, metadata=metadata
    )
    assert agreement.images == agreement.same_labels == len(IMAGES)
    graph = read(tmp_path / "tiny.h5")
    assert graph.metadata.labels == metadata.labels
    expected = to_graph(network, IMAGES.shape[1:], normalization=NORMALIZATION)
    np.testing.assert_array_equal(reference(graph, IMAGES), reference(expected, IMAGES))


class Mean(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


def test_a_layer_that_differs_from_pytorch_is_named_and_nothing_is_written(tmp_path):
    module = nn.Sequential(BinarySign(3), BinaryConv2d(3, 8, 3))
    module[1].register_forward_hook(lambda _module, _inputs, result: result / 2)
    images = np.random.default_rng(1).standard_normal((2, 6, 6, 3)).astype(np.float32)
    with pytest.raises(GraphError, match=r"node '1' \(binary_conv2d\): .* sums of signs"):
        export(module, tmp_path / "wrong.h5", images)
    assert not list(tmp_path.iterdir())


def test_a_label_that_a_sign_at_its_threshold_decides_is_traced_to_it(tmp_path):
    """Batch norm rounds differently here and in PyTorch: the threshold is put between the two."""
    norm = nn.BatchNorm2d(1)
    norm.running_mean.fill_(0.3)
    norm.running_var.fill_(1.7)
    x = np.random.default_rng(1).standard_normal((1000, 1, 1, 1)).astype(np.float32)
    ours = reference(as_graph(nn.Sequential(norm), (1, 1, 1)), x)
    theirs = in_pytorch(norm, x).reshape(ours.shape)
    image = np.flatnonzero(ours < theirs)[:1]

    sign, binary = BinarySign(1), BinaryConv2d(1, 2, 1)
    sign.threshold.data.fill_(theirs[image].item())
    binary.weight.data = torch.tensor([0.5, -0.5]).view(2, 1, 1, 1)
    agreement = export(nn.Sequential(norm, sign, binary, Mean()), tmp_path / "it.h5", x[image])
    assert agreement.same_labels == 0
    assert "1 sign(s) of '1' within" in agreement.traced[0]


def test_labels_of_scores_that_rounding_orders_are_traced_to_them(tmp_path):
    """Two classes add the same numbers in another order; exact sums would tie."""
    generator = np.random.default_rng(1)
    weight = generator.standard_normal(64).astype(np.float32)
    linear = nn.Linear(64, 2, bias=False)
    linear.weight.data = torch.from_numpy(np.stack((weight, generator.permutation(weight))))
    images = np.repeat(generator.random((50, 1, 1, 1)), 64, axis=3).astype(np.float32)
    agreement = export(nn.Sequential(Mean(), linear), tmp_path / "it.h5", images)
    assert 0 < agreement.same_labels < len(images)
    assert all("the scores of 1 and 0 are within" in line for line in agreement.traced)


def test_a_flattened_map_keeps_pytorchs_order():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 5 * 6, 3))
    images = np.random.default_rng(1).standard_normal((2, 7, 8, 3)).astype(np.float32)
    graph = as_graph(module, (7, 8, 3))
    np.testing.assert_allclose(reference(graph, images), in_pytorch(module, images), atol=1e-5)


def test_a_layer_called_twice_becomes_two_nodes():
    shared = nn.PReLU()
    graph = as_graph(nn.Sequential(shared, shared))
    assert [node.name for node in graph.nodes] == ["0", "0_2"]


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.GELU()), r"1 \(GELU\): no operator"),
        (nn.Conv2d(3, 4, 3, padding="same"), "padding 'same'"),
        (nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), "mode 'reflect'"),
        (
            nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False)),
            r"0 \(BatchNorm2d\): .*batch",
        ),
        (nn.AvgPool2d(3, ceil_mode=True), "ceil_mode"),
    ],
)
def test_a_layer_without_operator_is_refused_with_its_place(module, message):
    with pytest.raises(UnsupportedError, match=message):
        as_graph(nn.Sequential(module) if not isinstance(module, nn.Sequential) else module)


class Calls(nn.Module):
    """A module whose forward is a function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: functional.interpolate(x, scale_factor=2), r"inner \(Calls\): interpolate"),
        (lambda x: x.view(-1), r"inner \(Calls\): view"),
        (lambda x: x + 1, "add: takes two maps"),
        (lambda x: torch.add(x, x, alpha=2), "add: .*alpha"),
        (lambda x: torch.cat([x, x], 2), "cat: takes dim=1"),
        (lambda x: x.mean((1, 2)), r"mean: takes dim=\(2, 3\)"),
        (lambda x: x.mean((2, 3), keepdim=True), "keepdim=True"),
        (lambda x: torch.flatten(x), "flatten: takes everything after the batch"),
        (lambda x: functional.relu(x, inplace=True) + x, "in place"),
        (lambda x: x if x.sum() > 0 else -x, "cannot be traced"),
    ],
)
def test_a_call_without_operator_is_refused_with_its_place(function, message):
    outer = nn.Sequential()
    outer.add_module("inner", Calls(function))
    with pytest.raises(UnsupportedError, match=message):
        as_graph(outer)


def test_a_layer_derived_from_a_known_one_is_not_taken_for_it():
    class Centred(nn.Conv2d):
        def forward(self, x):
            return functional.conv2d(x, self.weight - self.weight.mean(), self.bias)

    with pytest.raises(UnsupportedError, match="has no operator"):
        as_graph(nn.Sequential(Centred(3, 4, 3)))


def test_a_module_of_several_inputs_is_refused():
    class Two(nn.Module):
        def forward(self, x, y):
            return x + y

    with pytest.raises(UnsupportedError, match="several inputs"):
        as_graph(Two())
