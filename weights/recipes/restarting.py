"""An exported network as the start of more training."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from bitconv.graph import Graph
from bitconv.operators import BatchNorm, BinaryConv2d, Conv2d, Dense, Operator, PRelu, Sign
from bitconv.training import BinarySign

_WITH_PARAMETERS = BatchNorm | BinaryConv2d | Conv2d | Dense | PRelu | Sign


@torch.no_grad()
def restore(model: nn.Module, graph: Graph) -> set[str]:
    """Give every layer of `model` what its node in `graph` holds.

    A file keeps of a latent weight its sign and, shared with others, the mean of its magnitude. All
    that share a scale get that magnitude: signs and scales are then those of the file.

    Parameters
    ----------
    model : nn.Module
        Of layers like those of the shipped network: convolutions have no bias, and no scale is a
        part of a filter's.
    graph : Graph
        As ``to_graph`` makes it of such a model: the node of the layer ``a.b`` is named ``a_b``.

    Returns
    -------
    set of str
        The layers with parameters that have no node, and are left as they are.
    """
    operators = {
        node.name: node.operator
        for node in graph.nodes
        if isinstance(node.operator, _WITH_PARAMETERS)
    }
    missing = set()
    for path, layer in model.named_modules():
        if next(layer.parameters(recurse=False), None) is None:
            continue
        operator = operators.pop(path.replace(".", "_"), None)
        if operator is None:
            missing.add(path)
            continue
        for parameter, values in _parameters(layer, operator):
            if parameter.shape != np.shape(values):
                expected, found = tuple(parameter.shape), np.shape(values)
                raise SystemExit(f"{path}: the network has {expected}, the file {found}")
            parameter.copy_(torch.from_numpy(np.array(values)))
    if operators:
        raise SystemExit(f"the network has no layers for {', '.join(operators)}")
    return missing


def _parameters(layer: nn.Module, operator: Operator) -> list[tuple[Tensor, ArrayLike]]:
    match layer, operator:
        case nn.Conv2d(), BinaryConv2d():
            # One scale a row of the grid: all channels of a filter share it.
            scale = operator.scale.by_filter(len(layer.weight))[:, :, None, None]
            return [(layer.weight, operator.weight.signs().transpose(0, 3, 1, 2) * scale)]
        case nn.Conv2d(), Conv2d():
            return [(layer.weight, operator.weight.transpose(0, 3, 1, 2))]
        case nn.BatchNorm2d(), BatchNorm() if layer.eps == operator.epsilon:
            gamma, beta, mean, variance = operator.statistics
            return [
                (layer.weight, gamma),
                (layer.bias, beta),
                (layer.running_mean, mean),
                (layer.running_var, variance),
            ]
        case BinarySign(), Sign():
            return [(layer.threshold, operator.threshold)]
        case nn.PReLU(), PRelu():
            return [(layer.weight, operator.slope)]
        case nn.Linear(), Dense():
            return [(layer.weight, operator.weight), (layer.bias, operator.bias)]
        case _:
            raise SystemExit(f"{type(layer).__name__} does not start from {operator.name}")
