"""How a message becomes a row of the queue, and how a row becomes part of a tombstone.

Everything here runs in the database's thread, in somebody's transaction, and changes rows only.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from edge.event import LOSS
from edge.messages.loss import DATASCHEMA
from edge.sinks.upstream import sql

LATEST = 253_402_300_799.0
"""The last second that can be written."""
FORGET_EVERY = 64
"""Messages after which up to twice as many old ids are forgotten."""


class Gone(NamedTuple):
    """A row that gives way."""

    n: int
    kind: str
    source: str
    seq: int
    bytes: int
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A message on its way into the queue."""

    kind: str
    source: str
    topic: str
    digest: bytes
    at: float
    body: bytes


def insert(connection: sqlite3.Connection, row: Row, now: float, remember: float) -> int:
    """Put a message at the end; return its place, 0 where its id is remembered."""
    n = _place(connection, row.digest, now, remember)
    if n:
        (seq,) = connection.execute(sql.NUMBER, (row.kind, row.source)).fetchone()
        size = len(row.body)
        values = (n, row.kind, size, row.source, seq, row.topic, row.at, now, row.body)
        connection.execute(sql.INSERT, values)
        connection.execute(sql.PRODUCED, {"class": row.kind, "bytes": size})
        if n % FORGET_EVERY == 0:
            connection.execute(sql.FORGET, (now - remember,))
    return n


def _place(connection: sqlite3.Connection, digest: bytes, now: float, remember: float) -> int:
    cursor = connection.execute(sql.KNOW, (digest, now))
    if cursor.rowcount != 1:
        if connection.execute(sql.FORGET_ONE, (digest, now - remember)).rowcount != 1:
            return 0
        cursor = connection.execute(sql.KNOW, (digest, now))
    return cursor.lastrowid or 0


def gone(connection: sqlite3.Connection, query: str, values: Sequence[Any]) -> list[Gone]:
    """Return the rows that a query of ``sql`` picks to give way."""
    (found,) = connection.execute(query, values).fetchone()
    return [Gone(*facts) for facts in json.loads(found)]


@dataclass(frozen=True, slots=True)
class Tombstones:
    """Takes rows away and says so: one message for what is lost of a source, class and reason.

    A message that has not been given out yet grows; after that a new one begins.

    Args:
        origin: ``/{site}/{node}``: what the sources of events begin with.

    """

    origin: str

    def bury(
        self, connection: sqlite3.Connection, rows: Iterable[Gone], reason: str, now: float
    ) -> None:
        """Take rows away, counted as tombstoned."""
        by_line = sorted(rows, key=lambda row: (row.kind, row.source, row.n))
        numbers = json.dumps([row.n for row in by_line])
        connection.execute(sql.REMOVE, (numbers,))
        connection.execute(sql.REMOVE_GIVEN, (numbers,))
        for kind, of_kind in itertools.groupby(by_line, key=lambda row: row.kind):
            several = list(of_kind)
            size, many = sum(row.bytes for row in several), len(several)
            connection.execute(sql.TOMBSTONED, (many, many, size, kind))
            for _, of_source in itertools.groupby(several, key=lambda row: row.source):
                self.say(connection, list(of_source), reason, now)

    def say(
        self, connection: sqlite3.Connection, rows: Sequence[Gone], reason: str, now: float
    ) -> None:
        """Say that rows of one class and source are lost; they are gone already."""
        kind, source = rows[0].kind, rows[0].source
        seqs, times = [row.seq for row in rows], [row.at for row in rows]
        old = connection.execute(sql.LOSS, (kind, source, reason)).fetchone()
        n, first, low, high, many, size, since, until = old or (
            (0, seqs[0], seqs[0], 0, 0, 0, times[0], times[0])
        )
        low, high = min(low, *seqs), max(high, *seqs)
        many, size = many + len(rows), size + sum(row.bytes for row in rows)
        since, until = min(since, *times), max(until, *times)
        facts = {
            "source": source,
            "class": kind,
            "from_seq": low,
            "to_seq": high,
            "count": many,
            "bytes": size,
            "reason": reason,
            "since": iso(since),
            "until": iso(until),
        }
        n = self._write(connection, n, source, self._message(facts, first, now), now)
        values = (n, kind, source, reason, first, low, high, many, size, since, until)
        connection.execute(sql.KEEP_LOSS, values)

    def _message(self, facts: dict[str, Any], first: int, now: float) -> bytes:
        name = f"{facts['class']}\0{facts['source']}\0{facts['reason']}"
        who = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
        message = {
            "specversion": "1.0",
            "id": f"loss.{facts['class']}.{who}.{first}",
            "source": f"{self.origin}/{facts['source']}".rstrip("/"),
            "type": LOSS,
            "time": iso(now),
            "datacontenttype": "application/json",
            "dataschema": DATASCHEMA,
            "data": facts,
        }
        return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()

    def _write(
        self, connection: sqlite3.Connection, n: int, source: str, body: bytes, now: float
    ) -> int:
        if not n:
            # named by a number that is lost only once: it is new whatever it says
            digest = hashlib.blake2b(body, digest_size=16).digest()
            row = Row(kind="loss", source=source, topic="", digest=digest, at=now, body=body)
            return insert(connection, row, now, 0.0)
        (before,) = connection.execute(sql.BYTES_OF, (n,)).fetchone()
        connection.execute(sql.WRITE_LOSS, (body, len(body), now, n))
        connection.execute(sql.GROWN, (len(body) - before,))
        return n


def iso(seconds: float) -> str:
    """Return seconds since the epoch as text: UTC, with milliseconds."""
    when = datetime.fromtimestamp(min(max(seconds, 0.0), LATEST), UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
