"""A slot: everything that one batch needs on the GPU, from its pictures to its answers.

Its own stream, event, buffers and execution contexts, so that one batch can be copied while
another is looked at. The contexts of a slot share one workspace: a slot has one batch at a time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import GpuLost, PartFailed
from edge.stages.batch_queue import Batch
from edge.stages.engines.tensorrt_cuda import (
    LESS_MEMORY,
    Device,
    Memory,
    OutOfMemory,
    keep,
    lost,
)
from edge.stages.engines.tensorrt_graphs import Graph
from edge.stages.engines.tensorrt_runtime import Lines, bindings

log = logging.getLogger(__name__)

INPUT = "image"
OUTPUTS = ("boxes", "scores", "labels")
_POLL = 0.0005
_WARM_UP = 60.0
"""Seconds that the first runs may take: the driver loads kernels then."""

Answer = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]
"""``boxes (n, k, 4)``, ``scores (n, k)``, ``labels (n, k)``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A plan that was made an engine, and what slots are made of."""

    trt: Any
    engine: Any
    lines: Lines
    #: pictures that the plan takes at once
    most: int
    #: height and width
    size: tuple[int, int]
    #: candidates of a picture
    k: int


def examined(trt: Any, engine: Any, lines: Lines) -> Loaded:
    """Read what an engine takes and gives.

    Raises:
        PartFailed: ``bad_plan``: not what Edge builds.

    """
    names = {engine.get_tensor_name(i) for i in range(engine.num_io_tensors)}
    expected = {
        INPUT: trt.DataType.UINT8,
        "boxes": trt.DataType.FLOAT,
        "scores": trt.DataType.FLOAT,
        "labels": trt.DataType.INT32,
    }
    if names != set(expected):
        raise _bad(f"expected {', '.join(expected)}: got {', '.join(sorted(names))}")
    for name, dtype in expected.items():
        if engine.get_tensor_dtype(name) != dtype:
            raise _bad(f"{name} is {engine.get_tensor_dtype(name)}, expected {dtype}")
    shapes = {name: tuple(engine.get_tensor_shape(name)) for name in names}
    image, k = shapes[INPUT], shapes["scores"][-1]
    if len(image) != 4 or image[3] != 3 or min(image[1:]) < 1:
        raise _bad(f"pictures are (n, h, w, 3): got {image}")
    if (shapes["boxes"][1:], shapes["labels"][1:]) != ((k, 4), (k,)) or k < 1:
        raise _bad(f"answers are (n, k, 4), (n, k), (n, k): got {shapes}")
    most = image[0]
    if most < 0:
        most = int(engine.get_tensor_profile_shape(INPUT, 0)[2][0])
    size = (int(image[1]), int(image[2]))
    return Loaded(trt=trt, engine=engine, lines=lines, most=most, size=size, k=k)


class Slot:
    """Room for one batch on the GPU. Made, used and freed by the GPU's thread.

    Args:
        device: the thread's own.
        loaded: the engine.
        most: pictures in a batch at most.
        graphs: sizes of batches that are recorded and replayed; what cannot be is run plainly.

    Raises:
        OutOfMemory: there is no room for it; nothing of it is left.
        PartFailed, GpuLost: it does not run.

    """

    def __init__(
        self, device: Device, loaded: Loaded, most: int, graphs: Sequence[int] = ()
    ) -> None:
        self._device, self._loaded = device, loaded
        self._most = most
        self._parts: list[Any] = []
        self._contexts: dict[int, Any] = {}
        #: sizes that are replayed
        self.graphs: dict[int, Graph] = {}
        self._stream = self._own(device.stream())
        #: pictures of the batch that is in it
        self.holds = 0
        self._deadline = 0.0
        try:
            height, width = loaded.size
            k = loaded.k
            self._image = self._own(device.buffer((most, height, width, 3), np.uint8))
            self._boxes = self._own(device.buffer((most, k, 4), np.float32))
            self._scores = self._own(device.buffer((most, k), np.float32))
            self._labels = self._own(device.buffer((most, k), np.int32))
            self._workspace = self._own(Memory(device, int(loaded.engine.device_memory_size_v2)))
            self._plain = self._context()
            self._warm_up(sorted({size for size in graphs if size <= most}))
        except GpuLost:
            keep(self)
            raise
        except PartFailed:
            self.free()
            raise

    def start(self, batch: Batch, patience: float) -> None:
        """Copy the pictures in and let the GPU begin. Does not wait.

        Args:
            batch: its pictures are not needed any more when this returns.
            patience: seconds after which the GPU hangs.

        Raises:
            OutOfMemory, GpuLost, PartFailed: it did not begin.

        """
        batch.copy_to(self._image.host)
        try:
            self._go(len(batch), patience)
        except PartFailed:
            # part of it may be under way: it must not write into the next batch
            self._settle(patience)
            raise

    def done(self) -> bool:
        """Tell whether the batch has been looked at. Never blocks.

        Raises:
            GpuLost: it failed for good, or took longer than ``patience``.
            PartFailed: it failed.

        """
        if self._stream.done():
            return True
        if time.monotonic() > self._deadline:
            raise lost("it has not finished a batch in time: it hangs")
        return False

    def answer(self) -> Answer:
        """Return copies of what the GPU said of the batch that is done."""
        n, self.holds = self.holds, 0
        host = (self._boxes.host, self._scores.host, self._labels.host)
        boxes, scores, labels = (array[:n].copy() for array in host)
        return boxes, scores, labels

    def free(self) -> None:
        """Free everything, in the GPU's thread; nothing may run in it."""
        for graph in self.graphs.values():
            graph.free()
        self.graphs.clear()
        self._contexts.clear()
        self._plain = None
        del self._loaded
        while self._parts:
            self._parts.pop().free()

    def _own(self, part: Any) -> Any:
        self._parts.append(part)
        return part

    def _go(self, n: int, patience: float) -> None:
        # What the engine does not write is not a number, and can never be taken for an answer.
        self._scores.host[:n] = np.nan
        graph = self.graphs.get(n)
        if graph is not None:
            graph.launch()
        else:
            self._enqueue(n)
        self._stream.mark()
        self.holds = n
        self._deadline = time.monotonic() + patience

    def _enqueue(self, n: int) -> None:
        context = self._contexts.get(n, self._plain)
        height, width = self._loaded.size
        with bindings("a batch's shape"):
            fits = context.set_input_shape(INPUT, (n, height, width, 3))
            fits = fits and not context.infer_shapes()
        if not fits:
            raise self._refused(f"a batch of {n} is refused")
        self._image.to_gpu(n, self._stream)
        self._scores.spoil(n, self._stream)
        with bindings("running a batch"):
            runs = context.execute_async_v3(self._stream.handle)
        if not runs:
            self._device.examine(self._stream, "running a batch")
            raise self._refused(f"a batch of {n} does not run")
        for buffer in (self._boxes, self._scores, self._labels):
            buffer.to_host(n, self._stream)

    def _context(self) -> Any:
        trt, engine = self._loaded.trt, self._loaded.engine
        with bindings("making an execution context"):
            strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
            context = engine.create_execution_context(strategy)
        if context is None:
            raise self._refused("no execution context can be made")
        with bindings("giving it a workspace"):
            size = int(engine.device_memory_size_v2)
            context.set_device_memory(self._workspace.address, size)
        buffers = (self._image, self._boxes, self._scores, self._labels)
        for name, buffer in zip((INPUT, *OUTPUTS), buffers, strict=True):
            if not context.set_tensor_address(name, buffer.address):
                raise self._refused(f"the address of {name} is refused")
        return context

    def _refused(self, what: str) -> PartFailed:
        said = self._loaded.lines.said()
        words = f"{what}: {said}"
        if "memory" in said.lower() and "out of" in said.lower():
            return OutOfMemory(words, hint=LESS_MEMORY)
        return PartFailed(words, hint="edge engine check", reason="engine_failed")

    def _warm_up(self, sizes: Sequence[int]) -> None:
        """Run every size once, and record those that can be."""
        for n in {1, self._most}:
            self._run(n)
        for n in sizes:
            try:
                self._record(n)
            except (GpuLost, OutOfMemory):
                raise
            except PartFailed as error:
                self._contexts.pop(n, None)
                log.warning("batches of %d run without a CUDA graph: %s", n, str(error))

    def _record(self, n: int) -> None:
        """Record a batch of n, and see that a replay says what a plain run says of two pictures."""
        self._contexts[n] = self._context()
        pictures = [_noise(self._image.host[:n].shape, seed) for seed in (1, 2)]
        plain = [self._run(n, picture) for picture in pictures]
        graph = self.graphs[n] = Graph(self._device, self._stream, lambda: self._enqueue(n))
        try:
            for picture, expected in zip(pictures, plain, strict=True):
                _check_same(self._run(n, picture), expected)
        except GpuLost:
            raise
        except PartFailed:
            # before its context goes, on which it would run
            del self.graphs[n]
            graph.free()
            raise

    def _settle(self, patience: float) -> None:
        self._stream.mark()
        self._deadline = time.monotonic() + patience
        while not self.done():
            time.sleep(_POLL)

    def _run(self, n: int, pictures: NDArray[np.uint8] | None = None) -> Answer:
        self._image.host[:n] = 114 if pictures is None else pictures
        self._go(n, _WARM_UP)
        while not self.done():
            time.sleep(_POLL)
        return self.answer()


def _check_same(said: Answer, expected: Answer) -> None:
    for one, other in zip(said, expected, strict=True):
        if not np.array_equal(one, other, equal_nan=one.dtype == np.float32):
            raise PartFailed("a replay says something else than a plain run")


def _noise(shape: tuple[int, ...], seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def _bad(what: str) -> PartFailed:
    return PartFailed(
        f"the plan is not what Edge builds: {what}",
        hint="edge engine build --force makes a new one",
        reason="bad_plan",
    )
