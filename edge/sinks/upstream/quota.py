"""How much may wait for the broker, and who gives way: the least urgent, of those the oldest.

Tombstones never give way: they merge while they wait, so that there are few.
"""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from edge.config.mqtt import CLASSES, UpstreamConfig
from edge.ops.database_file import PAGE_BYTES
from edge.sinks.upstream import sql
from edge.sinks.upstream.rows import Gone, Tombstones, gone

YIELDING = tuple(kind for kind in reversed(CLASSES) if kind != "loss")
"""Classes in the order in which they give way."""
AT_ONCE = 256
"""Rows that give way in one go at most; also how often the disk is looked at, in messages."""
SLACK = 256
"""One part in so many of a quota is freed beyond need, so that not each message has to push."""


@dataclass(frozen=True, slots=True)
class Quota:
    """Keeps the queue within ``[upstream]``; runs in the database's thread.

    What may have been sent already never gives way: a tombstone would say that it was lost.

    Args:
        config: ``max_items``, ``max_bytes``, ``max_age`` and ``keep_free``.
        directory: where the queue's file is.
        tombstones: buries what gives way.

    """

    config: UpstreamConfig
    directory: Path
    tombstones: Tombstones

    def room(self, connection: sqlite3.Connection, now: float) -> None:
        """Make the queue fit, after something was added."""
        items, size = connection.execute(sql.SUMS).fetchone()
        config = self.config
        if items > config.max_items:
            too_many = items - config.max_items + min(config.max_items // SLACK, AT_ONCE)
            self._push_out(connection, too_many, 0, "items", now)
            _, size = connection.execute(sql.SUMS).fetchone()
        if size > config.max_bytes:
            too_much = size - config.max_bytes + config.max_bytes // SLACK
            self._push_out(connection, 0, too_much, "bytes", now)

    def disk(self, connection: sqlite3.Connection, added: int, now: float) -> None:
        """Where the disk is short, let about as much go as was added: the queue grows no more.

        More would not help: the file keeps the room, and it may be others who fill the disk.
        """
        disk = os.statvfs(self.directory)
        free = disk.f_bavail * disk.f_frsize
        if free >= self.config.keep_free:
            return
        inside = connection.execute("PRAGMA freelist_count").fetchone()[0] * PAGE_BYTES
        if free + inside < self.config.keep_free:
            # not quite as much: of rows of about one size, one goes for each that comes
            self._push_out(connection, 0, added * 3 // 4, "disk", now)

    def age(self, connection: sqlite3.Connection, now: float) -> int:
        """Let go of some of what waited too long; return how many: 0 when there is none left."""
        old = gone(connection, sql.TOO_OLD, (now - self.config.max_age,))
        if old:
            self.tombstones.bury(connection, old, "age", now)
        return len(old)

    def _push_out(
        self, connection: sqlite3.Connection, items: int, size: int, reason: str, now: float
    ) -> None:
        for kind in YIELDING:
            while items > 0 or size > 0:
                found = gone(connection, sql.OLDEST_OF, (kind, AT_ONCE))
                if not found:
                    break
                leaving = _enough(found, items, size)
                self.tombstones.bury(connection, leaving, reason, now)
                items -= len(leaving)
                size -= sum(row.bytes for row in leaving)


def _enough(rows: list[Gone], items: int, size: int) -> list[Gone]:
    """Return as many of the first rows as are so many, or so many bytes, whichever is more."""
    taken = 0
    for row in rows:
        if taken >= items and size <= 0:
            break
        taken += 1
        size -= row.bytes
    return rows[:taken]
