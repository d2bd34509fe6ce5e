"""Outbox: redacted pictures and their messages, on disk until the store has them.

Invariants:

- 1 row a parcel: picture and message are kept together or not at all.
- 1 commit before ``put`` returns, shared by all who arrived together; power cuts change nothing.
- 0 parcels are given away twice: ``seq`` only grows, across restarts, and names a row for ever.
- 1 order a source: ``heads`` shows the oldest waiting parcel of each source and no other.
- 0 rows leave but by ``passed`` (the store has it) and ``dead`` (kept, with the reason).
- 2 refusals: ``outbox_full`` above ``max_bytes`` (dead letters count), ``disk_full`` when less
  than 16 MiB would be left on the disk, so that deliveries can still be noted.
- About 100 bytes remember a delivered event for ``remember``; then it may be put again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from edge.config.store import OutboxConfig
from edge.contracts import Note
from edge.errors import EdgeError
from edge.ops.database import Database
from edge.ops.metrics import Metrics
from edge.parcel import Parcel
from edge.sinks import outbox_sql as sql
from edge.sinks.outbox_room import Evicted, Room


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The oldest parcel of its source that the store does not have yet."""

    #: its place in the outbox; grows for ever
    seq: int
    parcel: Parcel = field(repr=False)
    #: tries that failed for a reason of its own
    tries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxStats:
    """How full the outbox is."""

    #: parcels that wait for the store
    waiting: int = 0
    #: bytes of those
    waiting_bytes: int = 0
    #: age in seconds of the oldest of those, 0 if there is none
    oldest_seconds: float = 0.0
    #: parcels that the store will never take
    dead: int = 0
    #: bytes of those
    dead_bytes: int = 0


class Outbox:
    """Keeps parcels on disk until their store has them; keeps ``contracts.Keeper``.

    Args:
        database: where it keeps them; made with ``outbox_sql.SCHEMA`` among its scripts.
        config: ``[outbox]``.
        metrics: gets ``outbox_parcels``, ``outbox_bytes`` and ``outbox_oldest_seconds``.
        clock: seconds since the epoch.

    """

    def __init__(
        self,
        database: Database,
        config: OutboxConfig,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database, self._config, self._clock = database, config, clock
        #: how much may wait, and who gives way
        self.room = Room(config, database.path.parent)
        self.room.tell.append(lambda _, gone, reason: self._gave_way(gone, reason))
        database.after.append(self._count)
        self._stats = OutboxStats()
        self._oldest_at: float | None = None
        #: set when a parcel of a source that nobody carries was put; the forwarder clears it
        self.arrived = asyncio.Event()
        #: names of the sources that are being carried: who carries one sees what follows by itself
        self.carried: set[str] = set()
        self._evicted = metrics.parcels_evicted
        metrics.outbox_parcels.set_function(lambda: self.stats().waiting)
        metrics.outbox_bytes.set_function(lambda: self.stats().waiting_bytes)
        metrics.outbox_oldest_seconds.set_function(lambda: self.stats().oldest_seconds)

    async def open(self) -> None:
        """Open the file; what it held is waiting again.

        Raises:
            Fatal: another process has it, or a newer Edge wrote it.
            PartFailed: it cannot be opened now.

        """
        await self._database.open()
        if self._stats.waiting:
            self.arrived.set()

    async def put(self, parcel: Parcel, also: Note | None = None) -> bool:
        """Keep a parcel; True when it is on disk, False if it was put before.

        ``also`` runs in the same transaction either way, but not where there is no room.

        Raises:
            TryLater: ``outbox_full`` or ``disk_full``; nothing was kept.
            PartFailed: the file is damaged.

        """
        row = _row(parcel, self._clock())

        def work(connection: sqlite3.Connection) -> bool | EdgeError:
            kept = self._insert(connection, parcel, row)
            if also is not None and isinstance(kept, bool):
                also(connection)
            return kept

        new = await self._database.do(work)
        if new and parcel.source not in self.carried:
            self.arrived.set()
        return new

    async def knows(self, event_id: str) -> bool:
        """Tell whether a parcel of this event waits, is dead, or was delivered lately."""
        values = {"id": event_id, "event": _digest(event_id), "since": self._since()}
        return await self._database.do(
            lambda connection: bool(connection.execute(sql.KNOWS_EVENT, values).fetchone()[0]),
            durable=False,
        )

    async def has_passed(self, event_id: str, parcel_id: str) -> bool:
        """Tell whether the store has a parcel (within the retention)."""
        values = (_digest(event_id), _digest(parcel_id), self._since())
        return await self._database.do(
            lambda connection: bool(connection.execute(sql.HAS_PASSED, values).fetchone()[0]),
            durable=False,
        )

    async def remember(self, event_id: str) -> None:
        """Know an event of which no parcel will come, as one of which there was one.

        A parcel that comes of it all the same (somebody has the event tried again) is kept.
        """
        values = (_digest(event_id), _digest(""), self._clock())
        # forgotten in a power cut, the picture is looked at once more
        await self._database.do(
            lambda connection: (
                connection.execute(
                    "INSERT OR REPLACE INTO known (event, parcel, at) VALUES (?, ?, ?)", values
                ).rowcount
            ),
            durable=False,
        )

    async def picture(self, key: str) -> bytes | None:
        """Return the picture of a parcel that waits, by its key; None where none does."""
        row = await self._database.do(
            lambda connection: connection.execute(sql.PICTURE, (key,)).fetchone(), durable=False
        )
        return None if row is None else row[0]

    async def heads(self, limit: int, skip: Collection[str] = ()) -> list[Waiting]:
        """Return the oldest waiting parcel of each source, the oldest first.

        Args:
            limit: as many at most.
            skip: names of sources to leave out (those that are under way).

        """
        return await self._database.do(
            lambda connection: self._heads(connection, limit, skip), durable=False
        )

    async def oldest(self, source: str, limit: int) -> list[Waiting]:
        """Return what waits of one source, the oldest first."""
        rows = await self._database.do(
            lambda connection: connection.execute(sql.OLDEST, (source, limit)).fetchall(),
            durable=False,
        )
        return [_waiting(row[0], row[1:]) for row in rows]

    async def passed(self, seq: int, also: Sequence[Note] = ()) -> Waiting | None:
        """Forget a parcel that the store has; remember its ids for ``remember``.

        Args:
            seq: its place.
            also: what comes of it, in the same transaction: exactly once, as the parcel passes.

        Returns:
            What waits next of the same source, or None.

        Raises:
            TryLater: no room to write that down; the parcel is still here.

        """
        # Come undone in a power cut, it is delivered once more, which changes nothing, and what
        # came of it comes undone with it. Where all that waits is under way, nobody waits for the
        # note either: it joins the next parcel's commit, and sees that parcel.
        return await self._database.do(
            lambda connection: self._pass(connection, seq, also),
            durable=False,
            patient=self._stats.waiting <= len(self.carried),
        )

    async def missed(self, seq: int, error: str) -> None:
        """Write down that a try failed because of this parcel itself."""
        await self._database.do(
            lambda connection: (
                connection.execute(
                    "UPDATE parcel SET tries = tries + 1, error = ? WHERE seq = ?", (error, seq)
                ).rowcount
            )
        )

    async def dead(self, seq: int, reason: str) -> None:
        """Set a parcel aside for good, with its content and the reason."""
        await self._database.do(lambda connection: self._bury(connection, seq, reason))

    def stats(self) -> OutboxStats:
        """Say how full it is, as of the last commit. Never blocks."""
        since = self._oldest_at
        if since is None:
            return self._stats
        return replace(self._stats, oldest_seconds=max(0.0, self._clock() - since))

    async def close(self) -> None:
        """Commit what was handed in and let go of the file."""
        await self._database.close()

    def _gave_way(self, gone: Sequence[Evicted], reason: str) -> None:
        for one in gone:
            self._evicted.labels(one.source, reason).inc()

    # -- the thread's side: each runs in a transaction

    def _insert(
        self, connection: sqlite3.Connection, parcel: Parcel, row: dict[str, Any]
    ) -> bool | EdgeError:
        ids = {
            "id": parcel.id,
            "event_id": parcel.event_id,
            "event": _digest(parcel.event_id),
            "parcel": _digest(parcel.id),
            "since": self._since(),
        }
        if connection.execute(sql.IS_KNOWN, ids).fetchone()[0]:
            return False
        refusal = self.room.take(connection, row["bytes"], self._clock())
        if refusal:
            return refusal
        connection.execute(sql.INSERT, row)
        return True

    def _heads(
        self, connection: sqlite3.Connection, limit: int, skip: Collection[str]
    ) -> list[Waiting]:
        found: list[Waiting] = []
        for source, seq in connection.execute(sql.HEADS).fetchall():
            if len(found) == limit:
                break
            if source not in skip:
                row = connection.execute(sql.SELECT, (seq,)).fetchone()
                found.append(_waiting(seq, row))
        return found

    def _pass(
        self, connection: sqlite3.Connection, seq: int, also: Sequence[Note]
    ) -> Waiting | None:
        gone = connection.execute(
            "DELETE FROM parcel WHERE seq = ? RETURNING event_id, id, bytes, source", (seq,)
        ).fetchone()
        if gone is None:
            return None
        connection.execute(sql.GIVE_ROOM, (gone[2],))
        connection.execute(
            "INSERT OR REPLACE INTO known (event, parcel, at) VALUES (?, ?, ?)",
            (_digest(gone[0]), _digest(gone[1]), self._clock()),
        )
        # one comes, up to two go: the memory shrinks to what is young without a task of its own
        connection.execute(
            "DELETE FROM known WHERE at < ? AND n IN (SELECT n FROM known ORDER BY n LIMIT 2)",
            (self._since(),),
        )
        for note in also:
            note(connection)
        following = connection.execute(sql.FOLLOWING, (gone[3],)).fetchone()
        return None if following is None else _waiting(following[0], following[1:])

    def _bury(self, connection: sqlite3.Connection, seq: int, reason: str) -> None:
        connection.execute("UPDATE parcel SET error = ? WHERE seq = ?", (reason, seq))
        connection.execute(
            f"INSERT INTO dead (seq, died_at, {sql.COLUMNS}) "  # noqa: S608 (constants)
            f"SELECT seq, ?, {sql.COLUMNS} FROM parcel WHERE seq = ?",
            (self._clock(), seq),
        )
        gone = connection.execute("DELETE FROM parcel WHERE seq = ? RETURNING bytes", (seq,))
        size = gone.fetchone()
        if size:
            connection.execute(sql.GIVE_ROOM, size)
            connection.execute(sql.ADD_DEAD, size)

    def _count(self, connection: sqlite3.Connection) -> None:
        waiting, size, dead, dead_size = connection.execute("SELECT * FROM total").fetchone()
        oldest = connection.execute("SELECT put_at FROM parcel ORDER BY seq LIMIT 1").fetchone()
        self._oldest_at = oldest[0] if oldest else None
        self._stats = OutboxStats(
            waiting=waiting, waiting_bytes=size, dead=dead, dead_bytes=dead_size
        )

    def _since(self) -> float:
        return self._clock() - self._config.remember


def _digest(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=16).digest()


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _row(parcel: Parcel, now: float) -> dict[str, Any]:
    message = _encode(parcel.message)
    receipt = None if parcel.receipt is None else _encode(parcel.receipt)
    return {
        "id": parcel.id,
        "event_id": parcel.event_id,
        "source": parcel.source,
        "taken_at": parcel.taken_at.isoformat(),
        "key": parcel.key,
        "content_type": parcel.content_type,
        "put_at": now,
        "bytes": len(parcel.body) + len(message) + len(receipt or ""),
        "message": message,
        "receipt": receipt,
        "body": parcel.body,
    }


def _waiting(seq: int, row: tuple[Any, ...]) -> Waiting:
    id_, event_id, source, taken_at, key, content_type, _, tries, _, _, message, receipt, body = row
    parcel = Parcel(
        id=id_,
        event_id=event_id,
        source=source,
        taken_at=datetime.fromisoformat(taken_at),
        key=key,
        body=body,
        content_type=content_type,
        message=json.loads(message),
        receipt=None if receipt is None else json.loads(receipt),
    )
    return Waiting(seq=seq, parcel=parcel, tries=tries)
