"""The tables of `bitconv cost`."""

import numpy as np
import pytest
from engine import graph_of, random_bits, signs
from small_networks import binary_resnet

from bitconv import Node
from bitconv.cost import summarize
from bitconv.cost_report import report
from bitconv.errors import InputError
from bitconv.operators import BinaryDense, Dense, Relu
from bitconv.scales import ScaleGrid, ScaleSharing


def dense_network():
    """100 signs to 32 outputs with one scale each, to 10 float outputs."""
    rng = np.random.default_rng(0)
    scale = ScaleGrid.per_filter(np.ones(32), 100)
    return graph_of(
        (100,),
        Node("sign", signs(), "x"),
        Node("binary", BinaryDense(random_bits(rng, 32, 100), scale), "sign"),
        Node("scores", Dense(np.ones((10, 32))), "binary"),
    )


def test_storage_and_operations_are_laid_out():
    assert str(report(dense_network())).splitlines() == [
        "Storage; memory is the bytes with float32 weights over the bytes stored.",
        "",
        "layer       weights  weight bits  scales  bytes  memory",
        "----------  -------  -----------  ------  -----  ------",
        "binary        3,200        3,200      32    528  24.24×",
        "scores          320       10,240          1,280   1.00×",
        "all others                                    4   1.00×",
        "total         3,520       13,440      32  1,812   7.77×",
        "",
        "Operations for one image, at 1 and at 2 for a float multiply-accumulate (MAC).",
        "",
        "layer   arithmetic    MACs  ops at 1  speed-up at 1  ops at 2  speed-up at 2",
        "------  ----------  ------  --------  -------------  --------  -------------",
        "binary  signs        3.2 k        96          33.3×        96          66.7×",
        "scores  float          320       320           1.0×       640           1.0×",
        "total               3.52 k       416           8.5×       736           9.6×",
        "",
        "A 64-bit word of signs, an addition and the scale of an output count 1. A speed-up is the",
        "count with float32 weights and inputs over this count; it is not a measured time.",
    ]


def test_another_grid_stands_beside_the_present_one():
    lines = str(report(dense_network(), ScaleSharing.parse("16x50"))).splitlines()
    # Two runs of 50 channels take a word each, as the 100 did, and one scale operation more.
    assert lines[-6:] == [
        "Now → with scales shared 16x50.",
        "",
        "layer   scales          bytes        memory  speed-up at 1  speed-up at 2",
        "------  ------  -------------  ------------  -------------  -------------",
        "binary  32 → 4      528 → 416  24.2 → 30.8×   33.3 → 25.0×   66.7 → 50.0×",
        "total   32 → 4  1,812 → 1,700    7.8 → 8.3×     8.5 → 7.9×     9.6 → 9.2×",
    ]


def test_only_layers_with_scales_change():
    graph = binary_resnet(blocks=2)
    found = report(graph, ScaleSharing.parse("OxI"))
    changed = str(found).partition("Now →")[2]
    assert "conv0" in changed
    assert "stem" not in changed
    assert [layer.cost.scales for layer in found.reshared.layers if layer.cost.scales] == [1, 1]
    assert found.reshared.total.bytes == summarize(graph).total.bytes - 2 * 4 * 2


def test_the_tables_fit_a_terminal_of_100_columns():
    text = str(report(binary_resnet(), ScaleSharing.parse("1x1")))
    assert max(map(len, text.splitlines())) <= 100


def test_a_network_without_scales_has_nothing_to_compare():
    graph = graph_of((32,), Node("scores", Dense(np.ones((10, 32))), "x"))
    with pytest.raises(InputError, match="no layer of the network has scales"):
        report(graph, ScaleSharing.parse("16xI"))


def test_a_network_without_weights_says_so():
    assert str(report(graph_of((3,), Node("relu", Relu(), "x")))) == "No layer has weights."


def test_a_name_cannot_steer_the_terminal():
    graph = graph_of((4,), Node("\x1b[2J", Dense(np.ones((2, 4))), "x"))
    assert "\x1b" not in str(report(graph))
