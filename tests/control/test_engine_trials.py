from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.control.engine_trials import WORTH, Trial, read, trial, written
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


def a_trial(milliseconds: float, *, passed: bool = True) -> Trial:
    agreement = Agreement(passed=passed, text="it finds 20 of 20", pictures=7, compared=20)
    return Trial(agreement=agreement, milliseconds=milliseconds, reference=10.0)


def test_only_one_that_agrees_and_is_clearly_faster_takes_over() -> None:
    just = 10 * WORTH
    assert a_trial(just - 0.1).worth_it
    assert not a_trial(just).worth_it
    assert not a_trial(just - 0.1, passed=False).worth_it


def test_a_trial_is_read_as_it_was_written_and_nothing_else_is_one() -> None:
    one = a_trial(4.1)
    facts = written(one)
    assert read(json.loads(json.dumps(facts))) == one
    assert read(None) is None
    for pace in (0, -1.0, float("nan"), float("inf"), "fast", None):
        assert read({**facts, "milliseconds": pace}) is None
        assert read({**facts, "reference": pace}) is None
    for passed in (1, "yes", None):
        assert read({**facts, "agreement": {**facts["agreement"], "passed": passed}}) is None
    assert read({**facts, "agreement": {"passed": True}}) is None
    assert read({}) is None
