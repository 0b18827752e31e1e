"""Comparing a PyTorch module with the graph made of it, layer by layer and label by label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from bitconv.errors import GraphError, InputError
from bitconv.graph import Graph, Node
from bitconv.operators import BatchNorm, BinaryConv2d, BinaryDense, Sign
from bitconv.rounding import ROUNDING, allowed_difference
from bitconv.training.layers import BinaryLayer
from bitconv.training.translate import IMAGE, REFUSALS, Translation, as_tuple

CHUNK = 50  # images at a time

Values = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Agreement:
    """How far a module and its graph said the same.

    Attributes
    ----------
    images : int
        Compared; every layer of each was equal when fed the same.
    same_labels : int
        Images whose highest score is at the same index.
    traced : tuple of str
        For every other image, the sign whose input lies within rounding of its threshold, or the
        two scores within rounding of each other, that explains the difference.
    """

    images: int
    same_labels: int
    traced: tuple[str, ...]


def compare(translation: Translation, images: NDArray[Any]) -> Agreement:
    """Compare a module with the references of its graph.

    Every layer is fed what PyTorch fed it. Signs must then be equal, and so must the integers of
    every layer whose weights and activations are binary: its sums of signs over each run of input
    channels that share a scale. Everything else must be equal up to float rounding.

    Parameters
    ----------
    translation : Translation
    images : array of shape (N, height, width, channels)
        As the graph takes them.

    Raises
    ------
    GraphError
        Naming the first layer that differs, or the image whose label differs for no such reason.
    InputError
        PyTorch cannot run the module on the images.
    """
    traced: list[str] = []
    for first in range(0, len(images), CHUNK):
        chunk = images[first : first + CHUNK]
        values, sums = _pytorch_values(translation, chunk)
        theirs = _compare_layers(translation.graph, values, sums)
        ours = translation.graph.reference({IMAGE: chunk})
        traced += _trace_labels(translation.graph, theirs, ours, first)
    return Agreement(len(images), len(images) - len(traced), tuple(traced))


# --- All values, of both sides ---------------------------------------------------------------


class _Recorder(fx.Interpreter):
    """Runs a traced module and keeps a copy of every value; a later call may work in place."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.values: Values = {}
        self.sums: dict[str, list[NDArray[Any]]] = {}  # of signs, a run of channels each

    def run_node(self, n: fx.Node) -> Any:
        if n.op == "call_module":
            layer = self.fetch_attr(str(n.target))
            if isinstance(layer, BinaryLayer) and layer.mode == "xnor":
                (x,), _ = self.fetch_args_kwargs_from_env(n)
                self.sums[n.name] = list(map(_channels_last, layer.sums_of_signs(x)))
        result = super().run_node(n)
        if isinstance(result, Tensor):
            self.values[n.name] = _channels_last(result)
        return result


def _channels_last(values: Tensor) -> NDArray[Any]:
    moved = values.movedim(1, -1) if values.dim() > 2 else values
    return moved.contiguous().clone().numpy()


def _expect_traced(traced: Sequence[NDArray[Any]], outputs: Sequence[Any]) -> None:
    """Raise `GraphError` where the module itself gives other outputs than what was traced."""
    same = len(traced) == len(outputs) and all(map(_is_near, traced, outputs))
    if not same:
        raise GraphError(
            "the module computes something else than the layers and functions that were traced: "
            "hooks of the whole module, a replaced forward method, or += or *= on a value that is "
            "used again may do that"
        )


def _is_near(traced: NDArray[Any], output: Any) -> bool:
    if not isinstance(output, Tensor):
        return False
    found, allowed = _channels_last(output), ROUNDING * np.abs(traced).max(initial=0.0)
    return found.shape == traced.shape and np.allclose(traced, found, 0, allowed, equal_nan=True)


@torch.no_grad()
def _pytorch_values(
    translation: Translation, images: NDArray[Any]
) -> tuple[Values, dict[str, list[NDArray[Any]]]]:
    """The value of every graph node that PyTorch computes too, channels last, and sums of signs."""
    graph, names = translation.graph, translation.names
    first_name = next(iter(names.values()))
    network_input = images
    if first_name != IMAGE:
        network_input = graph.nodes[0].operator.reference(images)
    recorder = _Recorder(translation.traced)
    # A copy, in PyTorch's order: the module may work in place on what it is given.
    tensor = torch.from_numpy(np.array(network_input.transpose(0, 3, 1, 2), order="C"))
    try:
        recorder.run(tensor.clone())
        outputs = translation.module(tensor)
    except REFUSALS as error:
        raise InputError(f"PyTorch cannot run the module on these images: {error}") from error
    values = {name: recorder.values[step] for step, name in names.items()}
    _expect_traced([values[name] for name in graph.outputs], as_tuple(outputs))
    sums = {translation.sums[step]: runs for step, runs in recorder.sums.items()}
    return {IMAGE: images, **values}, sums


# --- Layer by layer --------------------------------------------------------------------------


def _compare_layers(graph: Graph, theirs: Values, sums: Mapping[str, list[NDArray[Any]]]) -> Values:
    """Feed every node what PyTorch fed it and compare the results.

    Returns PyTorch's values, with those of the steps that it does not take.
    """
    values = dict(theirs)
    for node in graph.nodes:
        inputs = [
            values[name].astype(np.int8) if graph.types[name].kind == "bits" else values[name]
            for name in node.inputs
        ]
        if node.name in sums:
            _compare_sums(node, inputs[0], sums[node.name])
        result = node.operator.reference(*inputs)
        if node.name not in theirs:
            values[node.name] = result
            continue
        is_sign = isinstance(node.operator, Sign)
        allowed = 0.0 if is_sign else allowed_difference(node.operator, inputs, result)
        _expect_equal(node, result, theirs[node.name], allowed)
    return values


def _compare_sums(node: Node, signs: NDArray[Any], theirs: list[NDArray[Any]]) -> None:
    """The sums of signs over each run of input channels that share a scale must be equal."""
    operation = node.operator
    if isinstance(operation, BinaryDense):
        operation, signs = operation.convolution, signs[:, None, None, :]
    assert isinstance(operation, BinaryConv2d)
    assert operation.scale is not None  # every trained layer has one
    runs = operation.scale.segments(operation.weight_shape[-1])
    weight = operation.weight.signs()
    for run, expected in zip(runs, theirs, strict=True):
        sums = operation.sums(signs, weight, operation.pad_value, slice(*run))
        what = f"sums of signs over channels {run[0]} to {run[1] - 1}"
        _expect_equal(node, sums[:, 0, 0] if expected.ndim == 2 else sums, expected, 0.0, what)


def _expect_equal(
    node: Node,
    ours: NDArray[Any],
    theirs: NDArray[Any],
    allowed: Any,
    what: str = "values",
) -> None:
    """Raise `GraphError` where two maps differ by more than is `allowed`, a number or an array."""
    where = f"node {node.name!r} ({node.operator.name})"
    if ours.shape != theirs.shape:
        raise GraphError(f"{where}: has shape {ours.shape}, in PyTorch {theirs.shape}")
    wrong = ~(np.abs(ours - theirs) <= allowed)  # so that NaN is wrong
    if wrong.any():
        index = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise GraphError(
            f"{where}: {wrong.sum()} of {wrong.size} {what} differ from PyTorch's, the first at "
            f"{index}: {ours[index]} here, {theirs[index]} in PyTorch"
        )


# --- Label by label --------------------------------------------------------------------------


def _trace_labels(graph: Graph, theirs: Values, ours: Values, first: int) -> list[str]:
    """Why the labels differ, a line for each image where they do."""
    scores = [values[graph.outputs[0]] for values in (theirs, ours)]
    rounding = _relative_rounding(graph, theirs)
    labels = [values.reshape(len(values), -1).argmax(axis=1) for values in scores]
    lines = []
    for index in np.flatnonzero(labels[0] != labels[1]):
        image = slice(index, index + 1)
        reason = _first_flip(graph, theirs, ours, image, rounding) or _near_tie(
            scores[0][index].ravel(),
            int(labels[0][index]),
            int(labels[1][index]),
            rounding[graph.outputs[0]],
        )
        if reason is None:
            raise GraphError(
                f"image {first + index}: class {labels[1][index]} here, {labels[0][index]} in "
                "PyTorch, and neither a sign nor the scores are within rounding, though every "
                "layer fed by PyTorch gives what PyTorch gives"
            )
        lines.append(f"image {first + index}: {reason}")
    return lines


def _relative_rounding(graph: Graph, theirs: Values) -> dict[str, float]:
    """What the rounding of all layers up to a value may come to, in parts of its magnitude.

    A batch norm whose channels hardly vary takes the difference of large numbers, which makes the
    errors in front of it larger in proportion. Signs have none, up to the first that is flipped.
    """
    found = {IMAGE: 0.0}
    for node in graph.nodes:
        before = max(found[name] for name in node.inputs)
        grows = 1.0
        if isinstance(node.operator, BatchNorm):
            size = float(np.abs(theirs[node.name]).max(initial=0.0))
            _, offset = node.operator.factors()
            grows = max(1.0, float(np.abs(offset).max()) / size) if size else 1.0
        is_sign = isinstance(node.operator, Sign)
        found[node.name] = 0.0 if is_sign else max(ROUNDING, before) * grows
    return found


def _first_flip(
    graph: Graph, theirs: Values, ours: Values, image: slice, rounding: Mapping[str, float]
) -> str | None:
    """The first layer whose signs differ, if those are within rounding of their threshold."""
    for node in graph.nodes:
        if not isinstance(node.operator, Sign):
            continue
        flipped = theirs[node.name][image] != ours[node.name][image]
        if flipped.any():
            x = theirs[node.inputs[0]][image]
            distance = np.abs(x - node.operator.threshold)[flipped].max()
            if distance > rounding[node.inputs[0]] * np.abs(x).max():
                return None
            return f"{flipped.sum()} sign(s) of {node.name!r} within {distance:.1e} of a threshold"
    return None


def _near_tie(scores: NDArray[Any], one: int, other: int, rounding: float) -> str | None:
    gap = float(abs(scores[one] - scores[other]))
    if gap > rounding * float(np.abs(scores).max()):
        return None
    return f"the scores of {one} and {other} are within {gap:.1e} of each other"
