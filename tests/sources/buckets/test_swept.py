"""What a bucket's sweeps of earlier lives dealt with is not asked for again."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge.config.sources import BucketConfig
from edge.event import WireEvent
from edge.frame import ObjectRef
from edge.ops.database import Database
from edge.sources.buckets.objects import Listed
from edge.sources.buckets.seen import Seen
from edge.sources.buckets.sweep import Sweep
from edge.sources.buckets.swept import MARGIN, SCHEMA, Swept

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def config(**settings: Any) -> BucketConfig:
    said = {"kind": "bucket", "endpoint": "http://store", "bucket": "frames"}
    return BucketConfig.model_validate(said | {"access_key": "a", "secret_key": "b"} | settings)


class Shelf:
    """A bucket's content: keys and when each was written."""

    def __init__(self, **written: datetime) -> None:
        self.written = dict(written)

    async def list(self, after: str = "") -> AsyncIterator[Sequence[Listed]]:
        for key, when in sorted(self.written.items()):
            if key > after:
                yield [Listed(key, hashlib.md5(key.encode()).hexdigest(), 1, "", when)]


class Lives:
    """Lives of a process that sweeps one bucket; nobody but the spool remembers anything."""

    def __init__(self, database: Database, shelf: Shelf) -> None:
        self._database, self._shelf = database, shelf
        self.asked: list[str] = []

    async def one_more(self, **settings: Any) -> list[str]:
        """Sweep once in a new life; return the keys that it brought."""
        brought: list[str] = []
        self.asked = []

        async def take(events: Sequence[WireEvent]) -> None:
            brought.extend(one.subject for one in events)

        async def known(ref: ObjectRef) -> bool:
            self.asked.append(ref.key)
            return False

        own = config(**settings)
        sweep = Sweep(own, "/s/n/lobby", self._shelf, known=known, seen=Seen(), take=take)
        sweep.swept_before = Swept(self._database, "lobby", own)
        await sweep.once()
        return brought


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "spool.db", (SCHEMA,), name="spool")
    await database.open()
    yield database
    await database.close()


async def test_what_an_earlier_life_dealt_with_is_not_even_asked_for(database: Database) -> None:
    young = LONG_AGO + timedelta(days=30)
    shelf = Shelf(**{"old.jpg": LONG_AGO, "young.jpg": young})
    lives = Lives(database, shelf)
    assert await lives.one_more() == ["old.jpg", "young.jpg"]
    shelf.written["late.jpg"] = young - MARGIN / 2
    shelf.written["new.jpg"] = young + timedelta(days=1)
    assert await lives.one_more() == ["late.jpg", "new.jpg", "young.jpg"]
    assert "old.jpg" not in lives.asked


async def test_the_clock_of_the_box_plays_no_part(database: Database) -> None:
    """A box whose clock runs ahead by years misses nothing."""
    shelf = Shelf(**{"a.jpg": LONG_AGO})
    lives = Lives(database, shelf)
    await lives.one_more()
    shelf.written["b.jpg"] = LONG_AGO + timedelta(minutes=1)
    assert "b.jpg" in await lives.one_more()


@pytest.mark.parametrize("other", [{"prefix": "o"}, {"bucket": "other"}, {"suffixes": [".jpg"]}])
async def test_a_source_that_reads_something_else_begins_anew(
    database: Database, other: dict[str, Any]
) -> None:
    shelf = Shelf(**{"old.jpg": LONG_AGO, "young.jpg": LONG_AGO + timedelta(days=30)})
    lives = Lives(database, shelf)
    await lives.one_more()
    assert "old.jpg" in await lives.one_more(**other)


async def test_an_empty_bucket_and_a_pass_that_breaks_leave_no_mark(database: Database) -> None:
    assert await Lives(database, Shelf()).one_more() == []
    shelf = Shelf(**{"a.jpg": LONG_AGO, "z.jpg": LONG_AGO + timedelta(days=30)})

    class Breaks(Shelf):
        async def list(self, after: str = "") -> AsyncIterator[Sequence[Listed]]:
            async for page in super().list(after):
                yield page
            raise ConnectionError

    with pytest.raises(ConnectionError):
        await Lives(database, Breaks(**shelf.written)).one_more()
    assert await Lives(database, shelf).one_more() == ["a.jpg", "z.jpg"]
