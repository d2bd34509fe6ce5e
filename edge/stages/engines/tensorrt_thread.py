"""The GPU's thread: it alone owns the context, loads the plan, runs batches and frees everything.

It takes batches from the queue while a slot is free, and in between looks whether the oldest batch
on the GPU is done. A failed batch fails its callers; a lost GPU fails everybody, for good, and what
belongs to it is neither freed nor used again: the process has to end.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from edge.config.tensorrt import TensorRTConfig
from edge.detections import Detections
from edge.errors import GpuLost, PartFailed
from edge.stages.batch_queue import Batch, BatchQueue
from edge.stages.engines.tensorrt_cuda import Device, OutOfMemory, is_lost, keep, lost
from edge.stages.engines.tensorrt_runtime import deserialise, library
from edge.stages.engines.tensorrt_slot import Answer, Loaded, Slot, examined

log = logging.getLogger(__name__)

_POLL = 0.0005
"""Seconds between looks at a batch that is on the GPU."""
_OPENING = 300.0
"""Seconds for the libraries, the plan and the first runs."""
_LEAVING = 10.0
"""Seconds that the thread gets to finish and free; one that hangs is left behind."""

Read = Callable[[Answer], list[Detections]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a plan is to be run."""

    plan: bytes
    config: TensorRTConfig
    #: height and width of the pictures that are expected
    size: tuple[int, int]
    max_batch: int
    max_queue_delay: float
    preferred: Sequence[int]
    #: makes detections of what the engine says. Raises PartFailed on nonsense.
    read: Read
    #: seconds that a batch may be on the GPU; longer, it hangs
    patience: float


class GpuThread:
    """A plan on a GPU. ``opened`` waits until it runs, ``close`` until all is freed."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._opened: Future[BatchQueue] = Future()
        self._loaded: Loaded | None = None
        self._slots: list[Slot] = []
        #: pictures that a slot takes
        self._size = 1
        self._free: list[Slot] = []
        self._busy: deque[tuple[Slot, Batch]] = deque()
        self._closing = threading.Event()
        #: how it runs, in words
        self.facts = ""
        # A daemon: a thread that hangs inside the driver must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="gpu", daemon=True)
        self._thread.start()

    def opened(self) -> BatchQueue:
        """Wait until it runs; return where pictures are put.

        Raises:
            PartFailed: ``no_gpu``, ``no_library``, ``bad_plan``, ``gpu_memory`` (not even one
                picture fits), ``engine_failed``. GpuLost: as it says.

        """
        try:
            return self._opened.result(_OPENING)
        except TimeoutError:
            raise lost(f"a plan was not loaded within {_OPENING:g} s: it hangs") from None

    def close(self) -> None:
        """Let it finish what is on the GPU and free everything. May be called twice."""
        self._closing.set()
        if self._opened.done() and self._opened.exception() is None:
            self._opened.result().shut(_closed())
        self._thread.join(_LEAVING)

    def _run(self) -> None:
        # told after a bug, which ends the thread: nobody waits for an answer that will not come
        why = _ended()
        try:
            with Device(self._terms.config.device, self._terms.config.library_path) as device:
                self._live(device)
            why = _closed()
        except PartFailed as error:
            why = error
        finally:
            self._end(why)

    def _live(self, device: Device) -> None:
        try:
            self._loaded = self._load()
            self._plant(device, self._loaded)
            queue = BatchQueue(
                shape=(*self._loaded.size, 3),
                max_batch=self._size,
                max_queue_delay=self._terms.max_queue_delay,
                preferred=self._terms.preferred,
            )
            self._opened.set_result(queue)
            self._serve(queue, device)
        except PartFailed as error:
            raise _bare(error)  # noqa: B904 (the same error)
        finally:
            self._clear()
            self._loaded = None

    def _load(self) -> Loaded:
        terms = self._terms
        trt = library(terms.config.library_path, terms.config.device)
        engine, lines = deserialise(trt, terms.plan)
        loaded = examined(trt, engine, lines)
        if loaded.size != terms.size:
            raise PartFailed(
                f"the plan takes pictures of {loaded.size[::-1]}, the model of {terms.size[::-1]}",
                hint="edge engine build --force makes a new one",
                reason="bad_plan",
            )
        return loaded

    def _plant(self, device: Device, loaded: Loaded) -> None:
        """Make the slots; where memory is short, fewer and smaller ones."""
        slots, size = self._terms.config.slots, min(loaded.most, self._terms.max_batch)
        while True:
            try:
                self._make(device, loaded, slots, size)
            except OutOfMemory as error:
                log.warning("%d slots for batches of %d do not fit: %s", slots, size, str(error))
                self._clear()
                if (slots, size) == (1, 1):
                    raise
                slots, size = (1, size) if slots > 1 else (1, size // 2)
            else:
                return

    def _make(self, device: Device, loaded: Loaded, slots: int, size: int) -> None:
        sizes = {1, size, *self._terms.preferred} if self._terms.config.cuda_graphs else set()
        for _ in range(slots):
            self._slots.append(Slot(device, loaded, size, sorted(sizes)))
        self._free.extend(self._slots)
        self._size = size
        graphs = ", ".join(map(str, self._slots[0].graphs)) or "none"
        copied = "nothing is copied" if device.integrated else "pinned memory"
        self.facts = (
            f"{loaded.trt.__name__} {loaded.trt.__version__}: {slots} slots for batches of up to "
            f"{size}, CUDA graphs for {graphs}, {copied}"
        )
        log.info("%s", self.facts)

    def _serve(self, queue: BatchQueue, device: Device) -> None:
        while self._busy or not self._closing.is_set():
            if self._closing.is_set() or not self._free:
                time.sleep(_POLL)
            else:
                batch = queue.take(_POLL if self._busy else None)
                if batch:
                    with _not_forgotten(batch):
                        self._begin(batch, device)
            self._look()

    def _begin(self, batch: Batch, device: Device) -> None:
        slot = self._free.pop()
        try:
            slot.start(batch, self._terms.patience)
        except OutOfMemory as error:
            self._retry(batch, device, error)
        except PartFailed as error:
            self._free.append(slot)
            batch.fail(_bare(error))
            _raise_if_lost(error)
        else:
            self._busy.append((slot, batch))

    def _retry(self, batch: Batch, device: Device, why: OutOfMemory) -> None:
        """Go on with one slot and no graphs, and try the batch once more."""
        log.warning("memory of the GPU is short, so one slot goes on: %s", str(why))
        try:
            while self._busy:
                self._look()
                time.sleep(_POLL)
            self._clear()
            slot = Slot(device, self._here(), self._size)
            self._slots.append(slot)
            slot.start(batch, self._terms.patience)
        except PartFailed as error:
            batch.fail(_bare(error))
            raise
        self._busy.append((slot, batch))

    def _here(self) -> Loaded:
        if self._loaded is None:
            raise _closed()
        return self._loaded

    def _look(self) -> None:
        """Answer the callers of the oldest batch, if the GPU is done with it."""
        if not self._busy:
            return
        slot, batch = self._busy[0]
        try:
            if not slot.done():
                return
            answer = slot.answer()
        except PartFailed as error:
            self._busy.popleft()
            self._free.append(slot)
            batch.fail(_bare(error))
            _raise_if_lost(error)
            return
        self._busy.popleft()
        self._free.append(slot)
        with _not_forgotten(batch):
            try:
                batch.answer(self._terms.read(answer))
            except PartFailed as error:
                batch.fail(error)

    def _clear(self) -> None:
        """Free the slots, in this thread; what belongs to a lost GPU is only put aside."""
        slots, self._slots = self._slots, []
        self._free.clear()
        if is_lost():
            keep((slots, self._loaded))
            return
        for slot in slots:
            with contextlib.suppress(PartFailed):
                slot.free()

    def _end(self, error: PartFailed) -> None:
        while self._busy:
            self._busy.popleft()[1].fail(error)
        if not self._opened.done():
            self._opened.set_exception(error)
        elif self._opened.exception() is None:
            self._opened.result().shut(error)


@contextlib.contextmanager
def _not_forgotten(batch: Batch) -> Iterator[None]:
    """Fail a batch that is in nobody's hands, because a bug was met that ends the thread."""
    try:
        yield
    except BaseException:
        batch.fail(_ended())
        raise


def _bare(error: PartFailed) -> PartFailed:
    """Cut an error loose from what was under way: its frames would keep the GPU's things alive."""
    error.__traceback__ = error.__cause__ = error.__context__ = None
    return error


def _raise_if_lost(error: PartFailed) -> None:
    if isinstance(error, GpuLost):
        raise error


def _ended() -> PartFailed:
    return PartFailed("the GPU's thread ended by itself", reason="engine_failed")


def _closed() -> PartFailed:
    return PartFailed("the engine on the GPU is closed", reason="engine_closed")
