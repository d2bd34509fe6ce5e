"""A trigger's worker: takes what waits in the journal, hands it on, and sees to it that it ends.

::

    journal --due--> [ under way, at most `concurrency` ] --handler--> done   (with its replies)
                        ^                                  |---------> later  (back-off)
                        `---- one probe <-- hold <---------|           hold   (nobody answers)
                                                           `---------> dead   (letter, or sink)

What is under way stays in the journal until it is noted how it ended: a crash or a stop delivers
it again. One of the places that catch everything: an unforeseen exception makes a dead letter, and
ten in a row end the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Collection

from edge.bus.absent import Absent
from edge.bus.delivery_spec import DeliverySpec
from edge.bus.ending import Endings, Ties, UnderWay, nobody_answered
from edge.bus.hold import Hold
from edge.bus.journal_rows import Due
from edge.bus.subscribers import IDLE, Load
from edge.bus.triggers import Trigger
from edge.contracts import Handler
from edge.errors import EdgeError, Fatal, PartFailed, Rejected, TryLater
from edge.event import Event, WireEvent
from edge.parcel import Parcel
from edge.traffic import TriggerStatus

log = logging.getLogger(__name__)

FETCH = 32
"""Deliveries that are read from the journal at once; what is not begun is given back."""


class Worker:
    """Delivers what waits for one trigger, by whatever definition it has now.

    ``run`` it in a task. All of it happens on the loop.
    """

    def __init__(self, trigger: Trigger, ties: Ties) -> None:
        self.trigger = trigger
        self.name = trigger.name
        #: what the subscriber said when it wanted no more (410); empty: it did not
        self.gone = ""
        self.hold, self._absent = Hold(), Absent()
        self._ties = ties
        self._endings = Endings(ties, lambda: self.trigger)
        self._wake = ties.journal.waiter(trigger.name)
        self._under_way: dict[int, UnderWay] = {}
        self._read: deque[Due] = deque()
        self._retired: list[Trigger] = []
        self._stopped = False

    @property
    def under_way(self) -> int:
        """How many deliveries are under way."""
        return len(self._under_way)

    def swap(self, trigger: Trigger) -> None:
        """Go on by another definition; what is under way ends by the old one."""
        self._retired.append(self.trigger)
        self.trigger, self.gone = trigger, ""
        self.hold, self._absent = Hold(), Absent()
        self._wake.set()

    def status(self) -> TriggerStatus:
        """Say how it is."""
        reason, words = self.trigger.trouble()
        if not reason and self.gone:
            reason, words = "gone", self.gone
        ready = not reason
        if ready and self.hold.since:
            reason, words = "holding", self.hold.why
        plan = self.trigger.plan
        return TriggerStatus(
            name=self.name,
            spec=plan.shown,
            origin=plan.origin,
            ready=ready,
            reason=reason,
            message=words,
            waiting=max(0, self._ties.journal.waiting(self.name) - len(self._under_way)),
            under_way=len(self._under_way),
            done=self._endings.done,
            dead=self._endings.dead,
        )

    def late(self) -> float | None:
        """Return how many seconds the slowest delivery is over its time; None: none is."""
        now = time.monotonic()
        late = [now - way.until for way in self._under_way.values() if now > way.until]
        return max(late, default=None)

    async def run(self) -> None:
        """Deliver until cancelled; what is under way then stays in the journal.

        Raises:
            Fatal: as a handler raised it, or ten unforeseen exceptions in a row.
            PartFailed: the journal is damaged.

        """
        async with asyncio.TaskGroup() as group:
            while True:
                self._wake.clear()
                await self._close_retired()
                delay = await self._begin(group)
                if delay is None or delay > 0:
                    await self._sleep(delay)

    async def drain(self) -> None:
        """Begin nothing more, and wait for what is under way."""
        self._stopped = True
        await self._over(self._under_way.values())

    async def without(self, handlers: Collection[Handler]) -> None:
        """Wait until nothing that is under way uses one of ``handlers``."""
        ways = self._under_way.values()
        await self._over([way for way in ways if way.subscriber.handler in handlers])

    async def close(self) -> None:
        """Let go of the handlers that were made for this trigger."""
        for trigger in (*self._retired, self.trigger):
            await trigger.close()

    async def _over(self, ways: Collection[UnderWay]) -> None:
        tasks = [way.task for way in ways if way.task is not None]
        if tasks:
            await asyncio.wait(tasks)

    async def _close_retired(self) -> None:
        used = {id(way.trigger) for way in self._under_way.values()}
        idle = [trigger for trigger in self._retired if id(trigger) not in used]
        for trigger in idle:
            self._retired.remove(trigger)
            await trigger.close()

    # -- what begins, and when

    async def _begin(self, group: asyncio.TaskGroup) -> float | None:
        """Begin what may be begun; return the seconds until it is worth another look.

        None: when something happens.
        """
        wait = self.hold.wait()
        if wait > 0 or self._rests():
            await self._give_back()
            return wait or None
        free = self._free()
        if not free:
            return None
        if not self._read:
            found = await self._ties.journal.due(
                self.name, 1 if self.hold.since else max(FETCH, free), self._left_out()
            )
            if not found:
                return await self._until_next()
            self._read.extend(found)
        # things may have changed meanwhile
        for _ in range(0 if self._rests() else min(self._free(), len(self._read))):
            self._start(group, self._read.popleft())
        return 0.0 if self._free() else None

    async def _give_back(self) -> None:
        read, self._read = self._read, deque()
        await self._endings.given_back(read)

    def _rests(self) -> bool:
        """Tell whether nothing is to be begun, for however long."""
        return bool(self._stopped or self.gone or self.trigger.blocked()[0])

    def _free(self) -> int:
        """Return how many deliveries there is room for."""
        most = 1 if self.hold.since else self.trigger.concurrency
        return max(0, most - len(self._under_way))

    def _left_out(self) -> Collection[int]:
        """Return what is not to be begun: every other probe is of something not yet tried."""
        return self._under_way.keys() | self.hold.tried_in_vain()

    async def _until_next(self) -> float | None:
        journal = self._ties.journal
        if self.hold.tried_in_vain():
            self.hold.allow_all()
            return 0.0
        if journal.waiting(self.name) <= len(self._under_way):
            return None
        due = await journal.next_due(self.name)
        return None if due is None else max(0.01, due - self._ties.clock())

    async def _sleep(self, delay: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._wake.wait()

    def _start(self, group: asyncio.TaskGroup, due: Due) -> None:
        trigger = self.trigger
        load = self._load() if trigger.subscribers.overflows else IDLE
        way = UnderWay(due, trigger, trigger.subscribers.choose(due.event, load))
        way.step(trigger.spec.timeout)
        self._absent.begin(way.subscriber.key, trigger.spec.timeout)
        self._under_way[due.seq] = way
        way.task = group.create_task(self._deliver(way), name=f"deliver {self.name} {due.seq}")
        way.task.add_done_callback(lambda _: self._ended(due.seq))

    def _load(self) -> Load:
        """Return what there is to do, and for whom something is under way."""
        return Load(
            waiting=max(0, self._ties.journal.waiting(self.name) - len(self._under_way)),
            busy=[way.subscriber.key for way in self._under_way.values()],
            concurrency=self.trigger.concurrency,
            away=self._absent.keys(),
        )

    def _ended(self, seq: int) -> None:
        del self._under_way[seq]
        self._wake.set()

    # -- one delivery

    async def _deliver(self, way: UnderWay) -> None:
        refusal = self._refusal(way)
        if refusal is not None:
            await self._endings.failed(way, refusal)
            return
        handler = way.subscriber.handler
        if handler is None:  # it is gone since this was read
            await self._endings.given_back([way.due])
            return
        made = await self._ask(handler, way.due.event, way.trigger.spec)
        self._ties.metrics.bus_delivery_seconds.labels(self.name).observe(way.took())
        if isinstance(made, EdgeError):
            await self._fare(way, made)
        else:
            await self._keep(way, made)

    def _refusal(self, way: UnderWay) -> Rejected | None:
        """Return why this event is not to be delivered at all."""
        handler = way.subscriber.handler
        if handler is not None and handler.sees_pictures:
            return Rejected(
                f"{way.subscriber.name} works on pictures in memory; this event brought none",
                reason="no_picture",
            )
        return None

    async def _ask(
        self, handler: Handler, event: WireEvent, spec: DeliverySpec
    ) -> WireEvent | Parcel | EdgeError | None:
        """Return what the handler made, or the error that it raised."""
        made: WireEvent | Parcel | EdgeError | None
        try:
            made = await _made_by(handler, event, spec.timeout)
        except (Rejected, TryLater, PartFailed) as error:
            made = error
        except Fatal:
            raise
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return self._met_bug(error)  # something inside the handler was cancelled, not this
        except Exception as error:  # noqa: BLE001 (one of the places that catch everything)
            return self._met_bug(error)
        self._ties.bugs.none()
        return made

    def _met_bug(self, error: BaseException) -> Rejected:
        log.error("trigger %s: a handler met a bug", self.name, exc_info=error)
        self._ties.metrics.bugs.inc()
        self._ties.bugs.one_more()
        return Rejected(f"a bug in the handler: {error!r}", reason="bug")

    async def _keep(self, way: UnderWay, made: WireEvent | Parcel | None) -> None:
        try:
            await self._endings.delivered(way, made)
        except Rejected as error:
            await self._endings.failed(way, error)
        except TryLater as error:
            # the outbox has no room: nothing is wrong with this event, nor with its handler
            await self._nobody(way, error)
        else:
            self._answered(way)

    async def _fare(self, way: UnderWay, error: EdgeError) -> None:
        """Decide what becomes of a delivery that failed."""
        if isinstance(error, PartFailed) and error.reason == "gone":
            self.gone = str(error)
            log.warning("trigger %s: its subscriber wants no more events: %s", self.name, error)
            await self._endings.given_back([way.due])
        elif self._is_no_fault_of_its_own(way, error):
            if self._another_stands_in(way, error):
                self._ties.metrics.bus_retries.labels(self.name).inc()
                await self._endings.given_back([way.due])
            else:
                await self._nobody(way, error)
        else:
            if not nobody_answered(error):
                self._answered(way)
            elif self._another_stands_in(way, error):
                log.debug("trigger %s: the next try may go to another one", self.name)
            await self._endings.failed(way, error)

    def _is_no_fault_of_its_own(self, way: UnderWay, error: EdgeError) -> bool:
        endless = way.trigger.spec.endless
        return endless and nobody_answered(error) and not self.hold.only_this_one(way.due.seq)

    async def _nobody(self, way: UnderWay, error: EdgeError) -> None:
        self._ties.metrics.bus_retries.labels(self.name).inc()
        asked = error.after if isinstance(error, TryLater | PartFailed) else 0.0
        seq, spec = way.due.seq, way.trigger.spec
        if self.hold.fail(seq, spec, way.began_at, asked=asked, why=str(error)):
            log.warning("trigger %s holds: %s", self.name, error)
        await self._endings.given_back([way.due])

    def _another_stands_in(self, way: UnderWay, error: EdgeError) -> bool:
        """Pass over who did not answer; return whether there is another one for its events."""
        subscribers, spec = way.trigger.subscribers, way.trigger.spec
        if not subscribers.overflows:
            return False
        asked = error.after if isinstance(error, TryLater | PartFailed) else 0.0
        name = way.subscriber.name
        if self._absent.fail(way.subscriber.key, spec, way.began_at, asked):
            log.warning("trigger %s: %s is passed over: %s", self.name, name, error)
        return subscribers.others_answer(self._absent.keys())

    def _answered(self, way: UnderWay) -> None:
        if self._absent.answered(way.subscriber.key):
            log.info("trigger %s: %s answers again", self.name, way.subscriber.name)
        failures = self.hold.answered(way.due.seq)
        if failures:
            log.info("trigger %s recovered after %d failures", self.name, failures)


async def _made_by(handler: Handler, event: WireEvent, seconds: float) -> WireEvent | Parcel | None:
    """Return what a handler makes of an event.

    Raises:
        TryLater: ``timeout``.
        TypeError: what it returned is nothing that a handler may return.

    """
    try:
        async with asyncio.timeout(seconds) as limit:
            made: object = await handler(event)
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise TryLater(f"no answer within {seconds:g} s", reason="timeout") from error
    if made is None or isinstance(made, Parcel):
        return made
    if not isinstance(made, Event) or not isinstance(made.data, bytes | None):
        what = f"{type(made).__name__} with {type(getattr(made, 'data', None)).__name__}"
        raise TypeError(f"{handler.where} returned {what}; expected an event on its way, or None")
    return made
