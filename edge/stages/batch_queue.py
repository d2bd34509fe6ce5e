"""The queue before an engine that gains from batches: who is looked at next, and with whom.

Callers put pictures in and wait for their answers; whoever runs the engine takes batches out. A
batch is due

* when it is full: ``max_batch`` pictures wait, or as many as a preferred size has;
* when nobody else is expected: as many pictures are in hand as there were at most within the last
  second or two, or the queue is shut;
* ``max_queue_delay`` after its oldest picture came, or a batch before it ended.

So one camera alone never waits, and pictures that come while the engine is busy make up the next
batch by themselves. In a batch, higher priorities come first; cameras of one priority take turns
with one request each; and who has waited ``PATIENCE`` goes before everybody. The rules of size and
delay are those of Triton's dynamic batcher; "nobody else is expected" is our own.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge.detections import Detections
from edge.errors import PartFailed, TryLater

PATIENCE = 0.25
"""Seconds after which a request goes before all priorities: the lowest is served, too."""
_MEMORY = 1.0
"""Seconds: how many callers there are is what was seen within this and the one before."""


@dataclass(slots=True, eq=False)
class Request:
    """One caller's pictures, and where their answers will be."""

    #: ``(n, h, w, 3)`` uint8
    rows: NDArray[np.uint8]
    sources: tuple[str | None, ...]
    #: higher goes first
    priority: int
    #: seconds of ``time.monotonic``
    arrived: float
    #: as ``arrived``; not begun by then, it is not begun at all
    deadline: float
    #: which request it was, counted from the start
    number: int
    #: n Detections, in the order of the rows
    answer: Future[list[Detections]] = field(default_factory=Future)

    def __len__(self) -> int:
        return len(self.rows)


class Batch:
    """Requests that are looked at together. ``answer`` or ``fail`` ends it, or those of its parts.

    It is empty (``len`` 0, false) where nothing was due.
    """

    def __init__(self, requests: Sequence[Request], queue: BatchQueue | None = None) -> None:
        self.requests = requests
        self._queue = queue

    def __len__(self) -> int:
        return sum(len(one) for one in self.requests)

    @property
    def sources(self) -> list[str | None]:
        """Whose picture each row is."""
        return [name for one in self.requests for name in one.sources]

    def rows(self) -> NDArray[np.uint8]:
        """Return its pictures, ``(n, h, w, 3)`` uint8; not copied where one request is all."""
        if len(self.requests) == 1:
            return self.requests[0].rows
        return np.concatenate([one.rows for one in self.requests])

    def copy_to(self, buffer: NDArray[np.uint8]) -> None:
        """Copy its pictures to the first rows of ``buffer``, ``(most, h, w, 3)`` uint8."""
        begin = 0
        for one in self.requests:
            buffer[begin : begin + len(one)] = one.rows
            begin += len(one)

    def answer(self, found: Sequence[Detections]) -> None:
        """Give every caller its share; one for each row.

        Raises:
            PartFailed: too few or too many. Nobody was answered: ``fail`` it.

        """
        if len(found) != len(self):
            raise PartFailed(
                f"the engine gave {len(found)} answers to {len(self)} pictures",
                reason="engine_nonsense",
            )
        begin = 0
        for one in self.requests:
            one.answer.set_result(list(found[begin : begin + len(one)]))
            begin += len(one)
        self._over()

    def fail(self, error: BaseException) -> None:
        """Let every caller that has no answer yet raise this."""
        for one in self.requests:
            if not one.answer.done():
                one.answer.set_exception(error)
        self._over()

    def _over(self) -> None:
        queue, self._queue = self._queue, None
        if queue is not None:
            queue.ended(self)


class BatchQueue:
    """Requests that wait for an engine. Safe for any number of callers and takers.

    Args:
        shape: height, width and 3: what a picture must have. A wrong one fails by itself, and not
            those who happen to be beside it.
        max_batch: pictures in a batch at most.
        max_queue_delay: seconds that a picture waits for others at most, while it could go.
        preferred: sizes at which a batch does not wait for more, besides ``max_batch``.

    """

    def __init__(
        self,
        *,
        shape: tuple[int, ...],
        max_batch: int,
        max_queue_delay: float,
        preferred: Sequence[int] = (),
    ) -> None:
        if max_batch < 1 or not 0 <= max_queue_delay < math.inf:
            raise ValueError(
                "a batch has at least 1 picture and waits 0 s or more: "
                f"got {max_batch}, {max_queue_delay}"
            )
        self.max_batch = max_batch
        self.max_queue_delay = max_queue_delay
        self._shape = tuple(shape)
        self._sizes = sorted({size for size in preferred if 0 < size < max_batch} | {max_batch})
        self._changed = threading.Condition()
        #: in the order in which they came
        self._waiting: list[Request] = []
        self._taken = 0
        #: when a batch ended last
        self._freed = -math.inf
        self._number = 0
        #: camera -> number of the newest request at the time when it was last served
        self._served: dict[str | None, int] = {}
        self._crowd = _Crowd()
        self._shut: BaseException | None = None

    def __len__(self) -> int:
        """Count the pictures that wait."""
        return sum(len(one) for one in self._waiting)

    def put(
        self,
        rows: NDArray[np.uint8],
        sources: Sequence[str | None],
        *,
        priority: int = 0,
        timeout: float = math.inf,
    ) -> Request:
        """Ask for pictures to be looked at; ``wait`` waits for the answer. Never blocks.

        Args:
            rows: ``(n, h, w, 3)`` uint8, 1 to ``max_batch`` of them; not copied, so they stay as
                they are until there is an answer.
            sources: whose picture each row is; the first names the camera that takes turns.
            priority: higher goes first.
            timeout: seconds after which it is no longer begun.

        Raises:
            PartFailed: ``bad_batch``: wrong shape, type or number; or what ``shut`` was told.

        """
        self._check(rows, len(sources))
        now = time.monotonic()
        with self._changed:
            if self._shut is not None:
                raise self._shut
            self._number += 1
            request = Request(rows, tuple(sources), priority, now, now + timeout, self._number)
            self._waiting.append(request)
            self._crowd.saw(len(self) + self._taken, now)
            self._changed.notify_all()
        return request

    def _check(self, rows: NDArray[np.uint8], n: int) -> None:
        if rows.shape[1:] != self._shape or rows.dtype != np.uint8 or len(rows) != n:
            height, width = self._shape[:2]
            raise PartFailed(
                f"pictures are ({n}, {height}, {width}, 3) uint8: got {rows.shape} {rows.dtype}",
                reason="bad_batch",
            )
        if not 1 <= n <= self.max_batch:
            raise PartFailed(
                f"a request has 1 to {self.max_batch} pictures: got {n}", reason="bad_batch"
            )

    def wait(self, request: Request) -> list[Detections]:
        """Wait for the answer to a request.

        Raises:
            TryLater: ``engine_busy``: its time was over before its turn came.
            PartFailed: ``timeout``: it was begun in time, and there is no answer yet.
            Exception: what the engine raised, or what ``shut`` was told.

        """
        left = request.deadline - time.monotonic()
        try:
            return request.answer.result(None if left == math.inf else max(0.0, left))
        except TimeoutError:
            if request.answer.done():
                return request.answer.result()
        if self.withdraw(request):
            raise _busy(request)
        raise PartFailed(
            "the engine has had a picture for longer than its time",
            hint="the engine hangs or the box is overloaded; see [detect] timeout",
            reason="timeout",
        )

    def withdraw(self, request: Request) -> bool:
        """Take a request back; False if it was taken, or has an answer."""
        with self._changed:
            if request not in self._waiting:
                return False
            self._waiting.remove(request)
            request.answer.cancel()
            return True

    def take(self, timeout: float | None = None) -> Batch:
        """Wait until a batch is due, and take it out of the queue.

        A taker that has work on the engine already asks with a short timeout, and looks after that
        work in between.

        Args:
            timeout: seconds to wait at most; None: without end; 0: take what is due now.

        Returns:
            A batch of 1 to ``max_batch`` pictures, which the taker ends with ``answer`` or
            ``fail``; an empty one where none was due in time, or the queue is shut.

        """
        end = math.inf if timeout is None else time.monotonic() + timeout
        with self._changed:
            while True:
                now = time.monotonic()
                self._drop_late(now)
                due = self._due(now)
                if due <= now or self._shut is not None:
                    return self._pick(now)
                until = min(due, end, *(one.deadline for one in self._waiting))
                if end <= now:
                    return Batch(())
                self._changed.wait(None if until == math.inf else until - now)

    def shut(self, error: BaseException) -> None:
        """Fail what waits with this error, and whatever is put from now on. Takers return."""
        with self._changed:
            self._shut = error
            left, self._waiting = self._waiting, []
            self._changed.notify_all()
        Batch(left).fail(error)

    def ended(self, batch: Batch) -> None:
        """Learn that a batch has its answers; it says so itself."""
        with self._changed:
            self._taken -= len(batch)
            self._freed = time.monotonic()
            self._changed.notify_all()

    def _due(self, now: float) -> float:
        """Return when what waits is a batch; infinity where nothing waits."""
        if not self._waiting:
            return math.inf
        many = len(self)
        if many >= self._sizes[0] or not self._crowd.more_than(many + self._taken, now):
            return now
        # Those of a batch that just ended come back together: who came while it was looked at does
        # not go alone before them.
        return max(self._waiting[0].arrived, self._freed) + self.max_queue_delay

    def _pick(self, now: float) -> Batch:
        """Take the best out of the queue, up to the size that suits what waits."""
        if not self._waiting:
            return Batch(())
        room = max((size for size in self._sizes if size <= len(self)), default=self.max_batch)
        chosen = []
        for one in self._in_order(now):
            if len(one) > room:
                break
            room -= len(one)
            chosen.append(one)
        chosen = chosen or self._in_order(now)[:1]
        self._waiting = [one for one in self._waiting if one not in chosen]
        self._served.update((one.sources[0], self._number) for one in chosen)
        # who gave up by the future's own cancel() is not looked at
        batch = Batch([one for one in chosen if one.answer.set_running_or_notify_cancel()], self)
        self._taken += len(batch)
        if len(self._served) > len(self._waiting) + 1000:  # names that are no longer
            self._served.clear()
        return batch

    def _in_order(self, now: float) -> list[Request]:
        before: Counter[tuple[int, str | None]] = Counter()
        places = []
        for one in self._waiting:
            camera = one.sources[0]
            late = now - one.arrived > PATIENCE
            place = before[one.priority, camera]
            before[one.priority, camera] += 1
            turn = (-one.priority, place, self._served.get(camera, 0))
            places.append((0 if late else 1, () if late else turn, one.number, one))
        return [place[-1] for place in sorted(places, key=lambda place: place[:-1])]

    def _drop_late(self, now: float) -> None:
        late = [one for one in self._waiting if one.deadline <= now]
        if late:
            self._waiting = [one for one in self._waiting if one.deadline > now]
            for one in late:
                one.answer.set_exception(_busy(one))


class _Crowd:
    """How many pictures were in hand at once, at most, within the last second or two."""

    def __init__(self) -> None:
        self._began = -math.inf
        self._most = self._before = 0

    def saw(self, many: int, now: float) -> None:
        self._turn(now)
        self._most = max(self._most, many)

    def more_than(self, many: int, now: float) -> bool:
        self._turn(now)
        return max(self._most, self._before) > many

    def _turn(self, now: float) -> None:
        age = now - self._began
        if age >= _MEMORY:
            self._before = self._most if age < 2 * _MEMORY else 0
            self._most, self._began = 0, now


def _busy(request: Request) -> TryLater:
    seconds = request.deadline - request.arrived
    return TryLater(
        f"the engine was busy with other pictures for {seconds:g} s",
        hint="fewer cameras, a lower fps, or a faster engine",
        reason="engine_busy",
    )
