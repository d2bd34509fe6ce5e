"""Derived: which redacted picture was made of which original, as long as erasure may be asked for.

A row is written in the transaction that keeps the parcel, so that nothing of which an original may
be removed is ever without one. Only pictures of sources that erase have rows.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge.contracts import Keeper, Note
from edge.errors import TryLater
from edge.ops.database import Database
from edge.parcel import Parcel
from edge.sinks import derived_sql as sql
from edge.sinks.outbox_sql import GIVE_ROOM

REMEMBER_S = 7 * 86400.0
"""How long a row that was erased is kept: its event may be delivered again."""
IN_HAND_S = 120.0
"""A picture that is in hand for longer is not any more: what had it has failed."""
LOOK_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """An original in a bucket, by the server that has it."""

    #: the server: ``host:port``
    place: str
    bucket: str
    key: str
    etag: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Made:
    """What was made of one original."""

    n: int
    source: str
    key: str
    etag: str
    version: str
    #: its key in the store
    output: str
    sha256: str
    event_id: str
    parcel_id: str
    asked: int
    #: the event by which it was erased; empty: it was not
    erased: str


class Derived:
    """Keeps parcels as the outbox does, and with them what they were made of.

    Keeps ``contracts.Keeper``.

    Args:
        database: the outbox's, with ``derived_sql.SCHEMA`` among its scripts.
        keeper: the outbox.
        original_of: what a parcel was made of, if its source erases; else None.
        parallel: so many of one source may be on their way to the store at once: the oldest.
        clock: seconds since the epoch.

    """

    def __init__(
        self,
        database: Database,
        keeper: Keeper,
        original_of: Callable[[Parcel], Original | None],
        *,
        parallel: int = 1,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database, self._keeper, self._original_of = database, keeper, original_of
        self._parallel, self._clock = parallel, clock
        #: pictures that were fetched and are not kept yet, and since when the last one is
        self._in_hand: Counter[tuple[str, str]] = Counter()
        self._since: dict[tuple[str, str], float] = {}

    # -- as a keeper

    async def put(self, parcel: Parcel, also: Note | None = None) -> bool:
        """Keep a parcel; in the same transaction, what it was made of."""
        original = self._original_of(parcel)
        if original is None:
            return await self._keeper.put(parcel, also)
        values = _values(original, parcel) | {"at": self._clock()}

        def note(connection: sqlite3.Connection) -> None:
            if also is not None:
                also(connection)
            connection.execute(sql.ADD, values)
            connection.execute(sql.ADD_SIBLING, values)

        try:
            return await self._keeper.put(parcel, note)
        finally:
            self.let_go(original.bucket, original.key)

    async def knows(self, event_id: str) -> bool:
        """Tell whether a parcel of this event was ever put."""
        return await self._keeper.knows(event_id)

    # -- what is being worked on: a removal waits for it, since its row is not there yet

    def take_in_hand(self, bucket: str, key: str) -> None:
        """Note that an object is about to be fetched."""
        self._in_hand[bucket, key] += 1
        self._since[bucket, key] = time.monotonic()

    def let_go(self, bucket: str, key: str) -> None:
        """Note that what came of it is kept, or that nothing did."""
        self._in_hand[bucket, key] -= 1
        if self._in_hand[bucket, key] <= 0:
            del self._in_hand[bucket, key]
            self._since.pop((bucket, key), None)

    async def at_rest(self, bucket: str, key: str) -> None:
        """Wait until nobody has the object in hand."""
        while (since := self._since.get((bucket, key))) is not None:
            if time.monotonic() - since > IN_HAND_S:
                return
            await asyncio.sleep(LOOK_S)

    # -- what was made

    async def made_of(self, original: Original) -> list[Made]:
        """Return what was made of a key, or, where a version is named, of that version."""
        where = (original.place, original.bucket, original.key)
        rows = await self._database.do(
            lambda connection: connection.execute(sql.OF_KEY, where).fetchall(), durable=False
        )
        found = [Made(*row) for row in rows]
        return [one for one in found if original.version in ("", one.version)]

    async def between(
        self, place: str, bucket: str, after: str, until: str | None, limit: int
    ) -> list[tuple[str, str]]:
        """Return keys of which something was made, in their order, each with a mark.

        The mark names what was made of it, and how often its removal turned out to be none.

        Args:
            place: the server.
            bucket: the bucket.
            after: keys up to and with this one are left out.
            until: the last key that is meant; None: there is none.
            limit: as many at most.

        """
        # bytes are greater than any text
        values = (place, bucket, after, b"" if until is None else until, limit)
        return await self._database.do(
            lambda connection: connection.execute(sql.BETWEEN, values).fetchall(), durable=False
        )

    # -- how it ends

    async def stays(self, made: Collection[Made]) -> None:
        """Note that a removal was told which was none: the original is there."""
        if made:
            marks = [(one.n,) for one in made]
            await self._database.do(lambda connection: connection.executemany(sql.ASKED, marks))

    async def take_out(self, original: Original, made: Sequence[Made]) -> list[Made]:
        """Take pictures out of the outbox, whether they wait or are dead, and out of its memory.

        One that the store may be getting at this moment is left, and the others with it: whether
        it is there can be said only once it is.

        Returns:
            Those that nothing else needs: they are to be removed from the store. The same content
            as another version of the original needs the same picture.

        Raises:
            TryLater: ``under_way``; nothing was changed.

        """
        ids = json.dumps([one.n for one in made])

        def work(connection: sqlite3.Connection) -> list[Made] | TryLater:
            mine = [one for one in made if not _needed(connection, original, one, ids)]
            waits = [_waits(connection, one, self._parallel) for one in mine]
            if any(row is not None and row[1] < self._parallel for row in waits):
                return _under_way(original)
            for one, row in zip(mine, waits, strict=True):
                _take_out(connection, one, row)
            return mine

        return await self._database.do(work)

    async def forget(self, made: Collection[Made], by: str) -> None:
        """Note that pictures are erased, and by which event; later their rows go, too."""
        now = self._clock()

        def work(connection: sqlite3.Connection) -> None:
            rows = [(by, now, one.n, one.asked) for one in made]
            connection.executemany(sql.ERASED, rows)
            connection.execute(sql.FORGET, (now - REMEMBER_S,))

        await self._database.do(work)


def original_of(parcel: Parcel, place: str) -> Original | None:
    """Return what the gate's message says of the object that a parcel was made of.

    Args:
        parcel: made by the gate.
        place: the server of its source.

    """
    data = parcel.message.get("data")
    origin = data.get("origin") if isinstance(data, Mapping) else None
    if not isinstance(origin, Mapping):
        return None
    return Original(
        place=place,
        bucket=str(origin.get("bucket", "")),
        key=str(origin.get("key", "")),
        etag=str(origin.get("etag", "")),
        version=str(origin.get("version", "")),
    )


def _values(original: Original, parcel: Parcel) -> dict[str, Any]:
    return {
        "place": original.place,
        "bucket": original.bucket,
        "key": original.key,
        "etag": original.etag,
        "version": original.version,
        "source": parcel.source,
        "output": parcel.key,
        "sha256": hashlib.sha256(parcel.body).hexdigest(),
        "event_id": parcel.event_id,
        "parcel_id": parcel.id,
    }


def _needed(connection: sqlite3.Connection, original: Original, one: Made, ids: str) -> bool:
    facts = (original.place, original.bucket, one.key, one.parcel_id, one.output, ids)
    return bool(connection.execute(sql.NEEDED, facts).fetchone()[0])


def _under_way(original: Original) -> TryLater:
    error = TryLater(
        f"a picture of {original.key!r} is next to go to the store",
        hint="it is removed once it is there; is the store shut?",
        reason="under_way",
    )
    error.status = 409  # it is about this one alone: other removals need not wait
    return error


def _waits(connection: sqlite3.Connection, one: Made, parallel: int) -> tuple[int, int] | None:
    """Return its place in the outbox, and how many of its source are older (at most so many)."""
    row: tuple[int, int] | None = connection.execute(
        sql.WAITS, (parallel, one.output, one.parcel_id)
    ).fetchone()
    return row


def _take_out(connection: sqlite3.Connection, one: Made, waits: tuple[int, int] | None) -> None:
    if waits is not None:
        size = connection.execute(sql.TAKE_OUT, (waits[0],)).fetchone()
        connection.execute(GIVE_ROOM, size)
    dead = connection.execute(sql.TAKE_DEAD, (one.event_id, one.parcel_id)).fetchone()
    if dead is not None:
        connection.execute(sql.LESS_DEAD, dead)
    # a picture that comes again is a new one
    connection.execute(sql.UNKNOW, (_digest(one.event_id), _digest(one.parcel_id)))


def _digest(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=16).digest()
