"""From a Keras file to a graph: the walk over the calls of its layers."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitconv.convert.keras.activations import check_activation
from bitconv.convert.keras.architecture import Architecture, Call, Layer, architecture_of
from bitconv.convert.keras.build import Build
from bitconv.convert.keras.fields import Fields, shown
from bitconv.convert.keras.layers import ONE_INPUT, SEVERAL_INPUTS
from bitconv.convert.keras.quantizers import check_quantizers
from bitconv.convert.report import ConversionReport
from bitconv.errors import BitconvError, FileError, GraphError, UnsupportedError
from bitconv.graph import Graph, Metadata, TensorType
from bitconv.text import printable

if TYPE_CHECKING:
    from bitconv.convert.keras.source import Source

ADDITIONS = ("__operators__.add", "math.add")  # functions of TensorFlow that are Add layers


@dataclass(frozen=True, eq=False)
class Conversion:
    """A converted network, and what became of its layers."""

    graph: Graph
    report: ConversionReport


def convert(path: str | os.PathLike[str]) -> Conversion:
    """Make a graph of a Keras file, and a report of what became of its layers."""
    from bitconv.convert.keras.source import opened  # imports h5py

    try:
        with opened(Path(path)) as source:
            return _Walk(architecture_of(source.configuration()), source).run()
    except BitconvError as error:
        raise type(error)(f"{path}: {error}") from error


@dataclass
class _Walk:
    """The way through the calls of a model.

    Attributes
    ----------
    architecture : Architecture
    source : Source
    names : dict of str to str
        For every value of the model its name in the graph; values that cannot be had are missing.
    refusals : dict of str to BitconvError
        What is wrong with a layer, by its name and class.
    """

    architecture: Architecture
    source: Source
    names: dict[str, str] = field(default_factory=dict)
    refusals: dict[str, BitconvError] = field(default_factory=dict)

    def run(self) -> Conversion:
        model = self.architecture
        image = printable(model.input_value)
        inputs = {image: TensorType(model.input_shape)}
        build = Build(dict(inputs))
        self.names[model.input_value] = image
        for call in model.calls:
            self._visit(build, call)
        if self.refusals:
            raise self._refusal()
        outputs = tuple(dict.fromkeys(self.names[value] for value in model.outputs))
        graph = Graph(inputs, tuple(build.nodes), outputs, Metadata(name=model.name))
        return Conversion(graph, ConversionReport(tuple(build.reports)))

    def _visit(self, build: Build, call: Call) -> None:
        """Append what a call means; or note what is wrong, and go on to see what else is."""
        layer = call.layer
        title = f"{printable(layer.name)} ({printable(layer.kind)})"
        try:
            _check(call)
            if all(value in self.names for value in call.inputs):
                build.enter(printable(call.value), lambda names: self.source.arrays(layer, names))
                self.names[call.value] = _append(build, call, [self.names[v] for v in call.inputs])
        except FileError as error:
            raise FileError(f"{title}: {error}") from error
        except (UnsupportedError, GraphError) as error:
            self.refusals.setdefault(title, error)

    def _refusal(self) -> BitconvError:
        kinds = [type(error) for error in self.refusals.values()]
        kind = UnsupportedError if UnsupportedError in kinds else GraphError
        lines = [f"  {title}: {error}" for title, error in self.refusals.items()]
        count = f"{len(lines)} layer{'s' if len(lines) > 1 else ''}"
        return kind("\n".join([f"{count} cannot be converted", *lines]))


def _check(call: Call) -> None:
    """Raise `UnsupportedError` for what can be seen without the values that a layer takes."""
    kind, config = call.layer.kind, call.layer.config
    if _is_addition(call.layer):
        kind = "Add"
    if kind not in ONE_INPUT and kind not in SEVERAL_INPUTS:
        function = config.get("function")
        named = f", here {shown(function)}" if isinstance(function, str) else ""
        raise UnsupportedError(f"there is no operator for this class of layer{named}")
    _check_dtype(config)
    check_activation(config)
    check_quantizers(config)
    if call.rest:
        raise UnsupportedError(f"is called with {shown(call.rest)}, expected values alone")
    least = 1 if kind in ONE_INPUT else 2
    if len(call.inputs) < least or (least == 1 and len(call.inputs) > 1):
        raise FileError(f"takes {least} value{'s or more' * (least > 1)}, found {len(call.inputs)}")


def _check_dtype(config: Fields) -> None:
    dtype: Any = config.get("dtype")
    if isinstance(dtype, dict):  # a policy
        policy = Fields(dtype).get("config")
        dtype = policy.get("name", "several types") if isinstance(policy, dict) else policy
    if dtype not in (None, "float32"):
        raise UnsupportedError(f"computes in {shown(dtype)}, expected float32")


def _is_addition(layer: Layer) -> bool:
    return layer.kind == "TFOpLambda" and layer.config.get("function") in ADDITIONS


def _append(build: Build, call: Call, inputs: list[str]) -> str:
    kind, config = call.layer.kind, call.layer.config
    if kind in ONE_INPUT:
        return ONE_INPUT[kind](build, config, inputs[0])
    return SEVERAL_INPUTS["Add" if _is_addition(call.layer) else kind](build, config, inputs)
