"""The broker: takes events, journals them for whoever wants them, and sees that they are delivered.

::

    accept --who wants it?--> journal --> a worker for each trigger --> handler
                                 ^-------------- its answer ---------------'

Pictures have a way of their own (``pictures.py``); it asks here who wants one, and journals here
what came of it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from edge.bus.candidate import candidate_of_event
from edge.bus.ending import Ties
from edge.bus.hops import without_hops
from edge.bus.journal import Journal
from edge.bus.journal_rows import Arrival, Due, Target, digest_of
from edge.bus.trigger_table import Linker
from edge.bus.triggers import MakeForward, Trigger
from edge.bus.watchers import Watch, Watchers
from edge.bus.workforce import Parse, Workforce
from edge.config.bus import BusConfig, TriggerConfig
from edge.contracts import Accepted, Handler, Keeper
from edge.errors import Rejected, TryLater
from edge.event import NAMED, Event, WireEvent
from edge.frame import picture_format
from edge.ops.groups import cause_of
from edge.ops.metrics import Metrics
from edge.parcel import Parcel
from edge.traffic import TriggerStatus

log = logging.getLogger(__name__)

HOUSEKEEPING_S = 60.0
AT_ONCE = 256
"""Events of one batch that are looked at before others have their turn."""
STOP_RETRY_S = 5.0


class Broker:
    """The bus for all that is not a picture; keeps ``contracts.Intake`` and ``traffic.Triggers``.

    Open it, set its triggers, ``run`` it in a task; ``drain`` it before the task is cancelled,
    then ``close`` it, then the journal.

    Args:
        journal: what is accepted, on disk.
        handlers: those that triggers may name; the caller closes them.
        config: ``[bus]``.
        metrics: gets the ``bus_*`` ones.
        keeper: where parcels go that a handler makes.
        make_forward: makes the handler of a ``uri``; the broker closes it.
        parse: reads a trigger set at run time.

    """

    def __init__(
        self,
        journal: Journal,
        handlers: Mapping[str, Handler],
        config: BusConfig,
        metrics: Metrics,
        *,
        keeper: Keeper,
        make_forward: MakeForward,
        parse: Parse,
    ) -> None:
        self._journal, self._config = journal, config
        self._watchers = Watchers()
        self._stopping = False
        ties = Ties(
            journal=journal,
            keeper=keeper,
            metrics=metrics,
            config=config,
            replies=self._replies,
            announce=self.announce,
        )
        self._force = Workforce(Linker(dict(handlers), make_forward), parse, ties)

    # -- life

    async def open(self) -> None:
        """Bring back the triggers that were set at run time. The journal is open already."""
        await self._force.restore()

    async def run(self) -> None:
        """Deliver until cancelled. What is under way then is delivered anew after the next start.

        All triggers are set before: what waits for any other becomes dead letters.

        Raises:
            Fatal: ten unforeseen exceptions in a row.
            PartFailed: the journal is damaged.

        """
        try:
            async with asyncio.TaskGroup() as group:
                self._force.start(group)
                group.create_task(self._keep_house(), name="bus housekeeping")
        except BaseExceptionGroup as errors:
            raise cause_of(errors) from errors
        finally:
            self._force.start(None)

    async def drain(self, budget: float) -> int:
        """Take and begin nothing more; wait at most ``budget`` seconds for what is under way.

        Returns:
            how many deliveries are still under way; like all that waits they are in the journal.

        """
        self._stopping = True
        drains = [
            asyncio.create_task(worker.drain(), name=f"drain {name}")
            for name, worker in self._force.workers.items()
        ]
        if drains:
            _, late = await asyncio.wait(drains, timeout=budget)
            for task in late:
                task.cancel()
        return sum(worker.under_way for worker in self._force.workers.values())

    async def close(self) -> None:
        """Let go of the handlers that the broker made, and of the watchers."""
        self._stopping = True
        self._watchers.close()
        for worker in self._force.workers.values():
            await worker.close()

    @property
    def busy(self) -> bool:
        """Whether a delivery is under way."""
        return any(worker.under_way for worker in self._force.workers.values())

    def age(self) -> float | None:
        """Return how many seconds the slowest delivery is over its time; None: none is."""
        late = [seconds for worker in self._force.workers.values() if (seconds := worker.late())]
        return max(late, default=None)

    # -- intake

    async def accept(self, events: Sequence[WireEvent]) -> list[Accepted]:
        """Take events, all or none of them; they are on disk when it returns.

        Raises:
            Rejected: ``too_large``: an event is over ``bus.max_event``; ``raw_picture``: its data
                is a picture or a video.
            TryLater: ``journal_full``, ``disk_full`` or ``stopping``.

        """
        if self._stopping:
            raise TryLater(
                "the box is stopping", hint="try again", reason="stopping", after=STOP_RETRY_S
            )
        for event in events:
            self._check(event)
        arrivals = await self._arrivals(events)
        accepted = await self._journal.accept(arrivals)
        self.announce([arrival for arrival, one in zip(arrivals, accepted, strict=True) if one.new])
        return accepted

    async def _arrivals(self, events: Sequence[WireEvent]) -> list[Arrival]:
        while True:
            takers, arrivals = self._force.takers, []
            for number, event in enumerate(events, 1):
                arrivals.append(self._arrival(*without_hops(event, self._config.hops)))
                if number % AT_ONCE == 0:
                    await asyncio.sleep(0)
            if takers is self._force.takers:  # else a trigger was set or removed meanwhile
                return arrivals

    def _arrival(self, event: WireEvent, hops: int) -> Arrival:
        return Arrival(
            event=event, targets=self._targets(event), hops=hops, digest=digest_of(event)
        )

    def _check(self, event: WireEvent) -> None:
        """Refuse what must not be written: a picture that nobody redacted, or too much."""
        kind = event.datacontenttype.lower().partition("/")[0]
        picture = picture_format(event.data or b"") or (kind in ("image", "video") and kind)
        if picture and event.data:
            raise Rejected(
                f"the data of event {event.id[:80]} is a picture ({picture}): a raw one is never "
                "written to this box's disk",
                hint="upload pictures with POST /v1/images; send others by reference (dataref)",
                reason="raw_picture",
            )
        size = len(event.data or b"")
        size += sum(len(name) + len(str(value)) for name, value in event.attributes().items())
        if size > self._config.max_event:
            raise Rejected(
                f"the event {event.id[:80]} has {size} bytes; at most {self._config.max_event} "
                "are taken (bus.max_event)",
                hint="send large content by reference (dataref)",
                reason="too_large",
            )

    # -- who wants what

    def matching(self, event: Event[Any]) -> list[Trigger]:
        """Return the enabled triggers whose filters an event passes; each is asked once."""
        candidate = candidate_of_event(event)
        return [trigger for trigger in self._force.takers if trigger.matches(candidate)]

    def _targets(self, event: WireEvent) -> list[Target]:
        """Return who gets an event that is no picture."""
        return [
            Target(trigger=trigger.name, key=trigger.key(event))
            for trigger in self.matching(event)
            if not trigger.for_pictures(event)
        ]

    def reply_arrivals(
        self, parent: bytes, trigger: str, hops: int, reply: WireEvent, cause: int = 0
    ) -> list[Arrival]:
        """Return what journals a reply; empty: nobody wants it.

        Args:
            parent: digest of what was replied to (``digest_of`` a picture's event).
            trigger: whose handler replied.
            hops: how many replies deep what was replied to might still go.
            reply: the reply.
            cause: place in the journal of what was replied to; 0: it was not journalled.

        Raises:
            Rejected: ``too_large`` or ``raw_picture``.

        """
        event, _ = without_hops(reply, hops)
        self._check(event)
        targets = self._targets(event)
        digest = digest_of(event, parent, trigger)
        return [
            Arrival(event=event, targets=targets, hops=max(0, hops - 1), digest=digest, cause=cause)
        ]

    def _replies(self, due: Due, trigger: str, made: WireEvent | Parcel) -> list[Arrival]:
        reply = event_of(made) if isinstance(made, Parcel) else made
        return self.reply_arrivals(due.digest, trigger, due.hops, reply, due.seq)

    def announce(self, arrivals: Sequence[Arrival]) -> None:
        """Show the watchers what was journalled."""
        if self._watchers:
            for arrival in arrivals:
                self.tell(arrival.event)

    def tell(self, event: Event[Any]) -> None:
        """Show an event to the watchers; of a raw picture's only the attributes."""
        if self._watchers:
            self._watchers.tell(candidate_of_event(event), event)

    def watch(self, filters: object = None) -> Watch:
        """Yield what passes the bus from now on; a slow watcher misses the oldest.

        With a CEL filter it blocks for 0.2 s the first time: it may be called from any thread.

        Raises:
            Rejected: ``bad_filter``.

        """
        return self._watchers.watch(filters)

    # -- triggers: see ``Workforce``

    def triggers(self) -> list[TriggerStatus]:
        """Return all of them, those of the configuration first."""
        return self._force.triggers()

    async def set_triggers(self, configs: Mapping[str, TriggerConfig], origin: str) -> None:
        """Set all triggers of one origin (``config`` or ``built-in``)."""
        await self._force.set_triggers(configs, origin)

    async def put_trigger(self, name: str, spec: Mapping[str, Any]) -> TriggerStatus:
        """Set a trigger; it is kept across restarts."""
        return await self._force.put_trigger(name, spec)

    async def remove_trigger(self, name: str) -> bool:
        """Remove one; what waits for it becomes dead letters."""
        return await self._force.remove_trigger(name)

    async def set_handlers(self, handlers: Mapping[str, Handler]) -> None:
        """Link the triggers to other handlers; then nothing uses those that are no longer there."""
        await self._force.set_handlers(handlers)

    async def _keep_house(self) -> None:
        while True:
            try:
                await self._force.forget_the_removed()
                await self._journal.expire()
            except TryLater as error:
                log.warning("the journal gives up nothing old: %s", error)
            await asyncio.sleep(HOUSEKEEPING_S)


def event_of(parcel: Parcel) -> WireEvent:
    """Return a parcel's message as an event on its way; its data is JSON."""
    message = parcel.message
    extensions = {n: v for n, v in message.items() if n not in NAMED and n != "data"}
    body = json.dumps(message.get("data"), ensure_ascii=False, separators=(",", ":"))
    return Event(
        data=body.encode() if "data" in message else None,
        extensions=extensions,
        **{name: str(message[name]) for name in NAMED if message.get(name)},
    )
