"""What a user holds: a loaded network, and what it says of an image."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from bitconv.errors import InputError, UnsupportedError
from bitconv.graph import Graph, TensorType
from bitconv.parameters import positive_integer
from bitconv.prediction import Prediction

if TYPE_CHECKING:
    from PIL.Image import Image

    from bitconv.compiler import Plan
    from bitconv.cost import Summary
    from bitconv.executor import Workspace
    from bitconv.kernels.warmup import Report
    from bitconv.profiling import Profile
    from bitconv.splitting import FirstHalf, SecondHalf
    from bitconv.verification import Verification

    ImageLike = str | Path | Image | NDArray[np.uint8]

FeatureMaps = bool | Literal["all"]
BATCH_BYTES = 32 * 2**20  # of arena that a batch may take; larger batches run in chunks
MAX_BATCH = 64


def load(
    model: str | Path | None = None,
    *,
    threads: int | None = None,
    feature_maps: FeatureMaps = False,
) -> Model:
    """Load a network.

    Parameters
    ----------
    model : str or Path, optional
        A shipped model's name or the path of a file; the shipped default when not given.
    threads : int, optional
    feature_maps : bool or "all"
        See `Model`.

    Raises
    ------
    InputError
        There is no such model, or it has no codecs for its feature maps.
    FileError
        The file is damaged or not in bitconv's format.
    """
    from bitconv.file import read
    from bitconv.shipped import model_path

    return Model(read(model_path(model)), threads=threads, feature_maps=feature_maps)


def run(
    image: ImageLike, model: str | Path | None = None, *, threads: int | None = None
) -> Prediction:
    """Classify one image; see `load` and `Model.run`. The last few models stay loaded."""
    from bitconv.shipped import model_path

    path = model_path(model).resolve()
    state = path.stat()
    count = None if threads is None else positive_integer(threads, "threads")
    return _loaded(path, (state.st_mtime_ns, state.st_size), count).run(image)


@lru_cache(maxsize=4)
def _loaded(path: Path, version: tuple[int, int], threads: int | None) -> Model:  # noqa: ARG001  # a changed file is loaded anew
    return load(path, threads=threads)


class Model:
    """A loaded network, ready to run. Immutable; may be called from several threads at once.

    Parameters
    ----------
    graph : Graph
        With one input.
    threads : int, optional
        Threads a call may use, at most the usable cores; all of them when not given. Small networks
        run on one, and others do for a while when other programs have the cores.
    feature_maps : bool or "all"
        Keep the maps that have codecs encoded in memory: those that live beyond the step after
        the one that computes them, or all. The network is then one with these codecs in it, see
        `bitconv.feature_maps.compression.compress`.

    Attributes
    ----------
    graph : Graph
        What is computed, codecs included where maps are kept encoded.
    threads : int

    Raises
    ------
    InputError
        Feature maps are to be kept encoded, but the network has no codecs for them.
    UnsupportedError
        The network cannot be run, naming the node.
    """

    def __init__(
        self, graph: Graph, *, threads: int | None = None, feature_maps: FeatureMaps = False
    ) -> None:
        if not isinstance(graph, Graph):
            raise InputError(
                f"a model takes a Graph, found {type(graph).__name__}; bitconv.load reads a file"
            )
        if len(graph.inputs) != 1:
            raise UnsupportedError(
                f"a model takes one input, the graph has {', '.join(graph.inputs)}"
            )
        wanted = None if threads is None else positive_integer(threads, "threads")
        from bitconv.kernels.threads import usable_threads

        self._source, self._feature_maps = graph, feature_maps
        self._graph = graph
        ((self._input_name, self._input),) = graph.inputs.items()
        if feature_maps:
            from bitconv.feature_maps.compression import compress

            self._graph = compress(graph, feature_maps)
        self._threads = min(wanted or usable_threads(), usable_threads())
        # Filled without a lock, by operations that are atomic, so that a forked child never finds
        # one locked by a thread that it does not have.
        self._plans: dict[tuple[str, int, tuple[str, ...], bool], _Prepared] = {}
        self._plan(self._kind, 1, ())  # what cannot be run is refused now

    @property
    def graph(self) -> Graph:
        return self._graph

    @property
    def threads(self) -> int:
        return self._threads

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the class scores; the class numbers as text where the file has none."""
        classes = self._graph.types[self._graph.outputs[0]].shape[-1]
        return self._graph.metadata.labels or tuple(str(index) for index in range(classes))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(height, width, channels) of an image."""
        return self._input.shape

    def run(self, image: ImageLike) -> Prediction:
        """Classify one image.

        Parameters
        ----------
        image : path, Pillow image, or uint8 array of shape (H, W, 3) or (H, W)
            Resized, cropped and normalized as the model's file says.

        Raises
        ------
        InputError
            The image cannot be read, or the network does not end in class scores.
        """
        from bitconv.images import prepare

        output = self._graph.outputs[0]
        if len(self._graph.types[output].shape) != 1:
            raise InputError(
                f"run takes a network that ends in class scores; {output!r} is "
                f"{self._graph.types[output]}: use predict"
            )
        array = prepare(image, self.input_shape, self._graph.metadata.preparation)
        scores = self._compute(array[None], (output,))[output][0]
        return Prediction(scores.astype(np.float32), self.labels)

    def predict(
        self, images: NDArray[Any], *, nodes: str | Sequence[str] = ()
    ) -> NDArray[Any] | dict[str, NDArray[Any]]:
        """Compute a batch, in chunks of bounded memory.

        Parameters
        ----------
        images : uint8 or float32 array of shape (N, height, width, channels)
            Of the network's input size; values 0 to 255 where the network normalizes them itself.
        nodes : str or sequence of str
            Values to return besides the outputs.

        Returns
        -------
        array of shape (N, ...)
            Raw scores, or whatever the network ends in. With `nodes`, or where the network has
            several outputs, a dict of such arrays by name; signs are int8 arrays of −1 and +1.

        Raises
        ------
        InputError
            The array has another shape or type, or holds NaN or infinity.
        """
        batch = self._checked(images)
        named = (nodes,) if isinstance(nodes, str) else tuple(nodes)
        for name in named:
            if not isinstance(name, str) or name not in self._graph.types:
                raise InputError(f"the network has no node {name!r}")
        wanted = tuple(dict.fromkeys((*self._graph.outputs, *named)))
        results = self._compute(batch, wanted)
        return results if len(wanted) > 1 else results[wanted[0]]

    def reference(self, images: NDArray[Any]) -> NDArray[Any] | dict[str, NDArray[Any]]:
        """What `predict` returns, through the operators' NumPy definitions."""
        batch = self._checked(images)
        image = batch.astype(self._kind_of(batch), copy=False)
        values = self._graph.reference({self._input_name: image})
        outputs = self._graph.outputs
        if len(outputs) == 1:
            return values[outputs[0]]
        return {name: values[name] for name in outputs}

    def verify(self, images: NDArray[Any]) -> Verification:
        """Compare every step with the references, each fed the same input, and the whole run.

        The steps are those of a run that keeps what they store. `predict`, which does not, must
        give the same outputs.

        Parameters
        ----------
        images : array
            As for `predict`; every value of the network is held in memory for all of them.
        """
        from bitconv.verification import Verification, distance, verify_steps

        batch = self._checked(images)
        kind = self._kind_of(batch)
        plan = self._plan(kind, 1, ())
        stored = tuple(
            dict.fromkeys(
                name
                for step in plan.steps
                for name in (*step.reads, *step.writes)
                if name in self._graph.types and name != self._input_name
            )
        )
        names = self._graph.outputs
        values = self._compute(batch, tuple(dict.fromkeys((*names, *stored))))
        graph = self._graph_for(kind)
        inputs = {self._input_name: batch.astype(kind, copy=False)}
        steps = verify_steps(graph, plan.steps, values | inputs)
        outputs, reference = self._compute(batch, names), self.reference(batch)
        expected = reference if isinstance(reference, dict) else {names[0]: reference}
        same = outputs[names[0]].argmax(-1) == expected[names[0]].argmax(-1)
        away = [distance(outputs[name], expected[name]).max(initial=0.0) for name in names]
        return Verification(
            steps=tuple(steps),
            images=len(batch),
            same_labels=int(same.all(axis=tuple(range(1, same.ndim))).sum()),
            largest_difference=float(max(away)),
            differing=sum(int((outputs[name] != values[name]).sum()) for name in names),
        )

    def profile(self, image: ImageLike | None = None, *, repeat: int = 100) -> Profile:
        """Time every step of the network on one image.

        Parameters
        ----------
        image : path, Pillow image or array, optional
            As for `run`; noise when not given, which takes as long.
        repeat : int
            Runs, of whose times the medians count.

        Returns
        -------
        Profile
            Printable: the steps with their times, work, rates and bytes.
        """
        from bitconv.images import prepare
        from bitconv.profiling import profile_steps

        repeat = positive_integer(repeat, "repeat")
        if image is None:
            array = np.random.default_rng(0).integers(0, 256, self.input_shape).astype(np.uint8)
        else:
            array = prepare(image, self.input_shape, self._graph.metadata.preparation)
        batch = self._checked(array[None])
        prepared, workspace = self._executed(self._kind_of(batch), 1, (), batch)
        prepared.workspaces.append(workspace)

        def run_steps() -> list[float]:
            workspace = prepared.take_workspace()
            times = workspace.run_timed(self._input_name, batch)
            prepared.workspaces.append(workspace)
            return times

        return profile_steps(
            prepared.graph, prepared.plan, run_steps, lambda: self.predict(batch), repeat
        )

    def summary(self) -> Summary:
        """Shapes, bits, bytes and multiply-accumulates of every layer; printable."""
        from bitconv.cost import summarize

        return summarize(self._graph)

    def uncompiled(self) -> list[str]:
        """The functions that `run` must compile first: not in memory, nor in the disk cache."""
        from bitconv.kernels.registry import is_ready

        return [name for name in self._functions() if not is_ready(name)]

    def prepare(self, report: Report | None = None) -> None:
        """Compile the functions that `run` needs, or load them; otherwise its first call does.

        Parameters
        ----------
        report : callable, optional
            Called before a function is compiled with the number of those done, the number of all,
            and its name.
        """
        from bitconv.kernels.warmup import make_ready

        make_ready(self._functions(), report)

    def all_functions(self) -> list[str]:
        """What any call of `run` or `predict` may need, as `bitconv.kernels.registry` names it."""
        from bitconv.kernels.registry import KERNELS, WALK, needed_functions

        plans = [
            self._plan(kind, images, ())
            for kind in dict.fromkeys((self._kind, "float32"))
            for images in (1, self._chunk(kind, MAX_BATCH, ()))
        ]
        needed = [
            needed_functions(step.kernel, step.functions.values(), KERNELS[step.kernel].divisible)
            for plan in plans
            for step in plan.steps
        ]
        return list(dict.fromkeys((WALK, *(function for names in needed for function in names))))

    def split(self, after: str) -> tuple[FirstHalf, SecondHalf]:
        """Two networks, to run on different machines: all up to a node, and all behind it.

        Parameters
        ----------
        after : str
            A node through which all goes that is computed behind it. What the first half computes
            leaves it as bytes, by the node's codec where it has one, else without any loss.

        Raises
        ------
        InputError
            There is no such node, nothing is behind it, or there is a way around it.
        """
        from bitconv.splitting import split

        return split(self._source, after, threads=self._threads, feature_maps=self._feature_maps)

    @property
    def arena_bytes(self) -> int:
        """The memory that running one image takes besides the weights."""
        return self._plan(self._kind, 1, ()).arena_bytes

    def __repr__(self) -> str:
        name = self._graph.metadata.name or "unnamed"
        return f"Model({name!r}, {self._input}, {len(self._graph.nodes)} nodes)"

    @property
    def _kind(self) -> str:
        return self._input.kind

    def _functions(self) -> list[str]:
        from bitconv.executor import functions_of

        return functions_of(self._plan(self._kind, 1, ()))

    @property
    def _expected_array(self) -> str:
        sizes = ", ".join(map(str, self.input_shape))
        return f"a uint8 or float32 array of shape (N, {sizes})"

    def _checked(self, images: NDArray[Any]) -> NDArray[Any]:
        """The batch as an array that the network takes."""
        try:
            batch = np.asarray(images)
        except ValueError as error:
            raise InputError(f"expected {self._expected_array}, found no array: {error}") from error
        if batch.dtype not in (np.uint8, np.float32) or batch.shape[1:] != self.input_shape:
            hint = "; add a batch axis: image[None]" if batch.shape == self.input_shape else ""
            raise InputError(
                f"expected {self._expected_array}, found {batch.dtype} of shape {batch.shape}{hint}"
            )
        if batch.dtype == np.float32 and not _is_finite(batch):
            image = int(np.argwhere(~np.isfinite(batch))[0][0])
            raise InputError(f"image {image} of the batch holds NaN or infinity")
        return batch

    def _compute(self, batch: NDArray[Any], wanted: tuple[str, ...]) -> dict[str, NDArray[Any]]:
        kind = self._kind_of(batch)
        keep = tuple(name for name in wanted if name not in self._graph.outputs)
        chunk = self._chunk(kind, len(batch), keep)
        graph = self._prepared(kind, chunk, keep).graph
        types = {name: graph.types[name] for name in wanted}
        results = {name: np.empty((len(batch), *t.shape), t.dtype) for name, t in types.items()}
        for first in range(0, len(batch), chunk):
            part = batch[first : first + chunk]
            prepared, workspace = self._executed(kind, chunk, keep, part)
            for name, result in results.items():
                workspace.read(name, result[first : first + chunk])
            prepared.workspaces.append(workspace)
        return results

    def _executed(
        self, kind: str, images: int, keep: tuple[str, ...], part: NDArray[Any]
    ) -> tuple[_Prepared, Workspace]:
        """A plan and the workspace in which it has run, which belongs to it; one that has room."""
        from bitconv.executor import DoesNotFitError

        for roomy in (False, True):
            prepared = self._prepared(kind, images, keep, roomy)
            workspace = prepared.take_workspace()
            with suppress(DoesNotFitError):
                workspace.run(self._input_name, part)
                return prepared, workspace
            prepared.workspaces.append(workspace)
        raise AssertionError("an encoded map exceeds its codec's bound")

    def _kind_of(self, batch: NDArray[Any]) -> str:
        """The kind in which a batch is run: a network of float images takes bytes as floats."""
        return "float32" if batch.dtype == np.float32 else self._kind

    def _chunk(self, kind: str, images: int, keep: tuple[str, ...]) -> int:
        """Images to run at once: few enough for the memory that a batch may take."""
        if images <= 1:
            return 1
        return max(1, min(MAX_BATCH, BATCH_BYTES // self._plan(kind, 1, keep).arena_bytes))

    def _graph_for(self, kind: str) -> Graph:
        """The graph with an input of that kind."""
        if kind == self._kind:
            return self._graph
        return replace(
            self._graph, inputs={self._input_name: TensorType(self.input_shape, "float32")}
        )

    def _plan(self, kind: str, images: int, keep: tuple[str, ...]) -> Plan:
        return self._prepared(kind, images, keep).plan

    def _prepared(
        self, kind: str, images: int, keep: tuple[str, ...], roomy: bool = False
    ) -> _Prepared:
        key = (kind, images, keep, roomy)
        if key not in self._plans:
            from bitconv.compiler import compile_graph

            graph = self._graph_for(kind)
            if roomy:
                from bitconv.feature_maps.compression import with_room

                graph = with_room(graph)
            plan = compile_graph(graph, images=images, threads=self._threads, keep=keep)
            self._plans.setdefault(key, _Prepared(graph, plan))
        return self._plans[key]


def _is_finite(values: NDArray[np.float32]) -> bool:
    """Whether no value is NaN or infinite, found without another array: NaN wins in both."""
    return bool(np.isfinite(values.min(initial=0)) and np.isfinite(values.max(initial=0)))


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A plan with the workspaces not in use; a call takes one, so threads never share."""

    graph: Graph
    plan: Plan
    workspaces: deque[Workspace] = field(default_factory=deque)

    def take_workspace(self) -> Workspace:
        try:
            return self.workspaces.pop()
        except IndexError:  # the first call, or one beside others
            from bitconv.executor import Workspace, functions_of
            from bitconv.kernels.warmup import make_ready

            make_ready(functions_of(self.plan))
            return Workspace(self.plan)
