"""One network on two machines: the first half ends in bytes, the second starts from them.

    first, second = model.split(after="block2")
    second.run(first.run("photo.jpg"))          # between the two, bytes on their way

The bytes explain and check themselves. A node that has a codec travels by it, all others without
any loss, signs as bits.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bitconv.errors import EncodedMapError, InputError
from bitconv.feature_maps.codec import Codec
from bitconv.graph import Graph, Node, TensorType, needed_nodes
from bitconv.model import Model
from bitconv.operators import Sign
from bitconv.prediction import Prediction

if TYPE_CHECKING:
    from bitconv.model import FeatureMaps, ImageLike

_MAGIC = b"BFV1"
_HEADER = struct.Struct("<4sIII")  # magic, values, bytes behind the header, CRC-32 of those
_SHOWN = 8  # nodes that a message names


@dataclass(frozen=True)
class Lossless:
    """How a value that has no codec travels: signs as bits, numbers as float32, both deflated.

    Attributes
    ----------
    type : TensorType
        Of the value, for one image.
    """

    type: TensorType

    def encode(self, value: NDArray[Any]) -> bytes:
        """The bytes of a value of one image."""
        if self.type.kind == "bits":
            content = np.packbits(value < 0).tobytes()
        else:  # bytes of like significance follow each other, which deflates better
            content = value.astype("<f4").reshape(-1).view(np.uint8).reshape(-1, 4).T.tobytes()
        data = zlib.compress(content, 1)
        return _HEADER.pack(_MAGIC, self.type.size, len(data), zlib.crc32(data)) + data

    def decode(self, data: bytes) -> NDArray[np.float32]:
        """The value, as numbers; −1 and +1 for signs.

        Raises
        ------
        EncodedMapError
            Where the bytes are damaged, or another value's.
        """
        size, signs = self.type.size, self.type.kind == "bits"
        if len(data) < _HEADER.size or not data.startswith(_MAGIC):
            raise EncodedMapError(f"these are no bytes of a value {self.type}")
        _, values, length, check = _HEADER.unpack_from(data)
        content = data[_HEADER.size :]
        if len(content) != length or zlib.crc32(content) != check:
            raise EncodedMapError("the bytes of a value are damaged: cut off, or another CRC-32")
        if values != size:
            raise EncodedMapError(f"the bytes hold {values} values, expected {self.type}")
        expected = -(-size // 8) if signs else 4 * size
        octets = np.frombuffer(_inflated(content, expected), np.uint8)
        if signs:
            numbers = 1 - 2 * np.unpackbits(octets, count=size).astype(np.float32)
        else:
            numbers = np.ascontiguousarray(octets.reshape(4, -1).T).view("<f4").astype(np.float32)
        return numbers.reshape(self.type.shape)


@dataclass(frozen=True, eq=False)
class Coded:
    """How a value travels by its codec.

    Attributes
    ----------
    codec : Codec
    shape : tuple of int
        Of the value, for one image.
    """

    codec: Codec
    shape: tuple[int, ...]

    def encode(self, value: NDArray[Any]) -> bytes:
        """The bytes of a value of one image."""
        return self.codec.encode(value)

    def decode(self, data: bytes) -> NDArray[np.float32]:
        """The value, as far as the codec keeps it; see `Codec.decode`."""
        return self.codec.decode(data, self.shape)


def _inflated(content: bytes, expected: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(content, expected + 1)  # never more memory than is needed
    except zlib.error as error:
        raise EncodedMapError(f"the bytes of a value cannot be inflated: {error}") from error
    if len(data) != expected or not inflater.eof:
        raise EncodedMapError(f"{len(data)} bytes were deflated, expected {expected}")
    return data


@dataclass(frozen=True, eq=False)
class FirstHalf:
    """A network up to a node whose value leaves as bytes.

    Attributes
    ----------
    model : Model
        Ends in the value.
    coding : Coded or Lossless
    """

    model: Model
    coding: Coded | Lossless

    def run(self, image: ImageLike) -> bytes:
        """The bytes for one image; see `Model.run`."""
        from bitconv.images import prepare

        shape, preparation = self.model.input_shape, self.model.graph.metadata.preparation
        return self.predict(prepare(image, shape, preparation)[None])[0]

    def predict(self, images: NDArray[Any]) -> list[bytes]:
        """The bytes for each image of a batch; see `Model.predict`."""
        values = self.model.predict(images)
        return [self.coding.encode(value) for value in np.asarray(values)]


@dataclass(frozen=True, eq=False)
class SecondHalf:
    """A network behind a node whose value comes as bytes.

    Attributes
    ----------
    model : Model
        Starts from the value.
    coding : Coded or Lossless
    """

    model: Model
    coding: Coded | Lossless

    def run(self, data: bytes) -> Prediction:
        """The class scores of one image.

        Raises
        ------
        EncodedMapError
            The bytes are damaged, or those of another network or node.
        InputError
            The network does not end in class scores.
        """
        output = self.model.graph.outputs[0]
        value = self.model.graph.types[output]
        if len(value.shape) != 1:
            raise InputError(f"run takes a network that ends in class scores, found {value}")
        scores = self.predict([data])
        first = scores[output] if isinstance(scores, dict) else scores
        return Prediction(first[0].astype(np.float32), self.model.labels)

    def predict(self, data: Sequence[bytes]) -> NDArray[Any] | dict[str, NDArray[Any]]:
        """What `Model.predict` of the whole network returns for a batch of images."""
        if not isinstance(data, list | tuple) or not all(map(_are_bytes, data)):
            raise InputError(
                "predict takes the bytes of each image in a list; for one there is run"
            )
        batch = np.empty((len(data), *self.model.input_shape), np.float32)
        for target, each in zip(batch, data, strict=True):
            target[:] = self.coding.decode(bytes(each))
        return self.model.predict(batch)


def _are_bytes(data: object) -> bool:
    return isinstance(data, bytes | bytearray | memoryview)


def split(
    graph: Graph, after: str, *, threads: int | None, feature_maps: FeatureMaps
) -> tuple[FirstHalf, SecondHalf]:
    """The two halves of a network; see `Model.split`."""
    nodes = {node.name: node for node in graph.nodes}
    if after not in nodes:
        raise InputError(f"the network has no node {after!r} to be split after")
    before = _needed_for(graph, (after,), until=())
    behind = _needed_for(graph, graph.outputs, until=(after,))
    _check_cut(graph, after, before, behind)
    value, codec = graph.types[after], graph.codecs.get(after)
    coding = Lossless(value) if codec is None else Coded(codec.codec, value.shape)
    halves = _first(graph, after, before), _second(graph, after, behind)
    models = [_model(half, threads, feature_maps) for half in halves]
    return FirstHalf(models[0], coding), SecondHalf(models[1], coding)


def _model(graph: Graph, threads: int | None, feature_maps: FeatureMaps) -> Model:
    return Model(graph, threads=threads, feature_maps=feature_maps if graph.codecs else False)


def _first(graph: Graph, after: str, names: set[str]) -> Graph:
    # The codec of the last value is the way out, and must not work twice.
    codecs = {name: graph.codecs[name] for name in graph.codecs if name in names - {after}}
    nodes = tuple(node for node in graph.nodes if node.name in names)
    metadata = replace(graph.metadata, labels=(), accuracy="")
    return Graph(graph.inputs, nodes, (after,), metadata, codecs)


def _second(graph: Graph, after: str, names: set[str]) -> Graph:
    codecs = {name: graph.codecs[name] for name in graph.codecs if name in names}
    nodes = tuple(node for node in graph.nodes if node.name in names)
    value, name = graph.types[after], after
    if value.kind == "bits":  # which come in as numbers
        name = f"{after} as numbers"
        while name in graph.types:
            name += "'"
        nodes = (Node(after, Sign(np.zeros(1, np.float32)), (name,)), *nodes)
    inputs = {name: TensorType(value.shape, "float32")}
    return Graph(inputs, nodes, graph.outputs, graph.metadata, codecs)


def _needed_for(graph: Graph, names: Iterable[str], until: Iterable[str]) -> set[str]:
    """The nodes that values are computed by, from but without those of `until` on."""
    nodes = [node for node in graph.nodes if node.name not in until]
    return {node.name for node in needed_nodes(nodes, names)}


def _crossing(graph: Graph, after: str, before: set[str], behind: set[str]) -> list[str]:
    """The values of the first half, or inputs, that the second needs besides the node's own."""
    inputs = [i for node in graph.nodes if node.name in behind - before for i in node.inputs]
    needed = dict.fromkeys((*inputs, *graph.outputs))
    return [name for name in needed if name != after and name in before | graph.inputs.keys()]


def _check_cut(graph: Graph, after: str, before: set[str], behind: set[str]) -> None:
    if not behind:
        raise InputError(f"nothing is computed behind {after!r}, where the network was to be split")
    crossing = _crossing(graph, after, before, behind)
    if crossing:
        possible = [node.name for node in graph.nodes if _is_cut(graph, node.name)]
        raise InputError(
            f"the network cannot be split after {after!r}: what is behind it also needs "
            f"{_listed(crossing)}; it can be split after {_listed(possible) or 'no node'}"
        )


def _is_cut(graph: Graph, name: str) -> bool:
    behind = _needed_for(graph, graph.outputs, until=(name,))
    before = _needed_for(graph, (name,), until=())
    return bool(behind) and not _crossing(graph, name, before, behind)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:_SHOWN]))
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
