"""Whole plans, every buffer between forbidden pages: no kernel reads or writes beside its maps."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from engine import (
    chain,
    graph_of,
    images,
    random_bits,
    random_norm,
    reference_values,
    signs,
    value_in,
)
from guarded import at_both_ends, guarded_plan, posix_only
from small_networks import binary_resnet

from bitconv.executor import Workspace
from bitconv.graph import Node
from bitconv.operators import (
    ActivationScaleMap,
    Add,
    AvgPool2d,
    BinaryConv2d,
    BinaryDense,
    Clip,
    Concat,
    Conv2d,
    Dense,
    Flatten,
    GlobalAvgPool2d,
    MaxPool2d,
    Normalize,
    Pad,
    Relu,
    Sign,
    Slice,
    Softmax,
    Transpose,
)
from bitconv.scales import ScaleGrid

pytestmark = posix_only


def assert_stays_inside(graph, at_end, count=2, **options):
    """The plan runs without touching a forbidden page, and computes what the references do."""
    batch = images(np.random.default_rng(count), graph, count)
    plan, arena, memory = guarded_plan(graph, at_end, images=count, **options)
    workspace = Workspace(plan, arena)
    workspace.run(next(iter(graph.inputs)), batch)
    expected = reference_values(graph, batch)
    for name in graph.outputs:
        found = value_in(workspace, graph, name, count)
        np.testing.assert_allclose(found, expected[name], rtol=1e-4, atol=1e-4, err_msg=name)
    assert memory.at_end == at_end  # the pages must live until here


GEOMETRIES = [
    {},
    {"stride": 2},
    {"padding": 1},
    {"padding": (2, 0, 1, 3), "stride": (1, 3)},
    {"dilation": 2, "padding": 2},
    {"dilation": (1, 2), "padding": 3, "stride": 2},
]


@at_both_ends
@pytest.mark.parametrize("channels", [1, 63, 64, 65, 130])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_binary_convolutions(channels, geometry, at_end):
    rng = np.random.default_rng(channels)
    for filters, kernel, pad_value in ((5, (3, 3), 0), (33, (1, 1), -1), (64, (2, 3), 1)):
        first = BinaryConv2d(
            random_bits(rng, filters, *kernel, channels), pad_value=pad_value, **geometry
        )
        second = BinaryConv2d(random_bits(rng, 9, 1, 1, filters), padding=1)
        graph = chain(
            (7, 8, channels), signs(channels), first, random_norm(rng, filters), signs(filters),
            second,
        )  # fmt: skip
        assert_stays_inside(graph, at_end)


@at_both_ends
@pytest.mark.parametrize(
    ("groups", "inner", "outer"), [(2, 64, 8), (3, 5, 8), (3, 65, 5), (9, 1, 1)]
)
def test_grouped_binary_convolutions(groups, inner, outer, at_end):
    rng = np.random.default_rng(groups)
    weight = random_bits(rng, groups * outer, 3, 3, inner)
    convolution = BinaryConv2d(weight, padding=1, groups=groups)
    graph = chain((5, 6, groups * inner), signs(groups * inner), convolution, signs(groups * outer))
    assert_stays_inside(graph, at_end)


@at_both_ends
@pytest.mark.parametrize("across", [1, 7, 64, 70])
def test_scales_of_every_grouping(across, at_end):
    rng = np.random.default_rng(across)
    values = rng.normal(size=(-(-20 // 3), -(-70 // across)))
    scale = ScaleGrid(values, 3, across)
    convolution = BinaryConv2d(random_bits(rng, 20, 3, 3, 70), scale, padding=1, pad_value=-1)
    graph = chain((6, 5, 70), signs(70), convolution, random_norm(rng, 20), signs(20))
    assert_stays_inside(graph, at_end)


@at_both_ends
@pytest.mark.parametrize("kind", ["uint8", "float32"])
@pytest.mark.parametrize("channels", [1, 3, 65])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_float_convolutions(geometry, channels, kind, at_end):
    rng = np.random.default_rng(channels)
    convolution = Conv2d(
        rng.normal(size=(19, 3, 2, channels)) / 50, rng.normal(size=19), **geometry
    )
    assert_stays_inside(chain((6, 7, channels), convolution, Relu(), kind=kind), at_end)


@at_both_ends
def test_a_depthwise_float_convolution(at_end):
    rng = np.random.default_rng(0)
    convolution = Conv2d(rng.normal(size=(7, 3, 3, 1)), padding=1, groups=7)
    assert_stays_inside(chain((5, 5, 7), convolution), at_end)


@at_both_ends
@pytest.mark.parametrize("channels", [1, 3, 32, 65])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_binary_weights_on_float_maps(geometry, channels, at_end):
    rng = np.random.default_rng(channels)
    weight = random_bits(rng, 19, 3, 2, channels)
    for across in (channels, -(-channels // 3)):
        scale = ScaleGrid(rng.normal(size=(5, -(-channels // across))), 4, across)
        convolution = BinaryConv2d(weight, scale, rng.normal(size=19), **geometry)
        assert_stays_inside(chain((6, 7, channels), convolution, Relu(), signs(19)), at_end)


@at_both_ends
@pytest.mark.parametrize(
    ("groups", "inner", "outer"), [(2, 32, 8), (3, 5, 7), (3, 65, 5), (9, 1, 1)]
)
def test_grouped_binary_weights_on_float_maps(groups, inner, outer, at_end):
    rng = np.random.default_rng(groups)
    weight = random_bits(rng, groups * outer, 3, 3, inner)
    convolution = BinaryConv2d(weight, padding=1, groups=groups)
    graph = chain((5, 6, groups * inner), convolution, kind="uint8")
    assert_stays_inside(graph, at_end)


@at_both_ends
@pytest.mark.parametrize("channels", [1, 64, 65])
def test_dense_layers_of_binary_weights_on_floats(channels, at_end):
    rng = np.random.default_rng(channels)
    layers = BinaryDense(random_bits(rng, 21, channels)), BinaryDense(random_bits(rng, 3, 21))
    assert_stays_inside(chain((channels,), *layers), at_end, count=5)


@at_both_ends
@pytest.mark.parametrize("channels", [1, 64, 65])
def test_dense_layers(channels, at_end):
    rng = np.random.default_rng(channels)
    size = 6 * channels
    graph = chain(
        (2, 3, channels), signs(channels), Flatten(), BinaryDense(random_bits(rng, 21, size)),
        signs(21), BinaryDense(random_bits(rng, 70, 21)), Dense(rng.normal(size=(3, 70)) / 50),
        Softmax(),
    )  # fmt: skip
    assert_stays_inside(graph, at_end, count=5)


@at_both_ends
@pytest.mark.parametrize("channels", [1, 63, 64, 130])
@pytest.mark.parametrize(
    "pool",
    [
        MaxPool2d(3, 2, padding=1),
        MaxPool2d((2, 1), 3),
        AvgPool2d(3, 1, padding=(0, 1, 1, 0), count_padding=True),
        GlobalAvgPool2d(),
    ],
    ids=lambda pool: pool.name,
)
def test_pools(pool, channels, at_end):
    graph = chain((7, 5, channels), pool, Clip(-1, 1))
    assert_stays_inside(graph, at_end)
    if isinstance(pool, MaxPool2d):
        rng = np.random.default_rng(channels)
        behind = BinaryConv2d(random_bits(rng, 3, 3, 3, channels), padding=1)
        assert_stays_inside(chain((7, 5, channels), signs(channels), pool, behind), at_end)
        pooled_signs = pool, random_norm(rng, channels), signs(channels)
        assert_stays_inside(chain((7, 5, channels), *pooled_signs, behind), at_end)


@at_both_ends
@pytest.mark.parametrize("kind", ["uint8", "float32", "bits"])
@pytest.mark.parametrize("channels", [1, 5, 64, 65])
def test_elements_that_move(channels, kind, at_end):
    first = [Node("start", signs(channels), "x")] if kind == "bits" else []
    start = "start" if first else "x"
    graph = graph_of(
        (4, 6, channels),
        *first,
        Node("both", Concat(), (start, start)),
        Node("padded", Pad((1, 0, 3), (0, 2, 1), -1.0 if first else 1.0), "both"),
        Node("part", Slice((1, 0, 2), (5, 7, channels + 2), (2, 3, 1)), "padded"),
        Node("turned", Transpose((2, 0, 1)), "part"),
        Node("flat", Flatten(), "both"),
        outputs=("turned", "flat"),
        kind="uint8" if kind == "uint8" else "float32",
    )
    assert_stays_inside(graph, at_end)


@at_both_ends
@pytest.mark.parametrize("channels", [1, 5, 64, 65])
def test_joined_and_cut_maps(channels, at_end):
    rng = np.random.default_rng(channels)
    ones = Conv2d(rng.integers(-1, 2, (64, 1, 1, channels)))
    graph = graph_of(
        (4, 6, channels),
        Node("left", Relu(), "x"),
        Node("right", Clip(-1, 1), "x"),
        Node("both", Concat(), ("left", "right", "left")),
        Node("cut", Slice((1, 0, 0), (4, 5, 2 * channels), (2, 2, 1)), "both"),
        Node("sums", Conv2d(rng.integers(-1, 2, (3, 3, 3, 3 * channels)), padding=1), "both"),
        Node("mean", AvgPool2d(2), "cut"),
        Node("ones", ones, "x"),
        Node("signs", signs(64), "ones"),
        Node("pool", MaxPool2d(3, 1, padding=1), "left"),
        Node("more", signs(channels), "pool"),
        Node("bits", Concat(), ("signs", "more")),
        Node("last", BinaryConv2d(random_bits(rng, 5, 3, 3, 64 + channels), padding=1), "bits"),
        outputs=("sums", "mean", "last"),
    )
    assert_stays_inside(graph, at_end)


@at_both_ends
@pytest.mark.parametrize("channels", [1, 65])
def test_pointwise_chains_and_maps_of_scales(channels, at_end):
    rng = np.random.default_rng(channels)
    graph = graph_of(
        (6, 5, channels),
        Node("norm", Normalize(np.zeros(1), np.ones(1)), "x"),
        Node("sign", Sign([3.0]), "norm"),
        Node("scale", ActivationScaleMap((3, 3), padding=1), "norm"),
        Node(
            "conv",
            BinaryConv2d(random_bits(rng, channels, 3, 3, channels), padding=1),
            ("sign", "scale"),
        ),
        Node("sum", Add(), ("conv", "norm")),
    )
    assert_stays_inside(graph, at_end)


@at_both_ends
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_whole_network_on_any_number_of_threads(monkeypatch, threads, at_end):
    monkeypatch.setattr("bitconv.compiler.builder.PARALLEL_SECONDS", 0.0)
    monkeypatch.setattr("bitconv.compiler.builder.SHARE_SECONDS", 1e-12)
    assert_stays_inside(binary_resnet(9, 20), at_end, count=3, threads=threads)


@at_both_ends
def test_fewer_images_than_the_plan_takes(at_end):
    graph = binary_resnet(8, 65, blocks=1)
    batch = images(np.random.default_rng(0), graph, 2)
    plan, arena, memory = guarded_plan(graph, at_end, images=5)
    workspace = Workspace(plan, arena)
    workspace.run("image", batch)
    found = value_in(workspace, graph, "scores", 2)
    expected = reference_values(graph, batch)["scores"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert memory.at_end == at_end


STRAY = """
from engine import images
from guarded import guarded_plan
from small_networks import binary_resnet
import numpy as np
from bitconv.executor import Workspace

graph = binary_resnet(8, 64, blocks=1)
plan, arena, memory = guarded_plan(graph, {at_end}, images=1)
workspace = Workspace(plan, arena)
workspace.run("image", images(np.random.default_rng(0), graph, 1))
print("inside", flush=True)
step = next(step for step in plan.steps if step.kernel == "binary_conv2d")
array = step.{records}
array["{field}"][0] += {step}
workspace.run("image", images(np.random.default_rng(0), graph, 1))
print("outside")
"""


@pytest.mark.parametrize(
    ("records", "field", "at_end", "step"),
    [
        ("parameters", "source_offset", True, 1),  # one word behind the map of bits
        ("parameters", "source_offset", False, -1),
        ("parameters", "weights", True, 1),
        ("parameters", "weights", False, -1),
        ("program", "vector", False, -1),
    ],
)
def test_one_element_astray_ends_the_process(records, field, at_end, step):
    script = STRAY.format(records=records, field=field, at_end=at_end, step=step)
    finished = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.stdout == "inside\n"
    assert finished.returncode in (-signal.SIGSEGV, -signal.SIGBUS)
