"""What is reported of maps that are out of the ordinary."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small_networks import float_resnet, pictures

from bitconv import Model
from bitconv.errors import InputError
from bitconv.feature_maps import TransformCoding, ZeroMask
from bitconv.feature_maps.map_codec import MapCodec
from bitconv.feature_maps.report import report
from bitconv.feature_maps.sample import Sample
from bitconv.operators import Conv2d


def with_codec(graph, name, kind):
    """The network with a codec for one node, made for maps of another network."""
    maps = np.random.default_rng(0).exponential(size=(2, *graph.types[name].shape))
    return replace(graph, codecs={name: MapCodec(kind.calibrate(maps), 100)})


def test_a_map_of_zeros_that_comes_back_as_others_is_nothing_but_noise():
    graph = float_resnet(size=8, blocks=1)
    nothing = Conv2d(np.zeros((8, 3, 3, 8)), padding=1)
    nodes = [replace(n, operator=nothing) if n.name == "first0" else n for n in graph.nodes]
    dead = replace(graph, nodes=tuple(nodes))
    coded = with_codec(dead, "inner0", TransformCoding)
    (found,) = report(coded, Sample(pictures(dead, 3))).coded
    assert found.sparsity == 1
    assert found.snr == -np.inf


def test_codecs_of_nodes_that_make_no_map_are_refused():
    graph = with_codec(float_resnet(size=8, blocks=1), "stem", ZeroMask)
    assert Model(graph, feature_maps="all").arena_bytes == Model(graph).arena_bytes
    with pytest.raises(InputError, match="for 'stem', and running the network stores no such map"):
        report(graph, Sample(pictures(graph, 3)))
