"""Listeners: the triggers, as the way of pictures sees them. Keeps ``pictures.Audience``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from edge.bus.broker import Broker, event_of
from edge.bus.journal import Journal, digest_of
from edge.bus.pictures import Taker, unwanted
from edge.contracts import Note, Picture
from edge.event import Event, WireEvent
from edge.parcel import Parcel


class Listeners:
    """Who wants which picture, and what came of it.

    Args:
        broker: knows the triggers.
        journal: where replies go that somebody wants.
        keep: runs a note in a transaction of its own.
        hops: how many replies deep an event may go.

    """

    def __init__(
        self,
        broker: Broker,
        journal: Journal,
        *,
        keep: Callable[[Note], Awaitable[object]],
        hops: int,
    ) -> None:
        self._broker, self._journal, self._keep, self._hops = broker, journal, keep, hops

    async def takers(self, event: Event[Picture]) -> Sequence[Taker]:
        takers, others = [], False
        for trigger in self._broker.matching(event):
            handler = trigger.handler(event)
            if handler is not None and handler.sees_pictures:
                takers.append(Taker(trigger.name, handler))
            else:
                others = True
        if others:
            # the broker asks the triggers once more, and passes over those that took the picture
            await self._broker.accept([event.carrying(None)])
            return takers
        self._broker.tell(event)
        if not takers:
            raise unwanted(event)
        return takers

    def note_of(
        self, event: Event[Picture], trigger: str, reply: WireEvent | Parcel
    ) -> tuple[Note | None, Callable[[], None]]:
        made = event_of(reply) if isinstance(reply, Parcel) else reply
        parent = digest_of(event.carrying(None))
        arrivals = self._broker.reply_arrivals(parent, trigger, self._hops, made)
        wanted = [arrival for arrival in arrivals if arrival.targets]
        note = self._journal.note_of(wanted) if wanted else None
        return note, partial(self._broker.announce, arrivals)

    async def keep(self, note: Note) -> None:
        await self._keep(note)
