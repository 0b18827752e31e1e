"""A converted network beside onnxruntime, on the same images."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.convert.onnx.translation import Conversion
from bitconv.convert.onnx.values import Value, natural_order
from bitconv.errors import InputError, MissingPackageError, UnsupportedError
from bitconv.model import Model
from bitconv.verification import ROUNDING

TRACED = 4  # images, those whose scores differ most, that are followed from layer to layer


@dataclass(frozen=True)
class Parting:
    """The first tensor of a network at which both runs differ by more than rounding.

    Attributes
    ----------
    tensor : str
        As ONNX calls it.
    differing, elements : int
    largest : float
        The largest difference.
    margin : float, optional
        Of a sign: how far from its threshold onnxruntime's number lies where the signs differ, at
        most, in terms of the largest number there.
    """

    tensor: str
    differing: int
    elements: int
    largest: float
    margin: float | None = None

    @property
    def is_rounding(self) -> bool:
        """Whether it is signs of numbers so close to the threshold that rounding decides."""
        return self.margin is not None and self.margin <= ROUNDING

    def __str__(self) -> str:
        text = f"{self.tensor}: {self.differing} of {self.elements} differ"
        if self.margin is None:
            return f"{text}, by up to {self.largest:.3g}"
        return f"{text}, signs of numbers within {self.margin:.1g} of their threshold"


@dataclass(frozen=True)
class Agreement:
    """How a converted network compares with onnxruntime; printable.

    Attributes
    ----------
    images, same_labels : int
    largest_difference : float
        Of the scores.
    partings : tuple of Parting
        Of the images whose scores differ most, where there are more than rounding explains.
    """

    images: int
    same_labels: int
    largest_difference: float
    partings: tuple[Parting, ...]

    @property
    def ok(self) -> bool:
        """Whether every difference that was followed is rounding, or a sign that it decides."""
        return all(each.is_rounding for each in self.partings)

    def __str__(self) -> str:
        lines = [
            f"{self.same_labels:,} of {self.images:,} images get onnxruntime's label; scores "
            f"differ by at most {self.largest_difference:.3g}"
        ]
        if not self.partings:
            lines.append("no layer parts from onnxruntime by more than rounding")
        lines += [f"first parting: {each}" for each in dict.fromkeys(self.partings)]
        return "\n".join(lines)


def verify(
    path: str | Path,
    conversion: Conversion,
    chunks: Iterable[NDArray[Any]],
    model: Model | None = None,
    normalize: Callable[[NDArray[Any]], NDArray[Any]] | None = None,
) -> Agreement:
    """Run onnxruntime and the converted network.

    Parameters
    ----------
    path : str or Path
        The ONNX file.
    conversion : Conversion
        What `convert` made of it.
    chunks : iterable of arrays of shape (N, height, width, channels)
        Images in batches, as `model` takes them.
    model : Model, optional
        The converted network, where it does more than `conversion.graph`.
    normalize : callable, optional
        What `model` does to images before that.
    """
    model = Model(conversion.graph) if model is None else model
    peer = _Peer(path, conversion)
    images = same = 0
    largest = 0.0
    worst: list[tuple[float, NDArray[Any]]] = []
    output = model.graph.outputs[0]
    for chunk in chunks:
        prepared = chunk if normalize is None else normalize(chunk)
        expected = peer.outputs(prepared)
        results = model.predict(chunk)
        found = results[output] if isinstance(results, dict) else results
        difference = np.abs(found.astype(np.float64) - expected).reshape(len(chunk), -1).max(1)
        labels = (each.reshape(len(chunk), -1).argmax(1) for each in (found, expected))
        images, same = images + len(chunk), same + int(np.equal(*labels).sum())
        largest = max(largest, float(difference.max()))
        worst += zip(difference.tolist(), prepared, strict=True)
        worst = sorted(worst, key=lambda each: -each[0])[:TRACED]
    if not images:
        raise InputError("there is no image to verify with")
    inner = Model(conversion.graph)
    partings = [peer.first_parting(inner, image[None]) for _, image in worst]
    return Agreement(images, same, largest, tuple(each for each in partings if each is not None))


class _Peer:
    """An ONNX network in onnxruntime, with its values in the order of the graph."""

    def __init__(self, path: str | Path, conversion: Conversion) -> None:
        try:
            import onnx
            import onnxruntime
        except ImportError as error:
            raise MissingPackageError(
                "verifying takes onnxruntime: pip install 'bitconv[onnx]'"
            ) from error
        self._conversion = conversion
        model = onnx.load(str(path))
        self._session = self._start(onnxruntime, model)
        given = self._session.get_inputs()[0]
        self._input = given.name
        self._kind = np.uint8 if given.type == "tensor(uint8)" else np.float32
        self._batch = given.shape[0] if isinstance(given.shape[0], int) else None
        outputs = [each.name for each in model.graph.output]
        self._output = outputs[0]
        graph = conversion.graph
        computed = [name for node in model.graph.node for name in node.output]
        self._followed = [
            name
            for name in computed
            if (value := conversion.values.get(name)) is not None and value.node in graph.types
        ]
        model.graph.output.extend(
            onnx.ValueInfoProto(name=name) for name in self._followed if name not in outputs
        )
        self._onnxruntime, self._model = onnxruntime, model

    def _start(self, onnxruntime: Any, model: Any) -> Any:
        try:
            return onnxruntime.InferenceSession(model.SerializeToString())
        except Exception as error:  # its exceptions share no public base
            raise UnsupportedError(f"onnxruntime cannot run the network: {error}") from error

    def outputs(self, batch: NDArray[Any]) -> NDArray[Any]:
        """The first output, for a batch as the graph takes it."""
        (result,) = self._run(self._session, [self._output], batch)
        return _stored(result, self._conversion.values[self._output])

    def first_parting(self, model: Model, image: NDArray[Any]) -> Parting | None:
        """Where the runs of an image part; None where all of them agree up to rounding."""
        session = self._start(self._onnxruntime, self._model)
        values = self._conversion.values
        expected = dict(zip(self._followed, self._run(session, self._followed, image), strict=True))
        nodes = tuple(dict.fromkeys(values[name].node for name in self._followed))
        held = model.predict(image, nodes=nodes)
        found = held if isinstance(held, dict) else {nodes[0]: held}
        for name in self._followed:
            value = values[name]
            parting = _compare(name, value, found[value.node], expected)
            if parting is not None:
                return self._with_margin(parting, value, found[value.node], expected)
        return None

    def _with_margin(
        self, parting: Parting, value: Value, held: NDArray[Any], expected: dict[str, NDArray[Any]]
    ) -> Parting:
        """The parting of a sign with how close to the threshold its numbers are."""
        if not value.is_comparison:
            return parting
        assert value.threshold is not None
        numbers = _as_onnx(held, value)
        differs = _levels(numbers, value) != _inside(expected[parting.tensor], value)
        away = np.abs(numbers.astype(np.float64) - value.threshold)[differs]
        scale = max(1.0, float(np.abs(numbers).max()))
        return Parting(
            parting.tensor,
            parting.differing,
            parting.elements,
            parting.largest,
            float(away.max()) / scale,
        )

    def _run(self, session: Any, names: list[str], batch: NDArray[Any]) -> list[NDArray[Any]]:
        """The named tensors for a batch, in as many runs as the network's own batch needs."""
        order = self._conversion.values[self._input].order
        axes = [0, *(1 + order.index(axis) for axis in range(len(order)))]
        given = np.ascontiguousarray(batch.transpose(axes).astype(self._kind))
        size = self._batch or len(given)
        runs = []
        for first in range(0, len(given), size):
            part = given[first : first + size]
            lacking = size - len(part)
            filled = np.concatenate([part, np.repeat(part[-1:], lacking, axis=0)])
            results = session.run(names, {self._input: filled})
            runs.append([result[: len(part)] for result in results])
        return [np.concatenate(each) for each in zip(*runs, strict=True)]


def _as_onnx(held: NDArray[Any], value: Value) -> NDArray[Any]:
    """What a node of the graph holds, with its axes as ONNX has them."""
    if value.chw is not None:
        channels, height, width = value.chw
        return held.reshape(-1, height, width, channels).transpose(0, 3, 1, 2).reshape(held.shape)
    order = value.order
    return held.transpose(0, *(1 + order.index(axis) for axis in range(len(order))))


def _stored(result: NDArray[Any], value: Value) -> NDArray[Any]:
    """An output of ONNX with its axes as the graph gives it."""
    order = natural_order(len(value.shape))
    return result.transpose(0, *(1 + axis for axis in order))


def _inside(tensor: NDArray[Any], value: Value) -> NDArray[np.float64]:
    """A tensor of ONNX without the padding that the graph does not hold."""
    if value.padding is not None:
        ends = zip(value.padding.before, value.shape, value.padding.after, strict=True)
        places = [slice(before, length - after) for before, length, after in ends]
        tensor = tensor[:, *places]
    return tensor.astype(np.float64)


def _levels(numbers: NDArray[Any], value: Value) -> NDArray[np.float64]:
    """The levels that a value stands for."""
    levels = [np.asarray(level, np.float64) for level in value.levels]
    if value.is_signs:
        return np.where(numbers > 0, levels[1], levels[0])
    assert value.threshold is not None
    below, at, above = levels
    return np.where(
        numbers < value.threshold, below, np.where(numbers > value.threshold, above, at)
    )


def _compare(
    name: str, value: Value, held: NDArray[Any], expected: dict[str, NDArray[Any]]
) -> Parting | None:
    wanted = _inside(expected[name], value)
    numbers = _as_onnx(held, value).astype(np.float64)
    if value.levels:
        numbers, allowed = _levels(numbers, value), 0.0
    else:
        allowed = ROUNDING * max(1.0, float(np.abs(wanted).max(initial=0.0)))
    difference = np.abs(numbers.reshape(wanted.shape) - wanted)
    differing = int((difference > allowed).sum())
    if not differing:
        return None
    return Parting(name, differing, difference.size, float(difference.max()))
