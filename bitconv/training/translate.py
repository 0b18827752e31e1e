"""From a PyTorch module to a graph: what each layer and function becomes.

The module is traced with ``torch.fx``. A layer with parameters has an entry in `LAYERS`, everything
else that a forward method may call one in `FUNCTIONS`; what has none is refused.
"""

from __future__ import annotations

import copy
import inspect
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn
from torch.nn import functional

from bitconv.bits import BitArray
from bitconv.errors import UnsupportedError
from bitconv.graph import Graph, Metadata, Node, TensorType, ValueKind, infer_types
from bitconv.operators import (
    Add,
    AvgPool2d,
    BatchNorm,
    Concat,
    Conv2d,
    Dense,
    Flatten,
    GlobalAvgPool2d,
    Normalize,
    Operator,
    PRelu,
    Relu,
    Sign,
    Transpose,
)
from bitconv.operators import BinaryConv2d as BinaryConv2dOperator
from bitconv.scales import ScaleGrid
from bitconv.training.layers import BinaryConv2d, BinarySign

IMAGE = "image"  # the graph's input


@dataclass(frozen=True, eq=False)
class Translation:
    """A module beside the graph made of it.

    Attributes
    ----------
    traced : torch.fx.GraphModule
        The module in evaluation mode, on the CPU, as PyTorch's own graph.
    graph : Graph
    names : mapping of str to str
        For every node of `traced` that computes a value, that value's name in `graph`.
    """

    traced: fx.GraphModule
    graph: Graph
    names: Mapping[str, str]


def translate(
    module: nn.Module,
    image_shape: tuple[int, int, int],
    normalization: Normalize | None = None,
    metadata: Metadata | None = None,
) -> Translation:
    """Make a graph of a module; see `bitconv.training.to_graph`."""
    module = copy.deepcopy(module).to("cpu", torch.float32).eval()
    traced = _trace(module)
    kind: ValueKind = "float32" if normalization is None else "uint8"
    inputs = {IMAGE: TensorType(image_shape, kind)}
    build = _Build(dict(inputs))
    image = IMAGE if normalization is None else build.add(normalization, IMAGE)
    names: dict[str, str] = {}
    outputs: tuple[str, ...] = ()
    for step in traced.graph.nodes:
        arguments, named = fx.map_arg((step.args, step.kwargs), lambda node: names[node.name])
        if step.op == "output":
            outputs = _outputs(arguments[0])
        elif step.op == "placeholder":
            if names:
                raise UnsupportedError("the module takes several inputs, expected one image")
            names[step.name] = image
        else:
            names[step.name] = _translate_step(build, module, step, arguments, named)
    graph = Graph(inputs, tuple(build.nodes), outputs, metadata or Metadata())
    return Translation(traced, graph, names)


# --- The walk over the traced module ---------------------------------------------------------


class _Tracer(fx.Tracer):
    """Keeps the layers of `LAYERS` whole and looks into modules that only call a function."""

    TRANSPARENT = (nn.AvgPool2d, nn.Flatten, nn.Identity, nn.ReLU)

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        if type(module) in self.TRANSPARENT:
            return False
        return type(module) in LAYERS or super().is_leaf_module(module, qualified_name)


def _trace(module: nn.Module) -> fx.GraphModule:
    try:
        return fx.GraphModule(module, _Tracer().trace(module))
    except (TypeError, ValueError, RuntimeError) as error:
        raise UnsupportedError(
            f"{type(module).__name__} cannot be traced, its forward method must do the same for "
            f"every image: {error}"
        ) from error


@dataclass
class _Build:
    """The graph so far, and where in the module the walk is."""

    types: dict[str, TensorType]
    nodes: list[Node] = field(default_factory=list)
    place: str = ""
    is_layer: bool = False  # whether `place` names one layer, not one that calls several functions

    def add(self, operation: Operator, *inputs: str) -> str:
        """Append a node and return its name."""
        parts = [self.place.replace(".", "_")] if self.place else []
        name = "_".join(parts if self.is_layer else [*parts, operation.name])
        node = Node(self._unused(name), operation, inputs)
        self.types = infer_types(self.types, (node,))
        self.nodes.append(node)
        return node.name

    def _unused(self, name: str) -> str:
        repeats = 1
        while (candidate := name if repeats == 1 else f"{name}_{repeats}") in self.types:
            repeats += 1
        return candidate


def _translate_step(
    build: _Build, module: nn.Module, step: fx.Node, arguments: Any, named: Any
) -> str:
    """Append what one traced call means and return the name of its value."""
    stack = list(step.meta.get("nn_module_stack", {"": ("", type(module))}).values())
    place, place_type = stack[-1]
    where = f"{place or 'the module itself'} ({place_type.__name__})"
    build.place = place
    build.is_layer = step.op == "call_module" or place_type in _Tracer.TRANSPARENT
    if step.op == "call_module":
        layer = module.get_submodule(str(step.target))
        if type(layer) not in LAYERS:
            raise UnsupportedError(
                f"{where}: no operator for this layer; known are "
                f"{', '.join(sorted(known.__name__ for known in LAYERS))}"
            )
        try:
            return build.add(LAYERS[type(layer)](layer), *arguments)
        except UnsupportedError as error:
            raise UnsupportedError(f"{where}: {error}") from error
    called = str(getattr(step.target, "__name__", step.target))
    rule = FUNCTIONS.get(step.target)
    if rule is None:
        raise UnsupportedError(f"{where}: {called} ({step.op}) has no operator")
    if step.target is operator.iadd or named.get("inplace"):
        _expect_sole_user(step, where)
    try:
        bound = inspect.signature(rule).bind(build, *arguments, **named)
        return rule(*bound.args, **bound.kwargs)
    except (TypeError, UnsupportedError) as error:
        raise UnsupportedError(f"{where}: {called}: {error}") from error


def _expect_sole_user(step: fx.Node, where: str) -> None:
    """In place, a call changes its input for everybody; in a graph values never change."""
    changed = step.all_input_nodes[0]
    if len(changed.users) > 1:
        raise UnsupportedError(f"{where}: works in place on {changed.name}, which others use too")


def _outputs(result: Any) -> tuple[str, ...]:
    outputs = (result,) if isinstance(result, str) else result
    if not isinstance(outputs, tuple | list) or not all(isinstance(o, str) for o in outputs):
        raise UnsupportedError(f"the module returns {result!r}, expected one tensor or several")
    return tuple(outputs)


# --- Layers ----------------------------------------------------------------------------------


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.detach().numpy()


def _filters_first_channels_last(weight: Tensor) -> NDArray[np.float32]:
    """From PyTorch's (O, I, height, width) to bitconv's (O, height, width, I)."""
    return _array(weight).transpose(0, 2, 3, 1)


def _pair(lengths: tuple[int, ...]) -> tuple[int, int]:
    vertical, horizontal = lengths
    return vertical, horizontal


def _conv2d(layer: nn.Conv2d) -> Conv2d:
    padding = layer.padding
    if layer.padding_mode != "zeros" or isinstance(padding, str):
        raise UnsupportedError(
            f"padding {padding!r} in mode {layer.padding_mode!r}, expected numbers and zeros"
        )
    return Conv2d(
        weight=_filters_first_channels_last(layer.weight),
        bias=None if layer.bias is None else _array(layer.bias),
        stride=_pair(layer.stride),
        dilation=_pair(layer.dilation),
        padding=_pair(padding),
        groups=layer.groups,
    )


def _binary_conv2d(layer: BinaryConv2d) -> BinaryConv2dOperator:
    scales = _array(layer.filter_scales())[:: layer.filters_per_scale, None]
    return BinaryConv2dOperator(
        weight=BitArray.from_signs(_filters_first_channels_last(layer.weight)),
        scale=ScaleGrid(scales, layer.filters_per_scale, layer.weight.shape[1]),
        stride=layer.stride,
        padding=layer.padding,
    )


def _batch_norm(layer: nn.BatchNorm2d) -> BatchNorm:
    mean, variance = layer.running_mean, layer.running_var
    if mean is None or variance is None:
        raise UnsupportedError("batch norm without running statistics depends on the batch")
    gamma = torch.ones_like(mean) if layer.weight is None else layer.weight
    beta = torch.zeros_like(mean) if layer.bias is None else layer.bias
    return BatchNorm(_array(torch.stack((gamma, beta, mean, variance))), layer.eps)


def _dense(layer: nn.Linear) -> Dense:
    return Dense(_array(layer.weight), None if layer.bias is None else _array(layer.bias))


LAYERS: dict[type[nn.Module], Callable[[Any], Operator]] = {
    BinaryConv2d: _binary_conv2d,
    BinarySign: lambda layer: Sign(_array(layer.threshold)),
    nn.BatchNorm2d: _batch_norm,
    nn.Conv2d: _conv2d,
    nn.Linear: _dense,
    nn.PReLU: lambda layer: PRelu(_array(layer.weight)),
}


# --- Functions, each with the parameters of its PyTorch namesake ------------------------------


def _add(build: _Build, x: Any, y: Any) -> str:
    if not isinstance(x, str) or not isinstance(y, str):
        raise UnsupportedError("takes two maps, found a number or a parameter")
    return build.add(Add(), x, y)


def _relu(build: _Build, x: str, inplace: bool = False) -> str:  # noqa: ARG001  # of no effect
    return build.add(Relu(), x)


def _cat(build: _Build, tensors: list[str], dim: int = 0) -> str:
    rank = len(build.types[tensors[0]].shape) + 1
    if dim % rank != 1:
        raise UnsupportedError(f"takes dim=1, the channels, found {dim}")
    return build.add(Concat(), *tensors)


def _avg_pool2d(
    build: _Build,
    x: str,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> str:
    if ceil_mode or divisor_override is not None:
        raise UnsupportedError("ceil_mode and divisor_override are not known")
    pool = AvgPool2d(kernel_size, stride or None, padding, count_padding=count_include_pad)
    return build.add(pool, x)


def _mean(build: _Build, x: str, dim: Any = None, keepdim: bool = False) -> str:
    axes = [] if dim is None else [axis % 4 for axis in ([dim] if isinstance(dim, int) else dim)]
    if sorted(axes) != [2, 3] or keepdim:
        raise UnsupportedError(
            f"takes dim=(2, 3), the whole map, and no keepdim; found dim={dim}, keepdim={keepdim}"
        )
    return build.add(GlobalAvgPool2d(), x)


def _flatten(build: _Build, x: str, start_dim: int = 0, end_dim: int = -1) -> str:
    shape = build.types[x].shape
    if start_dim != 1 or end_dim not in (-1, len(shape)):
        raise UnsupportedError(f"takes everything after the batch, found from dim {start_dim}")
    if len(shape) == 1:
        return x
    # PyTorch counts (channel, row, column), a graph's map is (row, column, channel)
    return build.add(Flatten(), build.add(Transpose((2, 0, 1)), x))


FUNCTIONS: dict[Any, Callable[..., str]] = {
    operator.add: _add,
    operator.iadd: _add,
    torch.add: _add,
    torch.cat: _cat,
    torch.flatten: _flatten,
    torch.mean: _mean,
    torch.relu: _relu,
    functional.avg_pool2d: _avg_pool2d,
    functional.relu: _relu,
    "add": _add,
    "flatten": _flatten,
    "mean": _mean,
    "relu": _relu,
}
