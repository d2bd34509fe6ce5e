"""How a try ends, written down: what came of it, when it is tried again, or why it never is.

A delivery ends exactly once because it ends with one transaction: it leaves the journal together
with what came of it (replies, a parcel, a dead letter). A dead letter that is wanted by a
``deadLetterSink`` becomes, in the same transaction, an event for the trigger ``NAME/dead``, which
delivers it like any other, and whose own dead letters stay in the box.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

from edge.bus.journal import Journal
from edge.bus.journal_rows import Arrival, Due, Target, digest_of
from edge.bus.subscribers import Subscriber
from edge.bus.triggers import DEAD, Trigger
from edge.config.bus import BusConfig
from edge.contracts import Keeper
from edge.errors import EdgeError, Fatal, PartFailed, Rejected, TryLater
from edge.event import Event, Value, WireEvent
from edge.ops.backoff import Backoff
from edge.ops.metrics import Metrics
from edge.parcel import Parcel
from edge.traffic import Attempt

log = logging.getLogger(__name__)

ANSWER_BYTES = 768
"""As much of an answer is kept: 1024 characters of base64."""
NOBODY = 500
"""``knativeerrorcode`` where nobody answered."""
NOTE_S = 30.0
"""Seconds that the journal may take for a note before the delivery counts as stuck."""
BUGS_IN_A_ROW = 10


class Bugs:
    """Unforeseen exceptions in a row, of all triggers together."""

    def __init__(self) -> None:
        self._count = 0

    def none(self) -> None:
        """Note that a handler did what a handler may do."""
        self._count = 0

    def one_more(self) -> None:
        """Count one.

        Raises:
            Fatal: it was the tenth.

        """
        self._count += 1
        if self._count >= BUGS_IN_A_ROW:
            raise Fatal(f"the bus met {BUGS_IN_A_ROW} bugs in a row", hint="see the log")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ties:
    """What the workers share."""

    journal: Journal
    keeper: Keeper
    metrics: Metrics
    config: BusConfig
    #: what journals an answer of a trigger to a delivery; empty: nobody wants it.
    #: Raises Rejected where it is too large.
    replies: Callable[[Due, str, WireEvent | Parcel], list[Arrival]]
    #: told of answers, once they are journalled
    announce: Callable[[Sequence[Arrival]], None]
    #: seconds since the epoch, as the journal counts them
    clock: Callable[[], float] = time.time
    bugs: Bugs = field(default_factory=Bugs)


@dataclass(slots=True)
class UnderWay:
    """A delivery that was begun and has not ended."""

    due: Due
    trigger: Trigger
    subscriber: Subscriber
    task: asyncio.Task[None] | None = None
    #: when it began, by the monotonic clock
    began_at: float = field(default_factory=time.monotonic)
    #: later than that it is stuck
    until: float = 0.0

    def step(self, allowance: float) -> None:
        """Note that it moves; its next step may take ``allowance`` seconds."""
        self.until = time.monotonic() + allowance

    def took(self) -> float:
        """Return the seconds since it began."""
        return time.monotonic() - self.began_at


class Endings:
    """Writes down how the deliveries of one trigger end.

    Args:
        ties: what the workers share.
        current: the trigger as it is defined now.

    """

    def __init__(self, ties: Ties, current: Callable[[], Trigger]) -> None:
        self._ties, self._current = ties, current
        #: deliveries since the start, by how they ended
        self.done = self.dead = 0

    async def delivered(self, way: UnderWay, made: WireEvent | Parcel | None) -> None:
        """Note that it worked, and keep what came of it; both are on disk when it returns.

        Raises:
            Rejected: what came of it is too large.
            TryLater: the outbox has no room for the parcel; nothing was kept or noted.

        """
        ties, due = self._ties, way.due
        replies = [] if made is None else ties.replies(due, way.trigger.name, made)
        attempt = self._attempt(way)
        if isinstance(made, Parcel):
            way.step(NOTE_S)
            note = ties.journal.done_note(due, attempt, replies, made.id)
            await ties.keeper.put(made, also=note)
        else:
            await self._write(way, lambda: ties.journal.done(due, attempt, replies))
        ties.announce(replies)
        self.done += 1
        ties.metrics.bus_deliveries.labels(way.trigger.name, "done").inc()

    async def failed(self, way: UnderWay, error: EdgeError) -> None:
        """Note that it failed: it is tried again, or never."""
        tries = way.due.tries + 1
        spec = way.trigger.spec
        if isinstance(error, Rejected) or not spec.may_retry(tries):
            await self._died(way, error)
            return
        wait = spec.wait(tries, _asked(error))
        attempt, at = self._attempt(way, error), self._ties.clock() + wait
        self._ties.metrics.bus_retries.labels(way.trigger.name).inc()
        await self._write(way, lambda: self._ties.journal.failed(way.due, attempt, at))

    async def _died(self, way: UnderWay, error: EdgeError) -> None:
        ties, due, name = self._ties, way.due, way.trigger.name
        where = way.subscriber.where
        code = error.status or NOBODY
        answer = base64.b64encode(error.answer[:ANSWER_BYTES]).decode("ascii")
        attempt = self._attempt(way, error)
        words = f"{error}. {error.hint}" if error.hint else str(error)

        def write() -> Awaitable[object]:
            # asked each time: the trigger may have got or lost its sink
            if not self._current().has_sink:
                return ties.journal.dead(due, attempt, where, error.reason, words, code, answer)
            letter = letter_to_sink(due, name, where=where, code=code, answer=answer)
            return ties.journal.done(due, attempt, [letter])

        await self._write(way, write)
        self.dead += 1
        ties.metrics.bus_deliveries.labels(name, "dead").inc()
        log.warning("trigger %s gives up an event: %s", name, error, extra={"reason": error.reason})

    async def given_back(self, dues: Collection[Due]) -> None:
        """Note that deliveries are not tried now, though they were read; nothing is charged."""
        at = self._ties.clock()
        with contextlib.suppress(TryLater):  # then they are where they were
            for due in dues:
                await self._ties.journal.held(due, at)

    def _attempt(self, way: UnderWay, error: EdgeError | None = None) -> Attempt:
        took = way.took()
        return Attempt(
            at=self._ties.clock() - took,
            seconds=took,
            subscriber=way.subscriber.name,
            reason="" if error is None else error.reason,
            error="" if error is None else str(error),
            status=0 if error is None else error.status,
        )

    async def _write(self, way: UnderWay, write: Callable[[], Awaitable[object]]) -> None:
        """Write a note, and again while the disk has no room: what happened has happened."""
        backoff = Backoff(0.2, 10.0)
        while True:
            way.step(NOTE_S)
            try:
                await write()
            except TryLater as error:
                await asyncio.sleep(max(backoff.next(), error.after))
            else:
                return


def letter_to_sink(due: Due, name: str, *, where: str, code: int, answer: str) -> Arrival:
    """Return a dead letter of trigger ``name`` as an event for its ``deadLetterSink``."""
    said: dict[str, Value] = {"knativeerrordest": where, "knativeerrorcode": code}
    if answer:
        said["knativeerrordata"] = answer
    extensions = {k: v for k, v in due.event.extensions.items() if k != "knativeerrordata"}
    event: Event[bytes | None] = replace(due.event, extensions=extensions | said)
    return Arrival(
        event=event,
        targets=[Target(trigger=name + DEAD, key="")],
        hops=due.hops,
        digest=digest_of(event, due.digest, name + DEAD),
        cause=due.seq,
    )


def nobody_answered(error: EdgeError) -> bool:
    """Tell whether an error says nothing about the event: nobody looked at it."""
    return isinstance(error, PartFailed) or (isinstance(error, TryLater) and not error.status)


def _asked(error: EdgeError) -> float:
    return error.after if isinstance(error, TryLater | PartFailed) else 0.0
