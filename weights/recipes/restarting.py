"""An exported network as the start of more training."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from bitconv.graph import Graph
from bitconv.operators import BatchNorm, BinaryConv2d, Conv2d, Dense, Operator, PRelu, Sign
from bitconv.training import BinarySign


@torch.no_grad()
def restore(model: nn.Module, graph: Graph) -> None:
    """Give every layer of `model` what its node in `graph` holds; layers without one stay.

    A file keeps of a latent weight its sign and, shared with others, the mean of its magnitude. All
    that share a scale get that magnitude: signs and scales are then those of the file.

    Parameters
    ----------
    model : nn.Module
    graph : Graph
        As ``to_graph`` makes it of such a model: the node of the layer ``a.b`` is named ``a_b``.
    """
    operators = {node.name: node.operator for node in graph.nodes}
    for path, layer in model.named_modules():
        operator = operators.get(path.replace(".", "_"))
        if operator is not None:
            for parameter, values in _parameters(layer, operator):
                parameter.copy_(torch.from_numpy(np.array(values)))


def _parameters(layer: nn.Module, operator: Operator) -> list[tuple[Tensor, ArrayLike]]:
    match layer, operator:
        case nn.Conv2d(), BinaryConv2d():
            # One scale a row of the grid: all channels of a filter share it.
            scale = operator.scale.by_filter(len(layer.weight))[:, :, None, None]
            return [(layer.weight, operator.weight.signs().transpose(0, 3, 1, 2) * scale)]
        case nn.Conv2d(), Conv2d():
            return [(layer.weight, operator.weight.transpose(0, 3, 1, 2))]
        case nn.BatchNorm2d(), BatchNorm():
            gamma, beta, mean, variance = operator.statistics
            layer.eps = operator.epsilon
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
