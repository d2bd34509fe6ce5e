"""Batcher: pictures of several threads become one batch, for engines that gain from it.

It is an engine itself, so nobody else knows. The first caller of a batch leads it: it waits until
the batch is full or the time is over, runs it, and hands out the answers. A caller waits for a
leader that is already running, never for one that may come.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge.contracts import Engine
from edge.detections import Detections
from edge.errors import PartFailed


@dataclass(slots=True, eq=False)
class _Call:
    """One caller's pictures, and where its answer will be."""

    rows: NDArray[np.uint8]
    sources: list[str | None]
    answer: Future[list[Detections]] = field(default_factory=Future)


class Batcher:
    """An engine that gathers. Keeps ``edge.contracts.Engine``.

    Args:
        engine: what runs the batches; several may run at once, as its contract allows.
        max_batch: pictures in a batch at most; a single caller may bring more.
        max_wait: seconds that the first caller of a batch waits for others at most.

    """

    def __init__(self, engine: Engine, max_batch: int, max_wait: float) -> None:
        if max_batch < 1 or max_wait < 0:
            raise ValueError(
                f"a batch has at least 1 picture and waits 0 s or more: got {max_batch}, {max_wait}"
            )
        self.info = engine.info
        self._engine = engine
        self._max_batch = max_batch
        self._max_wait = max_wait
        self._changed = threading.Condition()
        #: the batch that is being gathered; its first call leads it
        self._open: list[_Call] = []

    def infer(self, batch: NDArray[np.uint8], sources: Sequence[str | None]) -> list[Detections]:
        """Find people; see ``edge.contracts.Engine.infer``.

        An error of the engine reaches every caller whose pictures were in that batch.
        """
        call = _Call(batch, list(sources))
        calls = self._join(call)
        if calls[0] is call:
            self._lead(calls)
        return call.answer.result()

    def close(self) -> None:
        self._engine.close()

    def _join(self, call: _Call) -> list[_Call]:
        """Add a call to the open batch, or begin one; return the batch."""
        with self._changed:
            if self._open and _size(self._open) + len(call.rows) > self._max_batch:
                self._shut()
            calls = self._open
            calls.append(call)
            if _size(calls) >= self._max_batch:
                self._shut()
            return calls

    def _lead(self, calls: list[_Call]) -> None:
        """Gather a batch, run it, and answer every call in it, come what may."""
        try:
            self._gather(calls)
            for call, found in zip(calls, self._run(calls), strict=True):
                call.answer.set_result(found)
        except BaseException as error:
            for call in calls:
                if not call.answer.done():
                    call.answer.set_exception(error)
            raise

    def _gather(self, calls: list[_Call]) -> None:
        """Wait until the batch is full or the time is over. Whatever ends it, nobody joins then."""
        with self._changed:
            try:
                self._changed.wait_for(lambda: self._open is not calls, self._max_wait)
            finally:
                if self._open is calls:
                    self._shut()

    def _run(self, calls: list[_Call]) -> list[list[Detections]]:
        rows = np.concatenate([call.rows for call in calls]) if len(calls) > 1 else calls[0].rows
        found = self._engine.infer(rows, [name for call in calls for name in call.sources])
        if len(found) != len(rows):
            raise PartFailed(
                f"{self.info.model} gave {len(found)} answers to {len(rows)} pictures",
                reason="engine_nonsense",
            )
        ends = np.cumsum([len(call.rows) for call in calls]).tolist()
        return [found[end - len(call.rows) : end] for call, end in zip(calls, ends, strict=True)]

    def _shut(self) -> None:
        self._open = []
        self._changed.notify_all()


def _size(calls: list[_Call]) -> int:
    return sum(len(call.rows) for call in calls)
