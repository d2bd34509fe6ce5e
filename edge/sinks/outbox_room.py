"""Room in the outbox: how much may wait, and who gives way. Runs in the database's thread.

Where ``when_full`` says ``evict``, the oldest pictures of live sources give way to newer ones: a
camera brings another. Pictures that somebody sent (uploads, objects, dropped files) never do, nor
does the oldest of a source, which may be on its way. Each eviction is told to whoever has to tell.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from edge.config.store import OutboxConfig
from edge.errors import TryLater
from edge.ops.database import DISK_RETRY_S
from edge.ops.database_file import PAGE_BYTES
from edge.sinks import outbox_sql as sql

KEEP_FREE_BYTES = 16 * 2**20
"""Left free on the disk: notes of deliveries need room, and they make room."""
FULL_RETRY_S = 2.0
"""Seconds until a full outbox is worth another try."""
AT_ONCE = 64
"""Parcels that give way to one at most."""
SLACK = 256
"""One part in so many of the room is freed beyond need, so that not each parcel has to push."""


class Evicted(NamedTuple):
    """A parcel that gave way."""

    #: its number in the outbox
    seq: int
    source: str
    bytes: int
    #: when it was taken, seconds since the epoch
    at: float


Tell = Callable[[sqlite3.Connection, Sequence[Evicted], str], object]
"""Told in the same transaction which parcels gave way, and why: ``bytes``, ``items``, ``age`` or
``disk``. It changes rows and nothing else."""


class Room:
    """How much may wait.

    Args:
        config: ``[outbox]``.
        directory: where the outbox's file is.

    Attributes:
        yields: whether older pictures of a source may give way; asked in the thread.
        tell: told of evictions.

    """

    def __init__(self, config: OutboxConfig, directory: Path) -> None:
        self._config, self._directory = config, directory
        self.yields: Callable[[str], bool] = lambda _: False
        self.tell: list[Tell] = []

    def take(self, connection: sqlite3.Connection, size: int, now: float) -> TryLater | None:
        """Take room for a parcel of ``size`` bytes, or return why there is none."""
        gone: dict[str, list[Evicted]] = {}
        connection.execute("SAVEPOINT room")
        refusal = self._make_room(connection, size, now, gone)
        if refusal:
            connection.execute("ROLLBACK TO room")  # nobody gives way in vain
        connection.execute("RELEASE room")
        if refusal:
            return refusal
        connection.execute(sql.TAKE_ROOM, (size,))
        for reason, evicted in gone.items():
            for tell in self.tell:
                tell(connection, evicted, reason)
        return None

    def _make_room(
        self,
        connection: sqlite3.Connection,
        size: int,
        now: float,
        gone: dict[str, list[Evicted]],
    ) -> TryLater | None:
        def evict(query: str, bound: float, reason: str) -> bool:
            found = self._evict(connection, query, bound)
            if found:
                gone.setdefault(reason, []).extend(found)
            return bool(found)

        config = self._config
        if config.max_age:
            evict(sql.OLD, now - config.max_age, "age")
        for reason in ("disk", "bytes", "items"):
            while short := self._short(connection, size, reason):
                if not evict(sql.OLDEST_THAT_MAY_GO, short, reason):
                    return self._full(reason)
        return None

    def _short(self, connection: sqlite3.Connection, size: int, reason: str) -> int:
        """Return how many bytes are to be freed; 0: none."""
        config = self._config
        if reason == "disk":
            return size if self._disk_is_full(connection, size) else 0
        items, waiting, dead = connection.execute(sql.SUMS).fetchone()
        if reason == "items":
            return int(items >= config.max_items)  # whatever its size, one has to go
        over = int(waiting + dead + size - config.max_bytes)
        return over + config.max_bytes // SLACK if over > 0 else 0

    def _evict(self, connection: sqlite3.Connection, query: str, bound: float) -> list[Evicted]:
        if self._config.when_full != "evict":
            return []
        heads = connection.execute(sql.HEADS).fetchall()
        names = [source for source, _ in heads if self.yields(source)]
        values = {"names": sql.as_json(names), "heads": sql.as_json([seq for _, seq in heads])}
        rows = connection.execute(query, {**values, "bound": bound, "most": AT_ONCE}).fetchall()
        gone = [
            Evicted(seq, source, size, datetime.fromisoformat(taken_at).timestamp())
            for seq, source, size, taken_at in rows
        ]
        if gone:
            connection.execute(sql.REMOVE_PARCELS, (sql.as_json([one.seq for one in gone]),))
            connection.execute(sql.GIVE_MUCH, (len(gone), sum(one.bytes for one in gone)))
        return gone

    def _full(self, reason: str) -> TryLater:
        config = self._config
        if reason == "disk":
            return TryLater(
                f"{_free(self._directory)} bytes are left on the disk of the outbox "
                f"({self._directory})",
                hint="free space on that disk; nothing that was accepted is lost",
                reason="disk_full",
                after=DISK_RETRY_S,
            )
        most = {"bytes": f"{config.max_bytes} bytes", "items": f"{config.max_items} pictures"}
        return TryLater(
            f"the outbox is full: {most[reason]} (outbox.max_{reason})",
            hint="it empties when the store takes parcels again",
            reason="outbox_full",
            after=FULL_RETRY_S,
        )

    def _disk_is_full(self, connection: sqlite3.Connection, size: int) -> bool:
        if _free(self._directory) - size >= KEEP_FREE_BYTES:
            return False
        # the file keeps the space of what was delivered: that is as good as free disk
        inside = connection.execute("PRAGMA freelist_count").fetchone()[0] * PAGE_BYTES
        return bool(inside < size + PAGE_BYTES)


def _free(directory: Path) -> int:
    disk = os.statvfs(directory)
    return disk.f_bavail * disk.f_frsize
