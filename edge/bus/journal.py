"""Journal: events on disk until every trigger that wants them has had them.

Invariants:

- 1 commit before ``accept`` returns, shared by all who arrived together; power cuts change nothing.
- 1 event a digest: what waits, or ended within ``remember``, is not accepted again.
- 1 end a delivery: done, dropped (its ``expirytime`` passed), or a dead letter with its reason.
- 1 transaction for "delivery done", the replies to it, and the parcel that came of it.
- 1 delivery of a key at a time, in the order of acceptance; others in that order as they can.
- 2 refusals: ``journal_full`` at ``max_events`` or ``max_bytes``, ``disk_full`` when less than
  32 MiB would be left on the disk. Replies and replays are never refused: they make room.
- 0 rows are counted: sums are kept, and every look for work is a short walk of one index.

The seq of an event only grows and names it for ever; the number of a dead letter likewise.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import replace
from functools import partial

from edge.bus import journal_expire, journal_letters, journal_sql
from edge.bus.journal_accept import accept, take
from edge.bus.journal_due import due, hold, next_due, retry
from edge.bus.journal_end import End, end
from edge.bus.journal_ledger import Ledger
from edge.bus.journal_letters import Row
from edge.bus.journal_pieces import Pieces, Spool
from edge.bus.journal_rows import (
    Arrival,
    Due,
    Entry,
    Grave,
    JournalStats,
    Target,
    digest_of,
    entry_of,
)
from edge.bus.journal_trace import traces
from edge.config.bus import BusConfig
from edge.contracts import Accepted, Note
from edge.errors import EdgeError, TryLater
from edge.ops.metrics import Metrics
from edge.traffic import Attempt, Letter, LetterQuery, Trace

__all__ = ["SCHEMA", "Arrival", "Due", "Journal", "JournalStats", "Target", "digest_of"]

SCHEMA = journal_sql.SCHEMA
"""The journal's tables: a script for ``ops.database.Database``."""
Answer = asyncio.Future[list[Accepted]]


class Journal:
    """The durable half of the bus; keeps ``traffic.DeadLetters``.

    Args:
        database: the file, with ``SCHEMA``; it is opened after this and closed after all use.
        config: ``[bus]``.
        metrics: gets what the bus holds.
        clock: seconds since the epoch.

    """

    def __init__(
        self,
        database: Spool,
        config: BusConfig,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._pieces = Pieces(database, config, metrics, clock)
        self._metrics, self._clock = metrics, clock
        self._directory = database.path.parent
        self._stats = JournalStats()
        self._oldest_at: float | None = None
        #: what callers of this tick brought: it goes into the file together
        self._gathered: list[tuple[list[Entry], Answer]] = []
        self._accepting: set[asyncio.Task[list[list[Accepted] | TryLater]]] = set()
        database.after.append(self._count)
        metrics.bus_waiting_events.set_function(lambda: self.stats().events)
        metrics.bus_waiting_bytes.set_function(lambda: self.stats().bytes)
        metrics.bus_oldest_seconds.set_function(lambda: self.stats().oldest_seconds)
        metrics.bus_letters.set_function(lambda: self.stats().letters)

    # -- in

    async def accept(self, arrivals: Sequence[Arrival]) -> list[Accepted]:
        """Take events, all or none of them; they are on disk when it returns.

        Raises:
            TryLater: ``journal_full`` or ``disk_full``; none was taken.
            Rejected: ``bad_text``; none was taken.

        """
        entries = self._entries(arrivals)
        loop = asyncio.get_running_loop()
        answer: Answer = loop.create_future()
        self._gathered.append((entries, answer))
        if len(self._gathered) == 1:
            loop.call_soon(self._hand_in, loop)
        try:
            return await answer
        except EdgeError as error:
            self._metrics.bus_refused.labels(error.reason).inc()
            raise

    def note_of(self, arrivals: Sequence[Arrival]) -> Note:
        """Return the same as a piece of somebody else's transaction. It never refuses for room.

        Raises:
            Rejected: ``bad_text``.

        """
        entries = self._entries(arrivals)
        return self._pieces.piece(lambda ledger: take(ledger, entries))

    # -- out

    def waiter(self, trigger: str) -> asyncio.Event:
        """Return what is set when a delivery for a trigger may be there: clear it, then look.

        It is set at first, and stays the same object for ever.
        """
        return self._pieces.waiter(trigger)

    async def due(self, trigger: str, limit: int, skip: Collection[int] = ()) -> list[Due]:
        """Return deliveries that may be begun now, the oldest first: each is the head of its key.

        Args:
            trigger: for whom.
            limit: as many at most.
            skip: ``seq`` of those that are under way.

        """
        skip = frozenset(skip)
        return await self._pieces.do(
            lambda ledger: due(ledger, trigger, limit, skip, self._pieces.lent), durable=False
        )

    async def next_due(self, trigger: str) -> float | None:
        """Return when the earliest parked delivery of a trigger is due; None: none is parked."""
        return await self._pieces.do(lambda ledger: next_due(ledger, trigger), durable=False)

    async def done(
        self, due: Due, attempt: Attempt, replies: Sequence[Arrival] = (), parcel_id: str = ""
    ) -> None:
        """Note that a delivery is done and what came of it, on disk when it returns.

        Replies without targets are only named in the trace.

        Raises:
            TryLater: no room to write that down; the delivery still waits.
            Rejected: ``bad_text`` in a reply.

        """
        await self._pieces.database.do(self.done_note(due, attempt, replies, parcel_id))

    def done_note(
        self, due: Due, attempt: Attempt, replies: Sequence[Arrival] = (), parcel_id: str = ""
    ) -> Note:
        """Return ``done`` as a piece of somebody else's transaction."""
        entries = self._entries([reply for reply in replies if reply.targets])
        how = End("done", attempt, [reply.event.id for reply in replies], parcel_id)

        def work(ledger: Ledger) -> None:
            self._pieces.lent.discard((due.seq, due.trigger))
            if end(ledger, due.seq, due.trigger, how):
                take(ledger, entries)

        return self._pieces.piece(work)

    async def failed(self, due: Due, attempt: Attempt, at: float) -> None:
        """Note that a try failed; the next one is not before ``at``. It need not be durable."""

        def work(ledger: Ledger) -> None:
            self._pieces.lent.discard((due.seq, due.trigger))
            retry(ledger, due.seq, due.trigger, attempt, at)

        await self._pieces.do(work, durable=False)

    async def held(self, due: Due, at: float) -> None:
        """Put a delivery off until ``at`` without a charge: it was not its fault."""

        def work(ledger: Ledger) -> None:
            self._pieces.lent.discard((due.seq, due.trigger))
            hold(ledger, due.seq, due.trigger, at)

        await self._pieces.do(work, durable=False)

    async def dead(
        self,
        due: Due,
        attempt: Attempt | None,
        where: str,
        reason: str,
        error: str,
        code: int = 500,
        answer: str = "",
    ) -> None:
        """Make a dead letter of a delivery, on disk when it returns."""
        grave = Grave(where, reason, error, code, answer)

        def work(ledger: Ledger) -> None:
            self._pieces.lent.discard((due.seq, due.trigger))
            end(ledger, due.seq, due.trigger, End("dead", attempt), grave)

        await self._pieces.do(work)

    # -- what people see

    async def traces(self, event_id: str) -> list[Trace]:
        """Return the way of every event of that id: those that wait, and those that ended."""
        return await self._pieces.do(lambda ledger: traces(ledger, event_id), durable=False)

    async def letters(self, query: LetterQuery) -> list[Letter]:
        """Return letters, the oldest first, without their events."""
        return [
            journal_letters.letter_of(row)
            async for rows in self._pages(query, None)
            for row in rows
        ]

    async def replay(self, query: LetterQuery) -> int:
        """Deliver letters anew to the triggers that could not, a piece at a time; say how many.

        Letters that are made meanwhile are left alone.
        """
        return sum([len(rows) async for rows in self._pages(query, journal_letters.replay)])

    async def drop(self, query: LetterQuery) -> int:
        """Forget letters for good, a piece at a time; return how many."""
        return sum([len(rows) async for rows in self._pages(query, journal_letters.drop)])

    async def letter(self, letter_id: str) -> Letter | None:
        """Return one with its event; None where there is none of that id."""
        number = journal_letters.number_of(letter_id)
        if number is None:
            return None
        return await self._pieces.do(
            lambda ledger: journal_letters.letter(ledger, number), durable=False
        )

    def stats(self) -> JournalStats:
        """Say how full it is, as of the last commit. Never blocks."""
        if self._oldest_at is None:
            return self._stats
        age = max(0.0, self._clock() - self._oldest_at)
        return replace(self._stats, oldest_seconds=age)

    def waiting(self, trigger: str) -> int:
        """Return how many deliveries wait for a trigger, those under way included."""
        return self._stats.waiting.get(trigger, 0)

    # -- triggers that were set at run time

    async def triggers_saved(self) -> dict[str, str]:
        """Return the triggers that were set at run time, as they were saved, by name."""

        def work(ledger: Ledger) -> dict[str, str]:
            return dict(ledger.connection.execute(journal_sql.TRIGGERS).fetchall())

        return await self._pieces.do(work, durable=False)

    async def save_trigger(self, name: str, json: str) -> None:
        """Keep a trigger across restarts."""

        def work(ledger: Ledger) -> None:
            ledger.connection.execute(journal_sql.SAVE_TRIGGER, (name, json))

        await self._pieces.do(work)

    async def forget_trigger(self, name: str, where: str = "") -> int:
        """Forget a trigger; what waits for it becomes dead letters, a piece at a time.

        Call it, too, at the start for whatever ``stats().waiting`` names and is no trigger: a crash
        may have come in between.

        Returns:
            How many dead letters that made.

        """
        before = self.waiting(name)
        await self._pieces.do(partial(journal_expire.forget, trigger=name, lent=self._pieces.lent))
        while await self._pieces.do(partial(journal_expire.all_of, trigger=name, where=where)):
            pass
        return before

    # -- giving up what is old

    async def expire(self) -> None:
        """Give up what is too old, or too much, in short pieces. To be called every minute."""
        after: int | None = 0
        while after is not None:
            after = await self._pieces.do(
                partial(journal_expire.too_old, lent=self._pieces.lent, after=after), durable=False
            )
        for work in (
            partial(journal_expire.expired, lent=self._pieces.lent),
            journal_expire.old_traces,
            journal_expire.old_digests,
            journal_expire.old_letters,
            journal_expire.parked_too_far,
        ):
            while await self._pieces.do(work, durable=False):
                pass
        self._pieces.say_what_was_dropped()

    def _count(self, connection: sqlite3.Connection) -> None:
        """Read what ``stats`` shows. Runs in the thread, after each commit."""
        _, _, _, events, size, _, letters, letter_bytes = connection.execute(
            journal_sql.TOTAL
        ).fetchone()
        oldest = connection.execute(journal_sql.OLDEST).fetchone() if events else None
        waiting = connection.execute(journal_sql.WAITING).fetchall()
        self._oldest_at = oldest[0] if oldest else None
        self._stats = JournalStats(
            events=events,
            bytes=size,
            waiting={trigger: many for trigger, many in waiting if many},
            letters=letters,
            letter_bytes=letter_bytes,
        )

    # -- the loop's side

    def _entries(self, arrivals: Sequence[Arrival]) -> list[Entry]:
        now = self._clock()
        return [entry_of(arrival, now) for arrival in arrivals]

    def _hand_in(self, loop: asyncio.AbstractEventLoop) -> None:
        gathered, self._gathered = self._gathered, []
        calls = [entries for entries, _ in gathered]
        answers = [answer for _, answer in gathered]
        task = loop.create_task(
            self._pieces.do(partial(accept, calls=calls, directory=self._directory)),
            name="edge-journal-accept",
        )
        self._accepting.add(task)
        task.add_done_callback(partial(self._answer, answers))

    def _answer(
        self, answers: Sequence[Answer], task: asyncio.Task[list[list[Accepted] | TryLater]]
    ) -> None:
        self._accepting.discard(task)
        if task.cancelled():
            for answer in answers:
                answer.cancel()
            return
        failed = task.exception()
        results = [failed] * len(answers) if failed else task.result()
        for answer, result in zip(answers, results, strict=True):
            if answer.done():  # its caller was cancelled; the events are accepted all the same
                continue
            if isinstance(result, list):
                answer.set_result(result)
            elif result is not None:
                answer.set_exception(result)

    async def _pages(
        self, query: LetterQuery, what: Callable[[Ledger, Sequence[Row]], None] | None
    ) -> AsyncIterator[Sequence[Row]]:
        """Yield the letters that match, each piece with what was done to it committed."""
        newest = await self._pieces.do(lambda ledger: ledger.letter, durable=False)
        after, left = journal_letters.number_of(query.after) or 0, query.limit
        while left is None or left > 0:
            most = min(left or journal_letters.MOST_A_PIECE, journal_letters.MOST_A_PIECE)
            piece = partial(
                journal_letters.each, query=query, between=(after, newest), limit=most, what=what
            )
            page = await self._pieces.do(piece, durable=what is not None)
            yield page.rows
            if page.after is None:
                return
            after = page.after
            left = None if left is None else left - len(page.rows)
