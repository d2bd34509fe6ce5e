"""Jobs on disk: a row each, in the spool beside the journal and the outbox.

A job is done when a parcel of its picture is kept: ``note`` writes that in the parcel's own
transaction, whoever brought the picture (the job's event, a notification, a sweep, a replay). That
it died is written when its event's way says so. A row is there before its original is written, so
that no notification can be faster than it.
"""

from __future__ import annotations

import sqlite3
from dataclasses import astuple, dataclass, fields, replace
from typing import Final

from edge.contracts import Note
from edge.errors import EdgeError, Rejected
from edge.ops.database import Database
from edge.parcel import Parcel

ARRIVING, OPEN, DONE, DEAD = "arriving", "open", "done", "dead"
"""``arriving``: nobody was told of the job yet. ``open``: original and event are durable."""
REMEMBERED_S: Final = 7 * 86400.0
"""Seconds that a job which ended is remembered."""
REMEMBERED: Final = 100_000
"""Jobs that are remembered at most: about 60 MB."""

SCHEMA = """
    CREATE TABLE job (
        n INTEGER PRIMARY KEY, id TEXT NOT NULL, idem TEXT NOT NULL, state TEXT NOT NULL,
        reason TEXT NOT NULL, hint TEXT NOT NULL, at REAL NOT NULL, ended_at REAL NOT NULL,
        source TEXT NOT NULL, bucket TEXT NOT NULL, object TEXT NOT NULL, etag TEXT NOT NULL,
        version TEXT NOT NULL, size INTEGER NOT NULL, written TEXT NOT NULL, event TEXT NOT NULL,
        picture TEXT NOT NULL, key TEXT NOT NULL, content_type TEXT NOT NULL,
        sha256 TEXT NOT NULL, taken_at TEXT NOT NULL
    );
    CREATE UNIQUE INDEX job_id ON job (id);
    CREATE INDEX job_idem ON job (idem) WHERE idem != '';
    CREATE INDEX job_picture ON job (picture);
    CREATE INDEX job_open ON job (n) WHERE state = 'open';
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """A job as it is written. The order of the fields is that of the columns."""

    id: str
    #: the sender's Idempotency-Key, or empty
    idem: str
    state: str = ARRIVING
    reason: str = ""
    hint: str = ""
    #: seconds since the epoch; 0: it has not ended
    at: float
    ended_at: float = 0.0
    #: name of the source whose bucket has the original
    source: str
    bucket: str
    object: str
    etag: str
    version: str = ""
    size: int
    #: when the original was written, ISO 8601
    written: str
    #: id of its event in the journal; another one for each life of the job
    event: str
    #: id of the event of its picture, by which parcels are known
    picture: str
    #: of the redacted picture: key in the store, type, digest, when it was taken
    key: str = ""
    content_type: str = ""
    sha256: str = ""
    taken_at: str = ""


_COLUMNS = ", ".join(field.name for field in fields(JobRow))
_MARKS = ", ".join("?" * len(fields(JobRow)))
_SELECT = f"SELECT {_COLUMNS} FROM job"  # noqa: S608 (constants)
_INSERT = f"INSERT OR REPLACE INTO job ({_COLUMNS}) VALUES ({_MARKS})"  # noqa: S608 (constants)
# The parcel may be one that was kept before: then its own key counts, as long as it is known.
_DONE = """
    UPDATE job SET state = 'done', reason = '', hint = '', ended_at = :now,
        key = coalesce((SELECT key FROM parcel WHERE event_id = :picture AND id = :parcel), :key),
        content_type = :content_type, sha256 = :sha256, taken_at = :taken_at
    WHERE picture = :picture AND state != 'done'
"""
_FORGET = """
    DELETE FROM job WHERE n IN (SELECT n FROM job ORDER BY n LIMIT 2) AND state != 'open'
        AND (at < ? OR n <= (SELECT max(n) FROM job) - ?)
"""


class JobRows:
    """The table of jobs.

    Args:
        database: the spool, with ``SCHEMA`` among its scripts.

    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, job_id: str) -> JobRow | None:
        """Return a job; None where there is none, or nobody was told of it yet."""
        row = await self._database.do(
            lambda connection: _one(connection, "id = ?", job_id), durable=False
        )
        return None if row is None or row.state == ARRIVING else row

    async def begin(self, row: JobRow) -> JobRow:
        """Write a job that begins, or begins anew; a job that is under way or done stays as it is.

        Returns:
            The job as it is now: ``arriving``, else it was there before.

        Raises:
            Rejected: ``key_reused``.

        """
        return await self._database.do(lambda connection: _begin(connection, row))

    async def change(self, row: JobRow) -> JobRow:
        """Write a job anew, unless it is done or in another life by now; return how it is."""

        def work(connection: sqlite3.Connection) -> JobRow:
            now = _one(connection, "id = ?", row.id)
            if now is not None and (now.state == DONE or now.event != row.event):
                return now
            return _write(connection, row)

        return await self._database.do(work)

    async def open_jobs(self) -> list[JobRow]:
        """Return the jobs whose event is, or has to be, in the journal, the oldest first."""
        return await self._database.do(
            lambda connection: [
                _row(values)
                for values in connection.execute(f"{_SELECT} WHERE state = 'open' ORDER BY n")
            ],
            durable=False,
        )

    async def counts(self) -> dict[str, int]:
        """Return how many jobs are remembered, by state."""
        return await self._database.do(
            lambda connection: dict(
                connection.execute("SELECT state, count(*) FROM job GROUP BY state").fetchall()
            ),
            durable=False,
        )


def note(parcel: Parcel, now: float) -> Note:
    """Return the piece of a parcel's transaction by which its jobs are done.

    Args:
        parcel: what is kept; its message says the digest of its picture.
        now: seconds since the epoch.

    """
    values = {
        "now": now,
        "picture": parcel.event_id,
        "parcel": parcel.id,
        "key": parcel.key,
        "content_type": parcel.content_type,
        "sha256": parcel.message["data"]["picture"]["sha256"],
        "taken_at": parcel.taken_at.isoformat(),
    }
    return lambda connection: connection.execute(_DONE, values)


def _begin(connection: sqlite3.Connection, row: JobRow) -> JobRow | EdgeError:
    known = _one(connection, "id = ?", row.id)
    if known is not None and known.state in (OPEN, DONE):
        return known
    if row.idem:
        other = _one(connection, "idem = ? AND id != ? AND state != 'arriving'", row.idem, row.id)
        if other is not None:
            return key_reused()
    connection.execute(_FORGET, (row.at - REMEMBERED_S, REMEMBERED))
    return _write(connection, row)


def _write(connection: sqlite3.Connection, row: JobRow) -> JobRow:
    connection.execute(_INSERT, astuple(row))
    return row


def _one(connection: sqlite3.Connection, where: str, *values: str) -> JobRow | None:
    found = connection.execute(f"{_SELECT} WHERE {where}", values).fetchone()
    return None if found is None else _row(found)


def _row(values: tuple[object, ...]) -> JobRow:
    names = (field.name for field in fields(JobRow))
    return JobRow(**dict(zip(names, values, strict=True)))  # type: ignore[arg-type]


def ended(row: JobRow, reason: str, hint: str, now: float) -> JobRow:
    """Return a job that died."""
    return replace(row, state=DEAD, reason=reason, hint=hint, ended_at=now)


def key_reused() -> Rejected:
    """Return the refusal of an Idempotency-Key that stands for another picture."""
    return Rejected(
        "this Idempotency-Key came with another picture before",
        hint="a new picture needs a new key",
        reason="key_reused",
    )
