"""The upstream queue: messages on disk until the broker has acknowledged them.

Invariants:

- 1 transaction: ``note`` joins that of what it reports, so that both happened or neither did.
- 1 message an id: kind, source and id are remembered for ``remember``, and while it waits.
- 0 messages are lost unsaid: a row leaves as delivered, or into a tombstone, which is a message.
  Of each class, ever: produced = delivered + waiting + tombstoned.
- 0 messages are sent that a power cut could undo: ``take`` is durable, and all before it with it.
- A deletion that a power cut undoes is one message more on the wire, with the same id and number.
- 1 order: with ``oldest``, messages of a class leave as they came; ``seq`` counts those of a class
  and source for ever, without gaps.
- 0 rows are counted or searched, however many wait: sums change with the rows.
"""

from __future__ import annotations

import asyncio
import bisect
import itertools
import json
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from edge.config.mqtt import CLASSES, UpstreamConfig
from edge.contracts import Note
from edge.ops.database import Database
from edge.ops.metrics import Metrics
from edge.sinks.upstream import sql
from edge.sinks.upstream.outgoing import SEPARATOR, Outgoing, Pending, Totals, UpstreamStats
from edge.sinks.upstream.quota import AT_ONCE, Quota
from edge.sinks.upstream.rows import Gone, Row, Tombstones, gone, insert

TAKE_BYTES = 2**20
"""Bytes that are taken at once, but for one message that is larger."""
DAY_S = 86_400
KEPT_DAYS = 8
"""Days whose spent bytes are remembered."""


class UpstreamQueue:
    """Keeps messages for the broker.

    Args:
        database: where it keeps them, with ``sql.SCHEMA`` among its scripts; opened by whoever
            made it, then ``open`` is called.
        config: ``[upstream]``; ``change`` sets another.
        metrics: gets ``upstream_*``.
        origin: ``/{site}/{node}``: what the sources of its own messages begin with.
        clock: seconds since the epoch.

    Attributes:
        arrived: set when messages were noted; whoever takes clears it.
        told: called, on the loop, when messages were noted.

    """

    def __init__(
        self,
        database: Database,
        config: UpstreamConfig,
        metrics: Metrics,
        *,
        origin: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database, self._metrics, self._clock = database, metrics, clock
        self._tombstones = Tombstones(origin)
        self.change(config)
        self._life = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._totals: Mapping[str, Totals] = {kind: Totals() for kind in CLASSES}
        self._oldest_at: float | None = None
        self._changed = True
        self.arrived = asyncio.Event()
        self.told: list[Callable[[], None]] = []
        database.after.append(self._look)
        for kind in CLASSES:
            self._show(kind)

    def _show(self, kind: str) -> None:
        metrics = self._metrics
        metrics.upstream_waiting.labels(kind).set_function(lambda: self._totals[kind].waiting)
        metrics.upstream_bytes.labels(kind).set_function(lambda: self._totals[kind].waiting_bytes)
        metrics.upstream_oldest_seconds.set_function(lambda: self.stats().oldest_seconds)

    def change(self, config: UpstreamConfig) -> None:
        """Go by another ``[upstream]`` from now on."""
        self._config = config
        self._quota = Quota(config, self._database.path.parent, self._tombstones)

    async def open(self) -> None:
        """Begin: what waited when the last life ended may be taken anew."""
        self._loop = asyncio.get_running_loop()
        self._life = await self._database.do(_next_life, durable=False)
        if self.stats().waiting:
            self._tell()

    # -- in

    def note(self, outgoing: Outgoing) -> Note:
        """Return what puts a message into the queue, for the transaction of what it reports.

        Raises:
            ValueError: the body is no JSON object.

        """
        row = Row(
            kind=outgoing.kind,
            source=outgoing.source,
            topic=outgoing.topic,
            digest=outgoing.digest(),
            at=outgoing.at,
            body=outgoing.json(),
        )
        return lambda connection: self._put(connection, row)

    async def put(self, *outgoing: Outgoing) -> int:
        """Put messages into the queue; return how many are new, once they are on disk.

        Raises:
            TryLater: no room on the disk; none was put.
            ValueError: the body of one is no JSON object.

        """
        notes = [self.note(one) for one in outgoing]
        return await self._database.do(
            lambda connection: sum(bool(note(connection)) for note in notes)
        )

    def lost(self, connection: sqlite3.Connection, rows: Sequence[Gone], reason: str) -> None:
        """Say that what never became a message is lost, such as a picture that gave way.

        Args:
            connection: of the transaction in which it went.
            rows: what went; ``n`` is 0. Their classes have numbers (``seq``) of their own.
            reason: why.

        """
        for source in dict.fromkeys(one.source for one in rows):
            of_source = [one for one in rows if one.source == source]
            self._tombstones.say(connection, of_source, reason, self._clock())

    # -- out

    async def take(self, limit: int, kinds: Sequence[str] = CLASSES) -> list[Pending]:
        """Return messages to send, that were not returned before in this life.

        By class, the most urgent first, and within it as ``order`` says. They are on disk, and so
        is that they may have been sent. A tombstone that was taken grows no more.

        Args:
            limit: as many at most; less where they are large.
            kinds: only of these classes.

        Raises:
            TryLater: no room on the disk.

        """
        if limit <= 0:
            return []
        return await self._database.do(
            lambda connection: self._take(connection, limit, [k for k in CLASSES if k in kinds])
        )

    async def delivered(self, numbers: Collection[int]) -> None:
        """Forget messages that the broker has. Not durable by itself: it may be sent once more."""
        if numbers:
            names = json.dumps(list(numbers))
            await self._database.do(
                lambda connection: self._deliver(connection, names), durable=False
            )

    async def release(self, sent: Collection[int] = ()) -> None:
        """Let all be taken anew that was taken and not delivered, in its order.

        Args:
            sent: those that may have come to the broker: they do not give way.

        """
        names = json.dumps(list(sent))
        self._life += 1
        await self._database.do(lambda connection: _release(connection, names), durable=False)

    async def bury(self, numbers: Collection[int], reason: str) -> None:
        """Give up messages that the broker will never take: into a tombstone with that reason."""
        names = json.dumps(list(numbers))
        await self._database.do(
            lambda connection: self._bury(connection, names, reason), durable=False
        )

    async def tidy(self) -> None:
        """Let go of what waited for ``max_age``. Cheap where there is nothing of it."""
        first = self._oldest_at
        while first is not None and first < self._clock() - self._config.max_age:
            if not await self._database.do(self._age, durable=False):
                return
            first = self._oldest_at

    async def spent(self, size: int = 0) -> int:
        """Add bytes to those spent today (UTC); return how many that are."""
        day = int(self._clock() // DAY_S)

        def work(connection: sqlite3.Connection) -> int:
            if size:
                connection.execute(sql.SPEND, (day, size))
                connection.execute(sql.FORGET_DAYS, (day - KEPT_DAYS,))
            row = connection.execute(sql.SPENT, (day,)).fetchone()
            return int(row[0]) if row else 0

        return await self._database.do(work, durable=False)

    # -- what is shown

    def stats(self) -> UpstreamStats:
        """Say how full it is, as of the last commit. Never blocks."""
        totals, since = self._totals, self._oldest_at
        return UpstreamStats(
            waiting=sum(one.waiting for one in totals.values()),
            waiting_bytes=sum(one.waiting_bytes for one in totals.values()),
            oldest_seconds=0.0 if since is None else max(0.0, self._clock() - since),
            classes=totals,
        )

    def totals(self) -> Totals:
        """Say what became of all messages, ever. Never blocks."""
        every = self._totals.values()
        return Totals(
            produced=sum(one.produced for one in every),
            delivered=sum(one.delivered for one in every),
            waiting=sum(one.waiting for one in every),
            tombstoned=sum(one.tombstoned for one in every),
            produced_bytes=sum(one.produced_bytes for one in every),
            waiting_bytes=sum(one.waiting_bytes for one in every),
        )

    # -- the thread's side: each runs in a transaction

    def _put(self, connection: sqlite3.Connection, row: Row) -> bool:
        now = self._clock()
        n = insert(connection, row, now, self._config.remember)
        if not n:
            return False
        self._changed = True
        if len(row.body) > self._config.max_bytes:
            # alone it is more than there is room: nobody else gives way for it
            alone = gone(connection, sql.THESE, (json.dumps([n]),))
            self._tombstones.bury(connection, alone, "too_large", now)
        self._quota.room(connection, now)
        self._quota.disk(connection, len(row.body), now)
        if n % AT_ONCE == 0:
            self._quota.age(connection, now)
        return True

    def _take(
        self, connection: sqlite3.Connection, limit: int, kinds: Sequence[str]
    ) -> list[Pending]:
        query, budget = sql.NEXT[self._config.order], TAKE_BYTES
        chosen: list[int] = []
        for kind in kinds:
            values = {"class": kind, "life": self._life, "limit": limit - len(chosen)}
            numbers, sizes = map(json.loads, connection.execute(query, values).fetchone())
            sums = list(itertools.accumulate(sizes))
            fit = bisect.bisect_right(sums, budget)
            if not (fit or chosen):
                fit = 1
            chosen += numbers[:fit]
            if fit < len(numbers) or len(chosen) == limit:
                break
            budget -= sums[-1] if sums else 0
        if not chosen:
            return []
        names = json.dumps(chosen)
        connection.execute(sql.GIVE, (self._life, names))
        connection.execute(sql.SEAL, (names,))
        facts, bodies = connection.execute(sql.READ, (names,)).fetchone()
        each = zip(json.loads(facts), bodies.split(SEPARATOR), strict=True)
        return [Pending.of(heads, body) for heads, body in each]

    def _deliver(self, connection: sqlite3.Connection, names: str) -> None:
        self._changed = True
        (weights,) = connection.execute(sql.WEIGH, (names,)).fetchone()
        connection.execute(sql.REMOVE, (names,))
        connection.execute(sql.REMOVE_GIVEN, (names,))
        for kind, many, size in json.loads(weights):
            connection.execute(sql.DELIVERED, (many, many, size, kind))

    def _bury(self, connection: sqlite3.Connection, names: str, reason: str) -> None:
        self._changed = True
        rows = gone(connection, sql.THESE, (names,))
        self._tombstones.bury(connection, rows, reason, self._clock())

    def _age(self, connection: sqlite3.Connection) -> int:
        self._changed = True
        return self._quota.age(connection, self._clock())

    def _look(self, connection: sqlite3.Connection) -> None:
        """Read what is shown, after a commit that changed it."""
        if not self._changed:
            return
        self._changed = False
        (facts,) = connection.execute(sql.TOTALS).fetchone()
        before = self._totals
        self._totals = {kind: _totals(counts) for kind, *counts in json.loads(facts)}
        first = connection.execute(sql.FIRST).fetchone()
        self._oldest_at = first[0] if first else None
        for kind, now in self._totals.items():
            self._count(kind, before[kind], now)
        more = any(now.produced > before[kind].produced for kind, now in self._totals.items())
        if more and self._loop is not None:
            self._loop.call_soon_threadsafe(self._tell)

    def _count(self, kind: str, before: Totals, now: Totals) -> None:
        counter = self._metrics.upstream_messages
        for outcome in ("produced", "delivered", "tombstoned"):
            grown = getattr(now, outcome) - getattr(before, outcome)
            if grown > 0:
                counter.labels(kind, outcome).inc(grown)

    def _tell(self) -> None:
        self.arrived.set()
        for tell in self.told:
            tell()


def _next_life(connection: sqlite3.Connection) -> int:
    connection.execute(sql.OPEN)
    return int(connection.execute(sql.LIFE).fetchone()[0])


def _release(connection: sqlite3.Connection, sent: str) -> None:
    connection.execute(sql.SENT, (sent,))
    connection.execute(sql.RELEASE)


def _totals(counts: Sequence[int]) -> Totals:
    produced, delivered, waiting, tombstoned, produced_bytes, waiting_bytes = counts
    return replace(
        Totals(produced=produced, delivered=delivered),
        waiting=waiting,
        tombstoned=tombstoned,
        produced_bytes=produced_bytes,
        waiting_bytes=waiting_bytes,
    )
