"""Publisher: sends what waits in the upstream queue, as the plan allows, and keeps the rest.

One loop, never a task a message. Where a connection ends, all that was not acknowledged is read
again from the disk: in its order, and before what came later.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, Final, Protocol

from edge.config.mqtt import CLASSES, UpstreamConfig
from edge.errors import PartFailed, Rejected, TryLater
from edge.ops.backoff import Backoff
from edge.ops.database import DISK_RETRY_S
from edge.ops.metrics import Metrics
from edge.ops.mqtt_types import NO_PROPERTIES, Properties
from edge.sinks.upstream.address import properties_of, topic_of
from edge.sinks.upstream.batches import DELETE_S, OVERHEAD, Batches
from edge.sinks.upstream.outgoing import Pending
from edge.sinks.upstream.plan import DAY_S, Plan
from edge.sinks.upstream.queue import UpstreamQueue
from edge.sinks.upstream.rates import Rates
from edge.sinks.upstream.state import Facts, told
from edge.sinks.upstream.suspicion import Suspicion
from edge.topics import Topics

log = logging.getLogger(__name__)

TIDY_S: Final = 60.0
LOOK_S: Final = 0.5
LATER_S: Final = 0.05
HELD_S: Final = 60.0
"""Seconds until a class that the broker does not let through is tried again."""


class Link(Protocol):
    """What the publisher needs of ``MqttLink``."""

    @property
    def free(self) -> int:
        """How many messages may be published now."""
        ...

    def publish(
        self, topic: str, payload: bytes, *, properties: Properties = NO_PROPERTIES
    ) -> asyncio.Future[None]:
        """Send a message; see ``MqttLink``."""
        ...

    async def room(self) -> int:
        """Wait until messages may be published."""
        ...

    def hurry(self) -> None:
        """Try to connect now."""
        ...


class Publisher:
    """Empties the queue into a link.

    Args:
        queue: open.
        link: connects by itself.
        topics: of this box.
        config: ``[upstream]``; ``change`` sets another.
        metrics: gets ``upstream_sent_bytes``.
        plan: says what may go now; others may ask and count with it, too.
        clock: seconds since the epoch.

    """

    def __init__(
        self,
        queue: UpstreamQueue,
        link: Link,
        topics: Topics,
        config: UpstreamConfig,
        metrics: Metrics,
        plan: Plan,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._queue, self._link, self._config, self._plan = queue, link, config, plan
        self._metrics, self._clock, self._monotonic = metrics, clock, time.monotonic
        self._topic = lru_cache(maxsize=1024)(partial(topic_of, topics))
        self.rates = Rates()
        self._wake = asyncio.Event()
        self._batches = Batches(
            queue, plan, self.rates, config, wake=self._wake.set, troubled=self._disk_troubled
        )
        self._suspicion = Suspicion()
        #: sent, and not acknowledged, with their sizes: the broker may have them
        self._sent: dict[int, int] = {}
        self._under_way = self._sent_bytes = 0
        self._lost: PartFailed | None = None
        #: classes that the broker does not let through: why, and until when
        self._held: dict[str, tuple[PartFailed, float]] = {}
        self._backoff = Backoff(1.0, 60.0)
        self._rest_until, self._rest_why = 0.0, ""
        self._again = True
        self._tidy_at = 0.0
        self._hurry_mark = 0
        self._last_delivered: float | None = None
        self.paused = False
        #: when a pause ends by itself, seconds since the epoch; None: it does not
        self.until: float | None = None
        queue.told.append(self._wake.set)

    # -- what people say

    def change(self, config: UpstreamConfig) -> None:
        """Go by another ``[upstream]``: also queue and plan."""
        self._config = self._batches.config = config
        self._queue.change(config)
        self._plan.change(config)
        self._again = True
        self._wake.set()

    def pause(self, seconds: float | None = None) -> None:
        """Send nothing for so long; None: until ``resume``. What waits is kept."""
        self.paused = self._again = True
        self.until = None if seconds is None else self._clock() + seconds
        self._wake.set()
        log.info("sending to the broker is paused")

    def resume(self) -> None:
        """Send again, and try at once whatever a back-off says."""
        self.paused, self.until = False, None
        self._rest_until = 0.0
        self._held.clear()
        self._batches.look_again()
        self._link.hurry()
        self._wake.set()

    def now(self) -> None:
        """Send all that waits at this moment, whatever the plan and the back-off say."""
        totals = self._queue.totals()
        self._hurry_mark = totals.produced
        self._plan.hurry(totals.waiting > 0)
        self.resume()

    def status(self) -> dict[str, Any]:
        """Say how it is, in JSON values: for the page. Cheap, never blocks."""
        return told(
            Facts(
                stats=self._queue.stats(),
                totals=self._queue.totals(),
                paused=self.paused,
                until=self.until,
                resting=self._rest_why if self._rest_until > self._monotonic() else "",
                link_up=self._link.free > 0 or self._under_way > 0,
                in_flight=self._under_way,
                held={kind: str(error) for kind, (error, _) in self._held.items()},
                rates=self.rates,
                plan=self._plan,
                per_day=self._config.per_day,
                last_delivered=self._last_delivered,
            )
        )

    # -- the loop

    async def run(self) -> None:
        """Send until cancelled; whoever is cancelled leaves the rest in the queue.

        Raises:
            PartFailed: the queue's file is damaged.

        """
        self._plan.restore(await self._queue.spent())
        try:
            while True:
                self._wake.clear()
                seconds = await self._turn()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self._wake.wait()
        finally:
            self._again = True
            await self._batches.close()

    async def drain(self, budget_s: float) -> bool:
        """Wait until nothing waits, for ``budget_s`` at most; True if the queue is empty."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(budget_s):
                while self._queue.stats().waiting and not self._stuck():
                    self._batches.written.clear()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(LOOK_S):
                            await self._batches.written.wait()
        return not self._queue.stats().waiting

    async def _turn(self) -> float | None:
        """Do what can be done now; return in how many seconds to look again, if nothing happens."""
        if self._monotonic() >= self._tidy_at:
            await self._tidy()
        if self._again:
            if self._under_way:
                return None  # each of them is acknowledged, or fails with the connection
            await self._start_over()
        rest = self._resting()
        if rest:
            return min(rest, TIDY_S)
        free = self._free()
        if free <= 0 and not self._under_way:
            self.rates.broken()
            await self._room()
            free = self._free()
            if free <= 0:
                return 0.0  # what is read now would be in nobody's reach
        self._batches.fetch(self._kinds(), idle=not self._under_way)
        wait = self._send(free) if free > 0 else None
        if self._under_way:
            return wait  # else each acknowledgement wakes it, or the end of the connection
        most = DELETE_S if self._batches.unwritten else TIDY_S
        return most if wait is None else min(wait, most)

    def _free(self) -> int:
        free = self._link.free
        return min(free, 1 - self._under_way) if self._suspicion.careful else free

    def _send(self, free: int) -> float | None:
        """Send what may be sent; return in how many seconds more may, None: when there is room."""
        wait, now, began = None, self._clock(), self._sent_bytes
        for kind, ready in self._batches.ready.items():
            while ready and free > 0:
                blocked = 0.0 if self._plan.free else self._plan.may(kind, _size(ready[0]))
                if blocked:
                    self.rates.broken()
                    wait = blocked if wait is None else min(wait, blocked)
                    break
                if not self._publish(ready, now):
                    wait, free = LATER_S, 0
                free -= 1
                if not self._plan.free:
                    began = self._count(began)
        self._count(began)
        return wait

    def _count(self, began: int) -> int:
        """Count the bytes that were sent since there were so many."""
        sent = self._sent_bytes
        if sent > began:
            self._plan.spend(sent - began)
            self._metrics.upstream_sent_bytes.inc(sent - began)
        return sent

    def _publish(self, ready: deque[Pending], now: float) -> bool:
        item = ready[0]
        payload = item.payload(historical=now - item.at > self._config.historical_after)
        topic = self._topic(item.kind, item.source, item.topic)
        properties = self._properties(now - item.put_at)
        try:
            future = self._link.publish(topic, payload, properties=properties)
        except Rejected as error:
            ready.popleft()
            self._refuse(item, error)
            return True
        except (PartFailed, TryLater):
            return False
        ready.popleft()
        size = len(payload) + len(topic) + OVERHEAD
        self._sent[item.n] = size
        self._sent_bytes += size
        self._under_way += 1
        future.add_done_callback(partial(self._settled, item, size))
        return True

    def _properties(self, waited: float) -> Properties:
        # by the day, so that there are few of them: each is packed once
        return properties_of(max(1, int((self._config.max_age - waited) // DAY_S) + 1) * DAY_S)

    # -- what the broker says

    def _settled(self, item: Pending, size: int, future: asyncio.Future[None]) -> None:
        self._under_way -= 1
        error = future.exception()
        if error is None:
            del self._sent[item.n]
            self._suspicion.took(size)
            self._batches.delivered(item.n, size)
            self._last_delivered = self._clock()
            if self._backoff.tries:
                self._backoff.reset()
        elif isinstance(error, Rejected):
            del self._sent[item.n]
            self._refuse(item, error)
        elif isinstance(error, PartFailed | TryLater):
            self._failed(item, error)
        else:
            raise error
        self._wake.set()

    def _refuse(self, item: Pending, error: Rejected) -> None:
        log.warning("a message of %s (%s) goes no further: %s", item.source, item.kind, error)
        self._batches.refused(item.n, error.reason)

    def _failed(self, item: Pending, error: PartFailed | TryLater) -> None:
        """Send it again: at once when there is a connection, or after a while."""
        self._again = True
        if isinstance(error, TryLater):
            if self._rest_until <= self._monotonic():  # once for all that are under way
                self._rest(max(error.after, self._backoff.next()), str(error))
        elif error.status:
            if item.kind not in self._held:
                log.warning("%s waits: %s. %s", item.kind, error, error.hint)
            self._held[item.kind] = error, self._monotonic() + HELD_S
        else:
            self._lost = error
            self._held.clear()

    def _rest(self, seconds: float, why: str) -> None:
        until = self._monotonic() + seconds
        if until > self._rest_until:
            self._rest_until, self._rest_why = until, why

    def _disk_troubled(self, error: TryLater) -> None:
        self._again = True
        self._rest(error.after or DISK_RETRY_S, str(error))

    def _kinds(self) -> Sequence[str]:
        """Return the classes that may be sent now, the most urgent first."""
        if self._plan.free and not self._held:
            return CLASSES
        now = self._monotonic()
        for kind in [kind for kind, (_, until) in self._held.items() if until <= now]:
            del self._held[kind]
            self._batches.look_again()
        return [kind for kind in CLASSES if kind not in self._held and not self._plan.may(kind, 1)]

    async def _start_over(self) -> None:
        """Give all back that was not delivered; it is read again in its order."""
        self.rates.broken()
        self._again = False
        lost, self._lost = self._lost, None
        guilty = self._suspicion.lost(lost, self._sent.items()) if lost else 0
        if guilty:
            log.warning("the broker hangs up on a message of %d bytes", self._sent.pop(guilty))
            self._batches.refused(guilty, "too_large")
        sent = list(self._sent)
        self._sent.clear()
        await self._batches.give_back(sent)

    async def _room(self) -> None:
        """Wait until the link is up, or something else happens."""
        room = asyncio.create_task(self._link.room(), name="upstream room")
        woken = asyncio.create_task(self._wake.wait(), name="upstream wakes")
        try:
            await asyncio.wait((room, woken), timeout=TIDY_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            room.cancel()
            woken.cancel()

    async def _tidy(self) -> None:
        self._tidy_at = self._monotonic() + TIDY_S
        self.rates.look(self._queue.totals().produced_bytes)
        try:
            await self._queue.tidy()
        except TryLater as error:
            log.warning("cannot let go of old messages: %s", error)

    # -- what holds it up

    def _resting(self) -> float:
        """Return the seconds for which nothing is sent; 0: go on."""
        if self.paused:
            left = TIDY_S if self.until is None else self.until - self._clock()
            if left > 0:
                return left
            log.info("sending to the broker goes on: its pause is over")
            self.resume()
        totals = self._queue.totals()
        if self._plan.hurried and totals.delivered + totals.tombstoned >= self._hurry_mark:
            self._plan.hurry(False)
        return max(0.0, self._rest_until - self._monotonic())

    def _stuck(self) -> bool:
        return self.paused or (self._link.free <= 0 and not self._under_way)


def _size(item: Pending) -> int:
    return len(item.body) + 3 * OVERHEAD
