from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.control.engine_trials import trial
from edge.detections import Detections
from edge.engine_status import Agreement
from tests.stages.parts import FixedEngine


class Shared(FixedEngine):
    """Takes as long for many pictures as for one, up to ``together``, and counts them."""

    def __init__(self, together: int) -> None:
        super().__init__()
        self.most = self._inside = 0
        self._lock, self._room = threading.Lock(), threading.Semaphore(together)

    def infer(self, batch: NDArray[np.uint8], sources: Sequence[str | None]) -> list[Detections]:
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)
        with self._room:
            time.sleep(0.01)
        with self._lock:
            self._inside -= 1
        return super().infer(batch, sources)


def test_an_engine_that_shares_batches_is_timed_with_the_threads_it_would_have() -> None:
    one, reference = Shared(6), Shared(2)
    agreed = Agreement(passed=True, text="")
    found = trial(one, reference, lambda _, __: agreed, hands=2, more=4)
    assert (reference.most, one.most) == (2, 6)
    assert found.milliseconds < 0.6 * found.reference
    assert found.worth_it
