"""Publisher: sends what waits in the upstream queue, as the plan allows, and keeps the rest.

One loop, never a task a message: the next batch is read from the disk while the window drains, and
what was acknowledged is deleted in the same transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, Final, Protocol

from edge.config.mqtt import CLASSES, UpstreamConfig
from edge.errors import PartFailed, Rejected, TryLater
from edge.ops.backoff import Backoff
from edge.ops.database import DISK_RETRY_S
from edge.ops.metrics import Metrics
from edge.ops.mqtt_types import NO_PROPERTIES, Properties
from edge.sinks.upstream.outgoing import Pending
from edge.sinks.upstream.plan import DAY_S, Plan
from edge.sinks.upstream.queue import UpstreamQueue
from edge.sinks.upstream.rates import Rates
from edge.sinks.upstream.state import Facts, told
from edge.topics import Topics

log = logging.getLogger(__name__)

BATCH: Final = 1024
"""Messages that are read at once; the next ones when half of them are sent."""
AHEAD_S: Final = 1.0
"""With a rate, no more is read ahead than goes in so long: what is urgent must not stand behind."""
OVERHEAD: Final = 60
"""Bytes of a packet besides topic and payload: header, properties, TLS record; about."""
DELETE_S: Final = 0.1
"""Seconds that what was acknowledged waits for more of it, where nothing else is to be sent."""
TIDY_S: Final = 60.0
HELD_S: Final = 60.0
"""Seconds until a class that the broker does not let through is tried again."""
CONTENT_TYPE: Final = "application/cloudevents+json; charset=utf-8"


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
        #: read, and not sent
        self._ready: dict[str, deque[Pending]] = {kind: deque() for kind in CLASSES}
        #: sent, and not acknowledged: the broker may have them
        self._sent: dict[int, Pending] = {}
        self._under_way = 0
        self._done: list[int] = []
        self._done_bytes = 0
        self._refused: dict[str, list[int]] = {}
        #: classes that the broker does not let through: why, and until when
        self._held: dict[str, tuple[PartFailed, float]] = {}
        self._backoff = Backoff(1.0, 60.0)
        self._rest_until, self._rest_why = 0.0, ""
        self._again = self._more = True
        self._exchange: asyncio.Task[list[Pending]] | None = None
        self._tidy_at = 0.0
        self._wake = asyncio.Event()
        self._hurry_mark = 0
        self._last_delivered: float | None = None
        self.paused = False
        #: when a pause ends by itself, seconds since the epoch; None: it does not
        self.until: float | None = None
        queue.told.append(self._wake.set)

    # -- what people say

    def change(self, config: UpstreamConfig) -> None:
        """Go by another ``[upstream]``: also queue and plan."""
        self._config = config
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
        self._more = True
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
                resting=self._rest_why if self._resting() else "",
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
            await self._leave()

    async def drain(self, budget_s: float) -> bool:
        """Wait until nothing waits, for ``budget_s`` at most; True if the queue is empty."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(budget_s):
                while self._queue.stats().waiting and not self._stuck():
                    await asyncio.sleep(DELETE_S / 2)
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
        free = self._link.free
        if free <= 0 and not self._under_way:
            self.rates.broken()
            await self._room()
            free = self._link.free
        self._fetch()
        if free > 0:
            return self._send(free)
        return TIDY_S

    def _send(self, free: int) -> float | None:
        wait = TIDY_S
        for kind, ready in self._ready.items():
            while ready and free > 0:
                blocked = 0.0 if self._plan.free else self._plan.may(kind, _size(ready[0]))
                if blocked:
                    self.rates.broken()
                    wait = min(wait, blocked)
                    break
                if not self._publish(ready.popleft()):
                    return None
                free -= 1
        self._fetch()
        return min(wait, DELETE_S) if self._done or self._refused else wait

    def _publish(self, item: Pending) -> bool:
        historical = self._clock() - item.at > self._config.historical_after
        payload = item.payload(historical=historical)
        topic = self._topic(item.kind, item.source, item.topic)
        size = len(payload) + len(topic) + OVERHEAD
        try:
            future = self._link.publish(topic, payload, properties=self._properties(item))
        except Rejected as error:
            self._refuse(item, error)
            return True
        except (PartFailed, TryLater):
            self._ready[item.kind].appendleft(item)
            return False
        self._sent[item.n] = item
        self._under_way += 1
        self._plan.spend(size)
        self._metrics.upstream_sent_bytes.inc(size)
        future.add_done_callback(partial(self._settled, item, size))
        return True

    def _properties(self, item: Pending) -> Properties:
        # by the day, so that there are few of them: each is packed once
        waited = max(0.0, self._clock() - item.put_at)
        days = int((self._config.max_age - waited) // DAY_S) + 1
        return _properties(max(1, days) * DAY_S)

    # -- what the broker says

    def _settled(self, item: Pending, size: int, future: asyncio.Future[None]) -> None:
        self._under_way -= 1
        error = future.exception()
        if error is None:
            del self._sent[item.n]
            self._done.append(item.n)
            self._done_bytes += size
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
        self._refused.setdefault(error.reason, []).append(item.n)

    def _failed(self, item: Pending, error: PartFailed | TryLater) -> None:
        """Send it again: at once when there is a connection, or after a while."""
        self._again = True
        if isinstance(error, TryLater):
            self._rest(max(error.after, self._backoff.next()), str(error))
        elif error.status:
            if item.kind not in self._held:
                log.warning("%s waits: %s. %s", item.kind, error, error.hint)
            self._held[item.kind] = error, self._monotonic() + HELD_S
        else:
            self._held.clear()

    def _rest(self, seconds: float, why: str) -> None:
        until = self._monotonic() + seconds
        if until > self._rest_until:
            self._rest_until, self._rest_why = until, why

    # -- to and from the disk

    def _fetch(self) -> None:
        """Take in what was read, and read on while what is ready is sent."""
        if self._exchange is not None:
            if not self._exchange.done():
                return
            self._take_in(self._exchange.result())
            self._exchange = None
        if self._again:
            return
        kinds, limit = self._wanted()
        idle = not self._under_way and not any(self._ready.values())
        if limit or len(self._done) >= BATCH or ((self._done or self._refused) and idle):
            self._queue.arrived.clear()
            self._exchange = asyncio.create_task(
                self._exchanged(limit, kinds), name="upstream queue"
            )
            self._exchange.add_done_callback(lambda _: self._wake.set())

    def _wanted(self) -> tuple[tuple[str, ...], int]:
        """Return the classes to read, and how many messages."""
        now = self._monotonic()
        for kind in [kind for kind, (_, until) in self._held.items() if until <= now]:
            del self._held[kind]
            self._more = True
        kinds = tuple(kind for kind in CLASSES if kind not in self._held)
        if not self._plan.free:
            kinds = tuple(kind for kind in kinds if not self._plan.may(kind, 1))
        self._more = self._more or self._queue.arrived.is_set()
        most = self._batch()
        have = sum(len(self._ready[kind]) for kind in kinds)
        if have < most // 2 or not have:
            return kinds, most if self._more else 0
        if self._queue.arrived.is_set():
            first = next(rank for rank, kind in enumerate(kinds) if self._ready[kind])
            classes = self._queue.stats().classes
            kinds = tuple(kind for kind in kinds[:first] if classes[kind].waiting)
            return kinds, most if kinds else 0
        return (), 0

    def _batch(self) -> int:
        if not self._config.rate or self._plan.hurried:
            return BATCH
        stats = self._queue.stats()
        average = stats.waiting_bytes / (stats.waiting or 1) + 2 * OVERHEAD
        return max(2, min(BATCH, int(AHEAD_S * self._config.rate / average)))

    async def _exchanged(self, limit: int, kinds: tuple[str, ...]) -> list[Pending]:
        """Write down what became of messages, and read others, in one transaction."""
        done, self._done = self._done, []
        refused, self._refused = self._refused, {}
        size, self._done_bytes = self._done_bytes, 0
        spent = self._plan.unsaved()
        buried = [self._queue.bury(numbers, why) for why, numbers in refused.items()]
        noted = [self._queue.spent(spent)] if spent else []
        try:
            taken, *_ = await asyncio.gather(
                self._queue.take(limit, kinds), self._queue.delivered(done), *buried, *noted
            )
        except TryLater as error:
            # all is as it was, or is done again without harm
            self._done += done
            self._refused = {**refused, **self._refused}
            self._again = True
            self._rest(error.after or DISK_RETRY_S, str(error))
            return []
        if done:
            self._backoff.reset()
            self._last_delivered = self._clock()
            self.rates.lap(len(done), size, more=bool(taken) or any(self._ready.values()))
        if limit:
            self._more = bool(taken)
        return taken

    def _take_in(self, taken: list[Pending]) -> None:
        newest = self._config.order == "newest"
        for kind, ready in self._ready.items():
            fresh = [item for item in taken if item.kind == kind]
            if newest and ready and fresh and fresh[0].n > ready[0].n:
                ready.extendleft(reversed(fresh))
            else:
                ready.extend(fresh)

    async def _start_over(self) -> None:
        """Give all back that was not delivered; it is read again in its order."""
        self.rates.broken()
        if self._exchange is not None:
            await self._exchange
            self._exchange = None
        self._again = False
        await self._exchanged(0, ())
        for ready in self._ready.values():
            ready.clear()
        sent = list(self._sent)
        self._sent.clear()
        try:
            await self._queue.release(sent)
        except TryLater as error:
            self._again = True
            self._rest(error.after or DISK_RETRY_S, str(error))
        self._more = True

    async def _leave(self) -> None:
        if self._exchange is not None:
            self._exchange.cancel()
            await asyncio.wait([self._exchange])
            self._exchange = None
        self._again = True

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


@lru_cache(maxsize=1024)
def _properties(expiry: int) -> Properties:
    return Properties(content_type=CONTENT_TYPE, expiry=expiry)


def topic_of(topics: Topics, kind: str, source: str, topic: str) -> str:
    """Return where a message goes."""
    if kind == "result":
        return topics.result(source or topics.node)
    if kind == "receipt":
        return topics.receipt
    if kind == "loss":
        return topics.loss
    return topics.event(topic or kind)
