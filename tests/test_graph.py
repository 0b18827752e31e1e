"""Networks that fit together, and the refusals of those that do not."""

import numpy as np
import pytest

from bitconv.bits import BitArray
from bitconv.errors import BitconvError, GraphError
from bitconv.graph import Graph, Metadata, Node, Preparation, TensorType, needed_nodes
from bitconv.operators import (
    ActivationScaleMap,
    Add,
    AvgPool2d,
    BatchNorm,
    BinaryConv2d,
    BinaryDense,
    Concat,
    Conv2d,
    Dense,
    Flatten,
    GlobalAvgPool2d,
    MaxPool2d,
    Normalize,
    PRelu,
    Relu,
    Reshape,
    Sign,
    Softmax,
)
from bitconv.scales import ScaleGrid

IMAGE = {"image": TensorType((4, 4, 3))}


def relu(name: str, *inputs: str) -> Node:
    return Node(name, Relu(), inputs)


# --- Types -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((),), "is empty or larger"),
        (((3, 0),), "is empty or larger"),
        (((3, -1),), "is empty or larger"),
        (((2**16, 2**16),), "larger than 2147483648 elements"),
        (((2**31 - 1,) * 16,), "larger than 2147483648 elements"),
        (((2**63, 2),), "shape takes up to 16 integers"),
        (((10**400,),), "shape takes up to 16 integers"),
        (((1,) * 17,), "shape takes up to 16 integers"),
        (((2.0, 3.0),), "shape takes up to 16 integers"),
        (("33",), "shape takes up to 16 integers"),
        ((None,), "shape takes up to 16 integers"),
        (((3,), "float64"), "unknown kind 'float64'"),
        (((3,), None), "kind takes a text"),
        (((3,), "bits", 0), "bits in 0 planes does not exist"),
        (((3,), "float32", 2), "float32 in 2 planes does not exist"),
        (((3,), "bits", "2"), "planes takes an integer"),
    ],
)
def test_a_type_that_does_not_exist_is_refused(arguments, message):
    with pytest.raises(GraphError, match=message):
        TensorType(*arguments)


def test_a_type_takes_numpy_integers():
    value = TensorType(np.array([4, 5]), np.str_("bits"), np.int64(2))
    assert value == TensorType((4, 5), "bits", 2)
    assert {type(length) for length in value.shape} == {int}
    assert (value.size, str(value)) == (20, "4 × 5 bits in 2 planes")


# --- Graphs that fit ---------------------------------------------------------------------------


def test_a_graph_infers_every_type():
    graph = Graph(
        IMAGE,
        (
            relu("a", "image"),
            Node("b", Sign([0.0]), "a"),
            Node("c", Flatten(), ("b",)),
        ),
    )
    assert dict(graph.types) == {
        **IMAGE,
        "a": TensorType((4, 4, 3)),
        "b": TensorType((4, 4, 3), "bits"),
        "c": TensorType((48,), "bits"),
    }
    assert graph.outputs == ("c",)


def test_one_name_stands_for_a_tuple_of_one():
    graph = Graph(IMAGE, (Node("first", Relu(), "image"), Node("last", Relu(), "first")), "first")
    assert graph.nodes[0].inputs == ("image",)
    assert graph.outputs == ("first",)


def test_consumers_are_listed_once_and_in_order():
    graph = Graph(IMAGE, (Node("a", Add(), ("image", "image")), relu("b", "image"), relu("c", "a")))
    consumers = {name: [node.name for node in nodes] for name, nodes in graph.consumers().items()}
    assert consumers == {"image": ["a", "b"], "a": ["c"], "b": [], "c": []}


def test_what_a_graph_was_made_of_can_change_without_it():
    inputs, nodes = dict(IMAGE), [relu("a", "image")]
    graph = Graph(inputs, nodes)
    inputs.clear(), nodes.clear()
    assert (list(graph.inputs), len(graph.nodes)) == (["image"], 1)
    with pytest.raises(TypeError):
        graph.types["a"] = TensorType((1,))


def test_an_input_may_be_an_output():
    assert Graph(IMAGE, (relu("a", "image"),), ("a", "image")).outputs == ("a", "image")


# --- Refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ((relu("a", "image"), relu("a", "image")), "node 'a': the name is empty or already taken"),
        ((relu("image", "image"),), "node 'image': the name is empty or already taken"),
        ((relu("", "image"),), "node '': the name is empty"),
        ((relu("a", "picture"),), "node 'a': its input 'picture' is neither a graph input nor"),
        ((relu("a", "a"),), "node 'a': its input 'a' is neither"),
        ((relu("a", "b"), relu("b", "a")), "node 'a': its input 'b' is neither .* before it"),
        ((relu("a"),), r"node 'a' \(relu\): takes 1 input\(s\), found 0"),
        ((relu("a", "image", "image"),), r"node 'a' \(relu\): takes 1 input\(s\), found 2"),
        ((Node("a", Add(), ("image",)),), r"node 'a' \(add\): takes 2 input\(s\), found 1"),
        ((Node("a", Concat(), ()),), r"\(concat\): takes 1 to any number of input\(s\), found 0"),
        ((Node("a", Dense(np.ones((2, 3))), ("image",)),), r"node 'a' \(dense\): takes a vector"),
        ((Node("a", BatchNorm(np.ones((4, 2))), ("image",)),), r"node 'a' \(batch_norm\): stat"),
        ((Node("a", Reshape((5, 5)), ("image",)),), r"node 'a' \(reshape\): .* has 48 elements"),
        (
            (
                Node(
                    "a", BinaryConv2d(weight=BitArray.from_bits(np.zeros((1,) * 4, bool))), "image"
                ),
            ),
            r"node 'a' \(binary_conv2d\): .* takes 1 channels, found 4 × 4 × 3 float32",
        ),
        (
            (Node("a", MaxPool2d(5), ("image",)),),
            r"node 'a' \(max_pool2d\): a window of 5 × 5 does not fit a map of 4 × 4",
        ),
    ],
)
def test_a_node_that_does_not_fit_is_named(nodes, message):
    with pytest.raises(GraphError, match=message):
        Graph(IMAGE, nodes)


@pytest.mark.parametrize(
    "operator",
    [
        Conv2d(weight=np.ones((64, 1, 1, 3)), padding=2**15),
        Conv2d(weight=np.ones((1, 1, 1, 3)), padding=2**15, stride=2**15),
        BinaryConv2d(weight=BitArray.from_bits(np.zeros((64, 1, 1, 3), bool)), padding=2**15),
        ActivationScaleMap(1, padding=2**15),
        AvgPool2d(2**15, 1, 2**15 - 1),
    ],
    ids=lambda operator: operator.name,
)
def test_a_value_of_absurd_size_is_refused_before_it_is_made(operator):
    kind = "bits" if isinstance(operator, BinaryConv2d) else "float32"
    with pytest.raises(GraphError, match=r"node 'wide' \(.*\): .* larger than 2147483648 elements"):
        Graph({"image": TensorType((4, 4, 3), kind)}, (Node("wide", operator, ("image",)),))


def test_sizes_that_only_grow_too_large_together_are_refused():
    image = {"image": TensorType((2**10, 2**10, 2**10))}
    wide = [Node(f"n{i}", Concat(), (f"n{i - 1}" if i else "image",) * 2) for i in range(3)]
    with pytest.raises(GraphError, match=r"node 'n1' \(concat\)"):
        Graph(image, wide)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({}, (relu("a", "image"),)), "at least one input and one node"),
        ((IMAGE, ()), "at least one input and one node"),
        ((IMAGE, (relu("a", "image"),), ("b",)), "output 'b' is no node or input"),
        ((IMAGE, (relu("a", "image"),), ("a", "a")), "name a value twice"),
        ((IMAGE, (relu("a", "image"),), (1,)), "outputs takes a text, found 1"),
        (({"": TensorType((3,))}, (relu("a", ""),)), "the name of an input is empty"),
        (({3: TensorType((3,))}, (relu("a", "image"),)), "the name of an input takes a text"),
        (({"image": (4, 4, 3)}, (relu("a", "image"),)), "input 'image' takes a TensorType"),
    ],
)
def test_a_graph_that_is_none_is_refused(arguments, message):
    with pytest.raises(GraphError, match=message):
        Graph(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, Relu(), ("image",)), "the name of a node takes a text, found 1"),
        (("a", Relu, ("image",)), "node 'a': <class .*Relu'> is no operator"),
        (("a", "relu", ("image",)), "node 'a': 'relu' is no operator"),
        (("a", Relu(), (1,)), "node 'a': inputs takes a text, found 1"),
    ],
)
def test_a_node_that_is_none_is_refused(arguments, message):
    with pytest.raises(GraphError, match=message):
        Node(*arguments)


def test_labels_fit_the_first_output():
    nodes = (Node("vector", Flatten(), "image"), Node("scores", Dense(np.ones((2, 48))), "vector"))
    assert Graph(IMAGE, nodes, metadata=Metadata(labels=["cat", "dog"])).metadata.labels == (
        "cat",
        "dog",
    )
    with pytest.raises(GraphError, match="3 labels do not fit the output 'scores' of shape \\(2,"):
        Graph(IMAGE, nodes, metadata=Metadata(labels=("cat", "dog", "bird")))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": ("cat", 1)}, "metadata: labels takes a text, found 1"),
        ({"accuracy": 0.8}, "metadata: accuracy takes a text, found 0.8"),
        ({"name": None}, "metadata: name takes a text"),
    ],
)
def test_metadata_is_text(arguments, message):
    with pytest.raises(GraphError, match=message):
        Metadata(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"resize": (1, 2, 3)}, "preparation: resize \\(1, 2, 3\\) is not a size in pixels"),
        ({"resize": ()}, "is not a size in pixels"),
        ({"resize": (0,)}, "is not a size in pixels"),
        ({"crop": (32,)}, "preparation: crop \\(32,\\) is not a size in pixels"),
        ({"crop": (32, 2**16)}, "is not a size in pixels"),
        ({"crop": 32}, "preparation: crop takes up to 16 integers"),
        ({"interpolation": "cubic"}, "preparation: unknown interpolation 'cubic'"),
        ({"interpolation": 3}, "preparation: interpolation takes a text"),
    ],
)
def test_a_preparation_that_does_not_exist_is_refused(arguments, message):
    with pytest.raises(GraphError, match=message):
        Preparation(**arguments)


def test_every_refusal_is_a_bitconv_error_and_a_value_error():
    assert issubclass(GraphError, BitconvError)
    assert issubclass(GraphError, ValueError)


# --- A whole network ---------------------------------------------------------------------------


def small_network() -> Graph:
    """Every way that values meet: a float stem, K, a shortcut, a concat, pooled bits, scores."""
    rng = np.random.default_rng(0)

    def statistics(channels: int) -> np.ndarray:
        return np.abs(rng.standard_normal((4, channels))) * [[1], [0.1], [0.1], [1]]

    stem = rng.standard_normal((5, 3, 3, 3))
    first, second = (rng.standard_normal((5, 3, 3, 5)) for _ in range(2))
    last = rng.standard_normal((7, 90))
    nodes = (
        Node("normalized", Normalize([125.0], [60.0]), "image"),
        Node("stem", Conv2d(weight=stem, padding=1), "normalized"),
        Node("norm", BatchNorm(statistics(5)), "stem"),
        Node("signs", Sign(rng.standard_normal(5) / 9), "norm"),
        Node("k", ActivationScaleMap(3, padding=1), "norm"),
        Node(
            "first",
            BinaryConv2d(
                weight=BitArray.from_signs(first),
                scale=ScaleGrid.from_weight(first, 2, 3),
                padding=1,
            ),
            ("signs", "k"),
        ),
        Node("sum", Add(), ("first", "norm")),
        Node("active", PRelu([0.25]), "sum"),
        Node("signs_2", Sign([0.0], False), "active"),
        Node(
            "second",
            BinaryConv2d(weight=BitArray.from_signs(second), padding=1, pad_value=-1),
            "signs_2",
        ),
        Node("both", Concat(), ("active", "first")),
        Node("signs_3", Sign([1.0]), "second"),
        Node("pooled", MaxPool2d(2), "signs_3"),
        Node("vector", Flatten(), "pooled"),
        Node(
            "counts",
            BinaryDense(BitArray.from_signs(last[:, :60]), ScaleGrid.from_weight(last[:, :60])),
            "vector",
        ),
        Node("mean", GlobalAvgPool2d(), "both"),
        Node("head", Dense(rng.standard_normal((7, 10))), "mean"),
        Node("scores", Add(), ("head", "counts")),
        Node("softmax", Softmax(), "scores"),
    )
    return Graph({"image": TensorType((6, 8, 3), "uint8")}, nodes)


def test_every_value_of_a_network_has_the_type_that_was_inferred():
    graph = small_network()
    images = np.random.default_rng(1).integers(0, 256, (3, 6, 8, 3)).astype(np.uint8)
    for name, value in graph.reference({"image": images}).items():
        kind = graph.types[name].kind
        assert value.shape == (3, *graph.types[name].shape), name
        assert value.dtype == ("int8" if kind == "bits" else kind), name


def test_a_batch_gives_what_its_images_give_one_by_one():
    graph = small_network()
    images = np.random.default_rng(2).integers(0, 256, (9, 6, 8, 3)).astype(np.uint8)
    together = graph.reference({"image": images})
    for index in range(len(images)):
        alone = graph.reference({"image": images[index : index + 1]})
        for name, value in alone.items():
            np.testing.assert_array_equal(together[name][index], value[0], err_msg=name)


def test_an_empty_batch_stays_empty():
    graph = small_network()
    values = graph.reference({"image": np.zeros((0, 6, 8, 3), np.uint8)})
    assert values["softmax"].shape == (0, 7)


def test_what_a_value_depends_on_keeps_its_order():
    nodes = small_network().nodes
    assert [node.name for node in needed_nodes(nodes, ["k"])] == ["normalized", "stem", "norm", "k"]
    assert needed_nodes(nodes, ["softmax"]) == nodes
    assert needed_nodes(nodes, ["image"]) == ()
