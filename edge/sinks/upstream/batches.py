"""Batches: messages on their way from disk to link, and what became of them on its way back.

The next batch is read while one is sent, and what was acknowledged is deleted in the same
transaction.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final

from edge.config.mqtt import CLASSES, UpstreamConfig
from edge.errors import TryLater
from edge.sinks.upstream.outgoing import URGENCY, Pending
from edge.sinks.upstream.plan import Plan
from edge.sinks.upstream.queue import UpstreamQueue
from edge.sinks.upstream.rates import Rates

BATCH: Final = 1024
"""Messages that are read at once; the next ones when half of them are sent."""
AHEAD_S: Final = 1.0
"""With a rate, no more is read ahead than goes in so long: what is urgent must not stand behind."""
DELETE_S: Final = 0.1
"""Seconds that what was acknowledged waits for more of it, where nothing else is to be read."""
OVERHEAD: Final = 60
"""Bytes of a packet besides topic and payload: header, properties, TLS record; about."""


class Batches:
    """What was read and not sent, and what is to be written down.

    Args:
        queue: open.
        plan: knows what was spent.
        rates: learn what was acknowledged.
        config: ``[upstream]``; may be set anew.
        wake: called when the disk has answered.
        troubled: told where it could not write: all is as it was.

    Attributes:
        ready: messages to send, by class, the most urgent class first.
        written: set when something was written down.

    """

    def __init__(
        self,
        queue: UpstreamQueue,
        plan: Plan,
        rates: Rates,
        config: UpstreamConfig,
        *,
        wake: Callable[[], None],
        troubled: Callable[[TryLater], None],
    ) -> None:
        self._queue, self._plan, self._rates, self.config = queue, plan, rates, config
        self._wake, self._troubled = wake, troubled
        self.ready: dict[str, deque[Pending]] = {kind: deque() for kind in CLASSES}
        self.written = asyncio.Event()
        self._done: list[int] = []
        self._done_bytes = 0
        self._refused: dict[str, list[int]] = {}
        #: classes of which nothing more was there
        self._dry: set[str] = set()
        self._monotonic = time.monotonic
        self._wrote_at = 0.0
        self._exchange: asyncio.Task[list[Pending]] | None = None

    # -- what became of messages

    def delivered(self, n: int, size: int) -> None:
        """Note that the broker has a message."""
        self._done.append(n)
        self._done_bytes += size

    def refused(self, n: int, reason: str) -> None:
        """Note that the broker will never take a message."""
        self._refused.setdefault(reason, []).append(n)

    @property
    def unwritten(self) -> bool:
        """Whether something became of messages that is not on disk yet."""
        return bool(self._done or self._refused)

    # -- to and from the disk

    def look_again(self) -> None:
        """Ask the disk again: there may be messages that could not be read before."""
        self._dry.clear()

    def fetch(self, kinds: Sequence[str], *, idle: bool) -> None:
        """Take in what was read; read on in good time, and write down what became of others.

        Args:
            kinds: classes that may be sent now, the most urgent first.
            idle: nothing is under way.

        """
        if self._exchange is not None:
            if not self._exchange.done():
                return
            self._take_in(self._exchange.result())
            self._exchange = None
        wanted, limit = self._wanted(kinds)
        late = self._monotonic() >= self._wrote_at + DELETE_S
        rest = idle and late and self.unwritten
        if limit or rest or len(self._done) >= BATCH:
            self._queue.arrived.clear()
            self._exchange = asyncio.create_task(
                self._exchanged(limit, wanted), name="upstream queue"
            )
            self._exchange.add_done_callback(lambda _: self._wake())

    def _wanted(self, kinds: Sequence[str]) -> tuple[Sequence[str], int]:
        """Return the classes to read, and how many messages."""
        if self._queue.arrived.is_set():
            self._dry.clear()
        wet = [kind for kind in kinds if kind not in self._dry]
        most = self._batch()
        have = sum(len(self.ready[kind]) for kind in kinds)
        if have >= most // 2 and have:
            # enough to send, but something more urgent may have come
            first = next(kind for kind in kinds if self.ready[kind])
            classes = self._queue.stats().classes
            wet = [kind for kind in wet if URGENCY[kind] < URGENCY[first] and classes[kind].waiting]
        return wet, most if wet else 0

    def _batch(self) -> int:
        if not self.config.rate or self._plan.hurried:
            return BATCH
        stats = self._queue.stats()
        average = stats.waiting_bytes / (stats.waiting or 1) + 2 * OVERHEAD
        return max(2, min(BATCH, int(AHEAD_S * self.config.rate / average)))

    async def _exchanged(self, limit: int, kinds: Sequence[str]) -> list[Pending]:
        """Write down what became of messages, and read others, in one transaction."""
        done, self._done = self._done, []
        refused, self._refused = self._refused, {}
        size, self._done_bytes = self._done_bytes, 0
        spent = self._plan.unsaved()
        buried = [self._queue.bury(numbers, why) for why, numbers in refused.items()]
        noted = [self._queue.spent(spent)] if spent else []
        self._wrote_at = self._monotonic()
        told: list[Awaitable[Any]] = [self._queue.delivered(done), *buried, *noted]
        try:
            found = await asyncio.gather(self._queue.take(limit, kinds), *told)
        except TryLater as error:
            # done again it does no harm; what was taken all the same is given back
            self._done += done
            self._done_bytes += size
            for why, numbers in refused.items():
                self._refused.setdefault(why, []).extend(numbers)
            self._troubled(error)
            return []
        taken: list[Pending] = found[0]
        if done:
            self._rates.lap(len(done), size, more=bool(taken) or any(self.ready.values()))
        if limit and not taken:
            self._dry.update(kinds)
        self.written.set()
        return taken

    def _take_in(self, taken: Sequence[Pending]) -> None:
        newest = self.config.order == "newest"
        for kind in {item.kind for item in taken}:
            fresh, ready = [item for item in taken if item.kind == kind], self.ready[kind]
            if newest and ready and fresh[0].n > ready[0].n:
                ready.extendleft(reversed(fresh))
            else:
                ready.extend(fresh)

    async def give_back(self, sent: Collection[int]) -> None:
        """Write down what became of messages, and give back all others: they are read again.

        Args:
            sent: those of them that the broker may have.

        """
        await self._quiet()
        await self._exchanged(0, ())
        for ready in self.ready.values():
            ready.clear()
        self._dry.clear()
        try:
            await self._queue.release(sent)
        except TryLater as error:
            self._troubled(error)

    async def close(self) -> None:
        """Wait for the disk. What it read is in the queue."""
        await self._quiet()

    async def _quiet(self) -> None:
        if self._exchange is not None:
            await asyncio.wait([self._exchange])
            exchange, self._exchange = self._exchange, None
            exchange.result()
