"""An engine behind the batch queue, as TensorRT's is: one thread takes batches and runs them."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.contracts import Engine
from edge.detections import Detections
from edge.errors import PartFailed
from edge.stages.batch_queue import Batch, BatchQueue
from edge.stages.urgency import urgency


class Queued:
    """Keeps ``edge.contracts.Engine``. One caller's pictures are at most a batch."""

    def __init__(self, engine: Engine, *, max_batch: int, max_queue_delay: float) -> None:
        self.info = engine.info
        width, height = engine.info.input_size
        self._engine = engine
        self.queue = BatchQueue(
            shape=(height, width, 3), max_batch=max_batch, max_queue_delay=max_queue_delay
        )
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="queued", daemon=True)
        self._thread.start()

    def infer(self, batch: NDArray[np.uint8], sources: Sequence[str | None]) -> list[Detections]:
        urgent = urgency()
        request = self.queue.put(batch, sources, priority=urgent.priority, timeout=urgent.left)
        return self.queue.wait(request)

    def close(self) -> None:
        self._closing.set()
        self.queue.shut(PartFailed("closed", reason="engine_closed"))
        self._thread.join(10)
        self._engine.close()

    def _run(self) -> None:
        while not self._closing.is_set():
            batch = self.queue.take()
            if batch:
                self._look(batch)

    def _look(self, batch: Batch) -> None:
        try:
            batch.answer(self._engine.infer(batch.rows(), batch.sources))
        except PartFailed as error:
            batch.fail(error)
