"""From a PyTorch module to a graph: the walk over its layers and functions.

The module is traced with ``torch.fx``. A layer with parameters has an entry in `LAYERS`, everything
else that a forward method may call one in `FUNCTIONS`; what has none is refused.
"""

from __future__ import annotations

import copy
import inspect
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn
from torch.nn.parallel import DistributedDataParallel

from bitconv.errors import GraphError, UnsupportedError
from bitconv.graph import Graph, Metadata, TensorType, ValueKind
from bitconv.operators import Normalize
from bitconv.training.build import Build
from bitconv.training.function_rules import FUNCTIONS, IN_PLACE
from bitconv.training.layer_rules import LAYERS
from bitconv.training.layers import BinaryLayer

IMAGE = "image"  # the graph's input

# What does not fit may raise: errors of ours, of Python and of PyTorch.
REFUSALS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)

# Layers without parameters, whose forward method calls a function that `FUNCTIONS` knows.
TRANSPARENT = (
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.AvgPool2d,
    nn.ConstantPad2d,
    nn.Dropout,
    nn.Dropout2d,
    nn.Flatten,
    nn.Hardtanh,
    nn.Identity,
    nn.LeakyReLU,
    nn.MaxPool2d,
    nn.ReLU,
    nn.ReLU6,
    nn.Softmax,
    nn.ZeroPad2d,
)


@dataclass(frozen=True, eq=False)
class Translation:
    """A module beside the graph made of it.

    Attributes
    ----------
    module : torch.nn.Module
        The module in evaluation mode, on the CPU.
    traced : torch.fx.GraphModule
        The same as PyTorch's own graph.
    graph : Graph
    names : mapping of str to str
        For every node of `traced` that computes a value of an image, its name in `graph`.
    sums : mapping of str to str
        For every node of `traced` that is a binary layer, the node of `graph` with its sums.
    """

    module: nn.Module
    traced: fx.GraphModule
    graph: Graph
    names: Mapping[str, str]
    sums: Mapping[str, str]


def translate(
    module: nn.Module,
    image_shape: tuple[int, int, int],
    normalization: Normalize | None = None,
    metadata: Metadata | None = None,
) -> Translation:
    """Make a graph of a module; see `bitconv.training.to_graph`."""
    module = _evaluated_copy(module)
    if type(module) in LAYERS:
        module = nn.Sequential(module)  # a layer becomes a node only within a module
    traced = _trace(module)
    kind: ValueKind = "float32" if normalization is None else "uint8"
    inputs = {IMAGE: TensorType(image_shape, kind)}
    build = Build(dict(inputs))
    image = IMAGE if normalization is None else build.add(normalization, IMAGE)
    walk = _Walk(traced, build, image)
    outputs = walk.run()
    graph = Graph(inputs, tuple(build.nodes), outputs, metadata or Metadata())
    names = {step: value for step, value in walk.values.items() if isinstance(value, str)}
    return Translation(module, traced, graph, names, walk.sums)


def _evaluated_copy(module: nn.Module) -> nn.Module:
    """The module in evaluation mode, in float32 on the CPU; the caller's own stays as it is."""
    if not isinstance(module, nn.Module):
        raise UnsupportedError(f"takes a torch.nn.Module, found {type(module).__name__}")
    try:
        copied = copy.deepcopy(_unwrapped(module)).to("cpu", torch.float32).eval()
    except (RuntimeError, TypeError) as error:  # it holds the value of a call, a file, ...
        raise UnsupportedError(f"{type(module).__name__} cannot be copied: {error}") from error
    for parent in list(copied.modules()):
        for name, child in parent.named_children():
            setattr(parent, name, _unwrapped(child))
    return copied


def _unwrapped(module: nn.Module) -> nn.Module:
    """What was compiled by ``torch.compile``, or spread over devices; else the module itself."""
    spread = isinstance(module, nn.DataParallel | DistributedDataParallel)
    inner = module._modules.get("module" if spread else "_orig_mod")
    return module if inner is None else _unwrapped(inner)


class _Tracer(fx.Tracer):
    """Keeps the layers of `LAYERS`, and what derives from them, whole; looks into `TRANSPARENT`."""

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        if type(module) in TRANSPARENT:
            return False
        is_layer = isinstance(module, tuple(LAYERS))
        return is_layer or super().is_leaf_module(module, qualified_name)


def _trace(module: nn.Module) -> fx.GraphModule:
    try:
        return fx.GraphModule(module, _Tracer().trace(module), type(module).__name__)
    except REFUSALS as error:
        raise UnsupportedError(
            f"{type(module).__name__} cannot be traced, its forward method must do the same for "
            f"every image: {error}"
        ) from error


@dataclass
class _Walk:
    """The way through a traced module, step by step.

    Attributes
    ----------
    traced : torch.fx.GraphModule
    build : Build
    image : str
        The value that enters the module.
    values : dict of str to Any
        Of every step: the name of its value in the graph, a tuple of such names, or what is the
        same for every image.
    sums : dict of str to str
        See `Translation`.
    """

    traced: fx.GraphModule
    build: Build
    image: str
    values: dict[str, Any] = field(default_factory=dict)
    sums: dict[str, str] = field(default_factory=dict)

    def run(self) -> tuple[str, ...]:
        """Append what every step means and return the names of the outputs."""
        outputs: tuple[str, ...] = ()
        for step in self.traced.graph.nodes:
            if step.op == "output":
                outputs = _outputs(self._arguments(step)[0][0])
            elif step.op != "placeholder":
                self.values[step.name] = self._step(step)
            elif self.values:
                raise UnsupportedError("the module takes several inputs, expected one image")
            else:
                self.values[step.name] = self.image
        return outputs

    def _arguments(self, step: fx.Node) -> Any:
        """What a step is called with, by position and by name."""
        return fx.map_arg((step.args, step.kwargs), lambda node: self.values[node.name])

    def _step(self, step: fx.Node) -> Any:
        """Append what a call means and return the name of its value.

        A call that sees nothing of the image, such as ``self.gain.abs()``, is made instead, and
        what it returns is returned.
        """
        stack = list(step.meta.get("nn_module_stack", {"": ("", type(self.traced))}).values())
        self.build.place, place_type = stack[-1]
        self.build.is_layer = step.op == "call_module" or place_type in TRANSPARENT
        called = "" if step.op == "call_module" else f" {_name_of(step)}:"
        try:
            if step.op == "call_module":
                return self._layer(step)
            if any(_is_of_image(self.values[node.name]) for node in step.all_input_nodes):
                return self._function(step)
            return self._call(step)
        except REFUSALS as error:
            kind = GraphError if isinstance(error, GraphError) else UnsupportedError
            where = f"{self.build.place or 'the module itself'} ({place_type.__name__}):{called}"
            raise kind(f"{where} {error}") from error

    def _layer(self, step: fx.Node) -> str:
        layer = self.traced.get_submodule(str(step.target))
        rule = LAYERS.get(type(layer))
        if rule is None:
            known = sorted(kind.__name__ for kind in (*LAYERS, *TRANSPARENT))
            raise UnsupportedError(f"no operator for this layer; known are {', '.join(known)}")
        arguments, named = self._arguments(step)
        if named or len(arguments) != 1 or not isinstance(arguments[0], str):
            raise UnsupportedError("takes one value of the image, unnamed")
        value = rule(self.build, layer, arguments[0])
        if isinstance(layer, BinaryLayer):
            self.sums[step.name] = self.build.sums
        return value

    def _function(self, step: fx.Node) -> Any:
        rule = FUNCTIONS.get(step.target)
        if rule is None:
            raise UnsupportedError("has no operator")
        arguments, named = self._arguments(step)
        bound = inspect.signature(rule).bind(self.build, *arguments, **named)
        works_in_place = step.target in IN_PLACE or bound.arguments.get("inplace")
        changed = step.all_input_nodes[0]
        if works_in_place and len(changed.users) > 1:
            # It changes its input for everybody, but in a graph values never change.
            raise UnsupportedError(f"works in place on {changed.name}, which others use too")
        return rule(*bound.args, **bound.kwargs)

    def _call(self, step: fx.Node) -> Any:
        """What a call returns that sees nothing of the image."""
        if step.op == "get_attr":
            return operator.attrgetter(str(step.target))(self.traced)
        arguments, named = self._arguments(step)
        if isinstance(step.target, str):
            return getattr(arguments[0], step.target)(*arguments[1:], **named)
        return step.target(*arguments, **named)


def _is_of_image(value: Any) -> bool:
    """Whether a value is one of the graph, or several of them."""
    return isinstance(value, str) or (isinstance(value, tuple) and any(map(_is_of_image, value)))


def _name_of(step: fx.Node) -> str:
    return str(getattr(step.target, "__name__", step.target))


def _outputs(result: Any) -> tuple[str, ...]:
    outputs = as_tuple(result)
    if not all(isinstance(output, str) for output in outputs):
        raise UnsupportedError(f"the module returns {result!r}, expected one tensor or several")
    return outputs


def as_tuple(result: Any) -> tuple[Any, ...]:
    """What a module returns, one value or several, as several."""
    return tuple(result) if isinstance(result, tuple | list) else (result,)
