"""Batcher: pictures of several threads become one batch, for engines that gain from it.

It is an engine itself, so nobody else knows, and it has no thread of its own: a caller who finds
nobody at the engine takes the next batch (``batch_queue.py``) and runs it for all who are in it.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.contracts import Engine
from edge.detections import Detections
from edge.errors import GpuLost, PartFailed, Withheld
from edge.stages.batch_queue import Batch, BatchQueue, Request
from edge.stages.urgency import urgency


class Batcher:
    """An engine that gathers. Keeps ``edge.contracts.Engine``.

    Besides, ``infer`` may raise TryLater (``engine_busy``): its time was over before its turn came.

    Args:
        engine: what runs the batches.
        max_batch: pictures in a batch at most; what a caller brings beyond it is cut into several.
        max_queue_delay: seconds that a picture waits for others at most.
        preferred: sizes at which a batch does not wait for more.
        timeout: seconds that a picture may wait for its turn.
        runs: batches at once on the engine at most.

    """

    def __init__(
        self,
        engine: Engine,
        *,
        max_batch: int,
        max_queue_delay: float,
        preferred: Sequence[int] = (),
        timeout: float = math.inf,
        runs: int = 1,
    ) -> None:
        self.info = engine.info
        width, height = engine.info.input_size
        self._engine = engine
        self._queue = BatchQueue(
            shape=(height, width, 3),
            max_batch=max_batch,
            max_queue_delay=max_queue_delay,
            preferred=preferred,
        )
        self._timeout = timeout
        self._free = runs
        #: a place at the engine became free, or somebody has an answer
        self._changed = threading.Condition()

    def infer(self, batch: NDArray[np.uint8], sources: Sequence[str | None]) -> list[Detections]:
        """Find people; see ``edge.contracts.Engine.infer``."""
        most = self._queue.max_batch
        if not len(batch) or batch.shape[0] != len(sources):
            return self._engine.infer(batch, sources)
        return [
            found
            for begin in range(0, len(batch), most)
            for found in self._ask(batch[begin : begin + most], sources[begin : begin + most])
        ]

    def close(self) -> None:
        self._queue.shut(
            PartFailed(f"the engine of {self.info.model} is closed", reason="engine_closed")
        )
        self._engine.close()

    def _ask(self, rows: NDArray[np.uint8], sources: Sequence[str | None]) -> list[Detections]:
        urgent = urgency()
        timeout = min(self._timeout, urgent.left)
        request = self._queue.put(rows, sources, priority=urgent.priority, timeout=timeout)
        try:
            while self._may_lead(request):
                self._lead()
            return self._queue.wait(request)
        except BaseException:
            self._queue.withdraw(request)
            raise

    def _may_lead(self, request: Request) -> bool:
        """Wait for a place at the engine; False when the request needs it no longer."""
        with self._changed:
            while not request.answer.done():
                if self._free and not request.answer.running():
                    self._free -= 1
                    return True
                left = request.deadline - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(None if left == math.inf else left)
            return False

    def _lead(self) -> None:
        """Run one batch, and make place for the next leader, come what may."""
        try:
            batch = self._queue.take(self._queue.max_queue_delay)
            if batch:
                self._run(batch)
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify_all()

    def _run(self, batch: Batch) -> None:
        """Answer every request of a batch.

        Where it fails as a whole, each is tried alone: a picture that breaks the engine, or cannot
        be judged, is no reason to fail those that happened to come with it.
        """
        try:
            batch.answer(self._engine.infer(batch.rows(), batch.sources))
        except (PartFailed, Withheld) as error:
            if len(batch.requests) == 1 or isinstance(error, GpuLost):
                batch.fail(error)
                return
            self._one_by_one(batch.split())
        except BaseException as error:
            batch.fail(error)
            raise

    def _one_by_one(self, parts: Sequence[Batch]) -> None:
        try:
            for part in parts:
                self._run(part)
        except BaseException as error:
            for part in parts:
                part.fail(error)
            raise
