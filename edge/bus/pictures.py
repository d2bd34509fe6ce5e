"""The bus for pictures: each goes to whoever wants it, and what comes of it is kept in order.

::

      frames, uploads                      wanted by a handler that sees pictures
    [ who wants it? ] --> [ redact ] [ classify ] --> [ my turn? > outbox and journal ]
            `-- wanted by any other: journalled without its picture -->

Raw pictures are never journalled: they live in memory, and their source keeps what must not be
lost. Pictures of one source may be worked on at the same time; what comes of them is kept in the
order in which they were handed in.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from edge.bus.recent import Recent
from edge.contracts import Handler, Keeper, Note, Picture
from edge.errors import EdgeError, Rejected, TryLater
from edge.event import Event, Outcome, WireEvent
from edge.ops.metrics import Metrics
from edge.parcel import Parcel
from edge.traffic import Attempt

log = logging.getLogger(__name__)


class Taker(NamedTuple):
    """A trigger that wants a picture, and its handler, which sees pictures."""

    trigger: str
    handler: Handler


class Audience(Protocol):
    """Who wants which picture: the triggers, or one handler alone."""

    async def takers(self, event: Event[Picture]) -> Sequence[Taker]:
        """Return who takes the picture itself; whoever wants only the event gets it from here.

        Raises:
            Rejected: ``unwanted``: nobody wants it. TryLater: it could not be journalled now.

        """
        ...

    def note_of(
        self, event: Event[Picture], trigger: str, reply: WireEvent | Parcel
    ) -> tuple[Note | None, Callable[[], None]]:
        """Return what journals a reply (None: nobody wants it), and what to call once it is done.

        Args:
            event: what was replied to.
            trigger: whose handler replied.
            reply: what it made.

        """
        ...

    async def keep(self, note: Note) -> None:
        """Run a note in a transaction of its own."""
        ...


class Alone:
    """One handler that gets every picture, and nobody who waits for replies."""

    def __init__(self, name: str, handler: Handler) -> None:
        self._takers = (Taker(name, handler),)

    async def takers(self, event: Event[Picture]) -> Sequence[Taker]:  # noqa: ARG002 (all the same)
        return self._takers

    def note_of(
        self,
        event: Event[Picture],  # noqa: ARG002 (the contract's)
        trigger: str,  # noqa: ARG002
        reply: WireEvent | Parcel,  # noqa: ARG002
    ) -> tuple[None, Callable[[], None]]:
        return None, lambda: None

    async def keep(self, note: Note) -> None:  # noqa: ARG002 (the contract's)
        raise TypeError("nobody listens to replies")


class Pictures:
    """Hands each picture on, and keeps what comes of it. Called by ``Delivery``.

    Args:
        metrics: where times and counts go.
        audience: who wants which picture.
        keeper: the outbox; what it has taken is durable.

    """

    def __init__(self, metrics: Metrics, *, audience: Audience, keeper: Keeper) -> None:
        self._metrics = metrics
        self._audience = audience
        self._keeper = keeper
        #: pictures that were done and that failed, by trigger
        self.done: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        #: the way of the newest pictures
        self.recent = Recent()
        #: the newest turn of each source: who comes later waits for it
        self._turns: dict[str, asyncio.Future[None]] = {}

    async def __call__(self, event: Event[Picture]) -> Outcome:
        """See one picture through; everything that came of it is durable when it returns.

        Raises:
            Rejected, TryLater, PartFailed: as the handlers raised them.

        """
        started, at = time.perf_counter(), time.time()
        outcome, reason, error = None, "bug", ""
        try:
            outcome = await self._see_through(event)
            reason = ""
        except EdgeError as failure:
            reason, error = failure.reason, str(failure)
            raise
        else:
            return outcome
        finally:
            seconds = time.perf_counter() - started
            attempt = Attempt(at=at, seconds=seconds, subscriber="", reason=reason, error=error)
            self.recent.tried(event, attempt, outcome)

    async def _see_through(self, event: Event[Picture]) -> Outcome:
        before, turn = self._queue_up(event.source)
        try:
            takers = await self._audience.takers(event)
            if len(takers) == 1:
                made = [await takers[0].handler(event)]
            else:
                made = await self._all(event, takers)
            if before is not None and not before.done():
                await asyncio.wait([before])
            ends = [
                await self._keep(event, taker.trigger, reply)
                for taker, reply in zip(takers, made, strict=True)
            ]
            return Outcome.DUPLICATE if ends == [Outcome.DUPLICATE] else Outcome.DONE
        finally:
            self._pass_turn(event.source, before, turn)

    async def _all(
        self, event: Event[Picture], takers: Sequence[Taker]
    ) -> list[WireEvent | Parcel | None]:
        """Ask several at once. The picture ends as its redaction does; other failures are told."""
        made = await asyncio.gather(
            *(taker.handler(event) for taker in takers), return_exceptions=True
        )
        failures = [answer for answer in made if isinstance(answer, BaseException)]
        redacted = any(isinstance(answer, Parcel) for answer in made)
        for failure in failures:
            if not redacted or not isinstance(failure, EdgeError):
                raise failure
        for taker, answer in zip(takers, made, strict=True):
            if isinstance(answer, EdgeError):
                self._count(taker.trigger, "failed")
                log.warning("%s: %s: %s", taker.trigger, event.subject, answer)
        return [None if isinstance(answer, BaseException) else answer for answer in made]

    def _queue_up(self, source: str) -> tuple[asyncio.Future[None] | None, asyncio.Future[None]]:
        before = self._turns.get(source)
        turn = asyncio.get_running_loop().create_future()
        self._turns[source] = turn
        return before, turn

    def _pass_turn(
        self, source: str, before: asyncio.Future[None] | None, turn: asyncio.Future[None]
    ) -> None:
        if before is not None and not before.done():
            # It ended early (withheld, dropped): whoever comes next still waits for those before.
            before.add_done_callback(lambda _: self._pass_turn(source, None, turn))
            return
        turn.set_result(None)
        if self._turns.get(source) is turn:
            del self._turns[source]

    async def _keep(
        self, event: Event[Picture], trigger: str, reply: WireEvent | Parcel | None
    ) -> Outcome:
        self._count(trigger, "done")
        if reply is None:
            return Outcome.DONE
        note, told = self._audience.note_of(event, trigger, reply)
        new = True
        if isinstance(reply, Parcel):
            new = await self._keeper.put(reply, note)
        elif note is not None:
            await self._audience.keep(note)
        if new:
            told()
        self.recent.made(event, trigger, reply.id, parcel=isinstance(reply, Parcel))
        return Outcome.DONE if new else Outcome.DUPLICATE

    def _count(self, trigger: str, outcome: str) -> None:
        self._metrics.bus_deliveries.labels(trigger, outcome).inc()
        (self.done if outcome == "done" else self.failed)[trigger] += 1


class Kept:
    """The outbox as the bus sees it: counts what is kept, and tells of it. Keeps ``Keeper``.

    Args:
        metrics: where times and counts go.
        outbox: what it has taken is durable.

    """

    def __init__(self, metrics: Metrics, outbox: Keeper) -> None:
        self._metrics, self._outbox = metrics, outbox
        #: told of each new parcel once it is durable (live preview, finished uploads)
        self.made: list[Callable[[Parcel], None]] = []
        #: asked for each parcel what else is to be written in its transaction (jobs that it ends)
        self.notes: list[Callable[[Parcel], Note | None]] = []
        #: why the outbox took nothing the last time, in words; empty where it did
        self.no_room = ""

    async def put(self, parcel: Parcel, also: Note | None = None) -> bool:
        started = time.perf_counter()
        try:
            new = await self._outbox.put(parcel, self._with_notes(parcel, also))
        except TryLater as error:
            self.no_room = str(error)
            raise
        self.no_room = ""
        self._metrics.stage_seconds.labels("keep").observe(time.perf_counter() - started)
        if not new:
            return False
        self._metrics.pictures_redacted.labels(parcel.source).inc()
        age = (datetime.now(UTC) - parcel.taken_at).total_seconds()
        self._metrics.picture_age_seconds.labels(parcel.source).observe(age)
        for tell in self.made:
            tell(parcel)
        return True

    async def knows(self, event_id: str) -> bool:
        return await self._outbox.knows(event_id)

    def _with_notes(self, parcel: Parcel, also: Note | None) -> Note | None:
        notes = [also, *(ask(parcel) for ask in self.notes)]
        wanted = [note for note in notes if note is not None]
        if len(wanted) < 2:
            return wanted[0] if wanted else None
        return lambda connection: [note(connection) for note in wanted]


def unwanted(event: Event[Picture]) -> Rejected:
    """Return what to raise where no trigger wants a picture."""
    return Rejected(
        f"no trigger takes {event.type} of {event.source}",
        hint="is the trigger redact switched off? edge trigger ls",
        reason="unwanted",
    )
