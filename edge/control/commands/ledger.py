"""What was commanded: ids with their replies, and the audit log, both in the spool's file.

The audit log is a hash chain: each entry's digest covers the entry and the digest before it, so
that nothing in the middle can be changed, removed or put in without its being seen. Who keeps the
newest digest somewhere else (it is in the log, and in ``audit.verify``'s reply) sees a cut end,
too. The oldest entries are given up from the front; what is left still verifies.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edge.control.commands.envelope import Command, Failed, Reply, restored
from edge.ops.database import Database

SCHEMA = """
    CREATE TABLE command (
        id TEXT PRIMARY KEY, digest TEXT NOT NULL, verb TEXT NOT NULL, state TEXT NOT NULL,
        begun_at REAL NOT NULL, expires REAL NOT NULL, reply TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX command_at ON command (begun_at);
    CREATE TABLE audit (
        n INTEGER PRIMARY KEY, at REAL NOT NULL, entry TEXT NOT NULL, previous TEXT NOT NULL,
        digest TEXT NOT NULL
    );
    CREATE TABLE kept (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
"""``kept``: what commands set for good (the privacy floor)."""
GENESIS = "0" * 64
MOST_COMMANDS = 20_000
"""Beyond that an id is forgotten as soon as its command has expired, and so is refused anyway."""

NEWEST = 10
"""Commands that are shown."""


@dataclass(frozen=True, slots=True)
class Known:
    """A command whose id came before."""

    digest: str
    #: None: it was begun, and nobody knows how it ended
    reply: Reply | None


@dataclass(frozen=True, slots=True)
class Verified:
    """Whether the audit log is whole."""

    whole: bool
    entries: int
    #: digest of the newest entry
    head: str
    #: what is wrong, and with which entry; empty: nothing
    fault: str = ""


class Ledger:
    """Remembers commands. ``Database`` runs it in its own thread.

    Args:
        database: the spool; ``SCHEMA`` is one of its scripts.
        remember: seconds that ids are remembered.
        audit_rows: entries of the audit log at most.
        clock: seconds since the epoch.

    """

    def __init__(
        self,
        database: Database,
        *,
        remember: float,
        audit_rows: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._remember, self._audit_rows = remember, audit_rows
        self._clock = clock
        #: the newest entry of each of the newest commands, the newest first
        self.newest: list[dict[str, Any]] = []

    async def look(self) -> None:
        """Read the newest entries again: ``newest`` is asked for without waiting."""
        by_command: dict[Any, dict[str, Any]] = {}
        for entry in await self.recent(4 * NEWEST):
            by_command.setdefault(entry["id"] or entry["n"], entry)
        self.newest = list(by_command.values())[:NEWEST]

    async def begin(
        self, command: Command, expires: float, entry: Mapping[str, Any]
    ) -> Known | None:
        """Note that a command begins; return what is known of its id. None: it is new.

        Raises:
            Failed: ``busy``: too many came that have not expired.

        """

        def work(connection: sqlite3.Connection) -> Known | Failed | None:
            row = connection.execute(
                "SELECT digest, reply FROM command WHERE id = ?", (command.id,)
            ).fetchone()
            if row is not None:
                return Known(row[0], restored(row[1]) if row[1] else None)
            if not self._has_room(connection):
                return Failed("busy", f"{MOST_COMMANDS} commands came that have not expired yet")
            connection.execute(
                "INSERT INTO command VALUES (?, ?, ?, 'begun', ?, ?, '')",
                (command.id, command.digest, command.verb, self._clock(), expires),
            )
            self._write(connection, entry)
            return None

        known = await self._database.do(work)
        await self.look()
        return known

    async def end(self, reply: Reply, entry: Mapping[str, Any]) -> None:
        """Keep a command's reply, and write its end into the audit log, in one transaction."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE command SET state = 'done', reply = ? WHERE id = ?",
                (reply.stored(), reply.id),
            )
            self._write(connection, entry)

        await self._database.do(work)
        await self.look()

    async def write(self, entry: Mapping[str, Any]) -> None:
        """Write an entry into the audit log."""
        await self._database.do(lambda connection: self._write(connection, entry))
        await self.look()

    async def reply_of(self, command_id: str) -> Known | None:
        """Return what is known of an id."""

        def work(connection: sqlite3.Connection) -> Known | None:
            row = connection.execute(
                "SELECT digest, reply FROM command WHERE id = ?", (command_id,)
            ).fetchone()
            return None if row is None else Known(row[0], restored(row[1]) if row[1] else None)

        return await self._database.do(work, durable=False)

    async def recent(self, limit: int) -> list[dict[str, Any]]:
        """Return the newest entries of the audit log, the newest first."""

        def work(connection: sqlite3.Connection) -> list[dict[str, Any]]:
            rows = connection.execute(
                "SELECT n, at, entry, digest FROM audit ORDER BY n DESC LIMIT ?", (limit,)
            )
            return [
                {"n": n, "at": at, **json.loads(entry), "digest": digest}
                for n, at, entry, digest in rows
            ]

        return await self._database.do(work, durable=False)

    async def verify(self) -> Verified:
        """Go through the whole audit log."""
        return await self._database.do(verified, durable=False)

    async def keep(self, name: str, value: Any) -> None:
        """Keep a value for good; None forgets it."""

        def work(connection: sqlite3.Connection) -> None:
            if value is None:
                connection.execute("DELETE FROM kept WHERE name = ?", (name,))
            else:
                row = (name, json.dumps(value))
                connection.execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", row)

        await self._database.do(work)

    async def kept(self, name: str) -> Any:
        """Return a value that was kept; None where there is none."""

        def work(connection: sqlite3.Connection) -> Any:
            row = connection.execute("SELECT value FROM kept WHERE name = ?", (name,)).fetchone()
            return None if row is None else json.loads(row[0])

        return await self._database.do(work, durable=False)

    # -- in the database's thread

    def _write(self, connection: sqlite3.Connection, entry: Mapping[str, Any]) -> None:
        row = connection.execute("SELECT n, digest FROM audit ORDER BY n DESC LIMIT 1").fetchone()
        n, previous = (row[0] + 1, row[1]) if row else (1, GENESIS)
        at, text = round(self._clock(), 3), json.dumps(entry, sort_keys=True, ensure_ascii=False)
        digest = digest_of(n, at, text, previous)
        connection.execute(
            "INSERT INTO audit VALUES (?, ?, ?, ?, ?)", (n, at, text, previous, digest)
        )
        connection.execute("DELETE FROM audit WHERE n <= ?", (n - self._audit_rows,))

    def _has_room(self, connection: sqlite3.Connection) -> bool:
        """Forget what is old; tell whether one more id can be remembered."""
        now = self._clock()
        connection.execute("DELETE FROM command WHERE begun_at < ?", (now - self._remember,))
        (count,) = connection.execute("SELECT count(*) FROM command").fetchone()
        if count < MOST_COMMANDS:
            return True
        expired = "DELETE FROM command WHERE expires < ? AND state = 'done'"
        return bool(connection.execute(expired, (now,)).rowcount)


def digest_of(n: int, at: float, entry: str, previous: str) -> str:
    """Return the digest of an entry of the audit log, in hex."""
    text = json.dumps([n, at, entry, previous], ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def verified(connection: sqlite3.Connection) -> Verified:
    """Go through the audit log of an open spool, which may be a copy."""
    count, head, last = 0, GENESIS, 0
    rows = connection.execute("SELECT n, at, entry, previous, digest FROM audit ORDER BY n")
    for n, at, entry, previous, digest in rows:
        if count and n != last + 1:
            return Verified(
                whole=False, entries=count, head=head, fault=f"entry {last + 1} is gone"
            )
        if previous != (head if count else (GENESIS if n == 1 else previous)):
            return Verified(False, count, head, f"entry {n} does not follow the one before it")
        if digest != digest_of(n, at, entry, previous):
            return Verified(False, count, head, f"entry {n} was changed")
        count, head, last = count + 1, digest, n
    return Verified(whole=True, entries=count, head=head)
