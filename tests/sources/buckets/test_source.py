"""A bucket as a source: what is put is brought once, whatever the notifications do."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from edge.errors import TryLater
from edge.sources.buckets import sweep as bucket_sweep
from edge.sources.buckets.records import object_of
from edge.sources.buckets.seen import Seen
from tests.servers.minio_listen import FakeMinio, event, minio, until
from tests.sources.buckets.life import Journal, Open, Shelf, journal, opened

__all__ = ["journal", "minio", "opened"]


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_sweep, "GRACE_SECONDS", 0.3)


async def test_what_is_notified_is_journalled(
    minio: FakeMinio, opened: Open, journal: Journal
) -> None:
    life = opened(Shelf())
    await minio.listened()
    minio.put("a.jpg", "b.txt", "c d+é.PNG")
    await until(lambda: journal.keys == ["a.jpg", "c d+é.PNG"])
    status = life.source.status()
    assert status.state == "streaming"
    assert (status.counts["notified"], status.counts["accepted"]) == (2, 2)
    assert journal.events[0].type == "com.amazonaws.s3.ObjectCreated:Put"
    assert status.where == f"{minio.endpoint}/frames"


async def test_what_was_there_before_is_swept_and_known_things_are_not(
    minio: FakeMinio, opened: Open, journal: Journal
) -> None:
    shelf = Shelf(*(f"{number:03}.jpg" for number in range(35)))
    journal.done = {("007.jpg", hashlib.md5(b"007.jpg").hexdigest())}
    life = opened(shelf)
    await minio.listened()
    minio.put("trigger.jpg")  # the head of the answer comes with it
    await until(lambda: life.count("sweeps") == 1)
    assert set(journal.keys) == shelf.keys - {"007.jpg"} | {"trigger.jpg"}
    assert life.count("swept") == 34
    swept = next(one for one in journal.events if one.subject == "003.jpg")
    assert swept.source == "/site/box/lobby"
    assert object_of(swept).size == 1


async def test_a_gap_is_swept_and_nothing_is_brought_twice(
    minio: FakeMinio, opened: Open, journal: Journal
) -> None:
    shelf = Shelf()
    life = opened(shelf)
    listener = await minio.listened()
    shelf.keys.add("before.jpg")
    minio.put("before.jpg")
    await until(lambda: life.count("sweeps") == 1)
    listener.reset()
    shelf.keys.add("during.jpg")
    await until(lambda: life.source.status().state == "waiting")
    await minio.listened()
    shelf.keys.add("after.jpg")
    minio.put("after.jpg")
    await until(lambda: life.count("sweeps") == 2)
    assert sorted(journal.keys) == ["after.jpg", "before.jpg", "during.jpg"]
    assert life.count("reconnects") == 1
    assert life.count("swept") == 1


async def test_a_notification_after_its_sweep_is_the_same(
    minio: FakeMinio, opened: Open, journal: Journal
) -> None:
    life = opened(Shelf("a.jpg", "b.jpg"))
    await minio.listened()
    minio.put("x.jpg")
    await until(lambda: life.count("swept") == 2)
    minio.put("a.jpg", "c.jpg")
    await until(lambda: "c.jpg" in journal.keys)
    assert sorted(journal.keys) == ["a.jpg", "b.jpg", "c.jpg", "x.jpg"]
    assert life.count("duplicates") == 1


async def test_a_sweep_waits_for_the_notification_of_a_new_object(
    minio: FakeMinio, opened: Open, journal: Journal
) -> None:
    life = opened(Shelf("a.jpg", age=1))
    await minio.listened()
    minio.put("x.jpg")
    await until(lambda: life.source.status().state == "streaming")
    await asyncio.sleep(0.1)
    minio.put("a.jpg")
    await until(lambda: life.count("sweeps") == 1)
    assert sorted(journal.keys) == ["a.jpg", "x.jpg"]
    assert life.count("swept") == 0


async def test_an_old_object_is_left_where_a_since_says_so(opened: Open, journal: Journal) -> None:
    since = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    life = opened(Shelf("a.jpg"), via="hook", sweep_since=since)
    await until(lambda: life.count("sweeps") == 1)
    assert journal.keys == []


async def test_a_sweep_that_broke_goes_on_where_it_was(opened: Open, journal: Journal) -> None:
    shelf = Shelf(*(f"{number:03}.jpg" for number in range(35)))
    shelf.breaks_after = 2
    life = opened(shelf, via="hook")
    await until(lambda: life.count("sweeps") == 1)
    assert shelf.asked == ["", "019.jpg"]
    assert len(journal.keys) == len(set(journal.keys)) == 35
    assert not life.source.status().reason


async def test_no_sweep_where_none_is_wanted(opened: Open) -> None:
    shelf = Shelf("a.jpg")
    opened(shelf, via="hook", sweep_every="0s")
    await asyncio.sleep(0.3)
    assert shelf.asked == []


async def test_a_full_bus_is_waited_for_and_shown(
    minio: FakeMinio, opened: Open, journal: Journal
) -> None:
    life = opened(Shelf())
    await minio.listened()
    journal.refuses = TryLater("the journal is full", hint="wait", reason="journal_full")
    minio.put("a.jpg", "b.jpg")
    await until(lambda: life.source.status().state == "waiting")
    assert "full" in life.source.status().reason
    await asyncio.sleep(0.8)
    journal.refuses = None
    await until(lambda: journal.keys == ["a.jpg", "b.jpg"])
    await until(lambda: life.source.status().state == "streaming")
    # MinIO may have thrown something away in the meantime
    await until(lambda: life.count("sweeps") == 2)


async def test_what_cannot_be_read_or_kept_holds_up_nothing(
    minio: FakeMinio, opened: Open, journal: Journal
) -> None:
    life = opened(Shelf())
    listener = await minio.listened()
    broken = [b"{oh no", b'{"Records":[{"s3":5}]}']
    for line in (*(one + b"\n" for one in broken), event("poison.jpg"), event("a.jpg")):
        listener.send(line)
    await until(lambda: journal.keys == ["a.jpg"])
    assert life.count("unreadable") == 3
    # each becomes a dead letter: who looks for a picture that never came finds it there
    aside = journal.unreadable
    assert [one.data for one in aside[:2]] == broken
    assert "poison.jpg" in (aside[2].data or b"").decode()
    assert {one.source for one in aside} == {"/site/box/lobby"}
    assert {one.extensions["reason"] for one in aside} == {"malformed_notification", "rejected"}
    assert len({one.id for one in aside}) == 3


async def test_a_removal_is_brought_where_it_matters_and_asked_for(
    minio: FakeMinio, opened: Open, journal: Journal
) -> None:
    life = opened(Shelf("a.jpg"), when_removed="erase")
    listener = await minio.listened()
    assert ("events", "s3:ObjectRemoved:*") in minio.asked[-1]
    for name in ("Delete", "NoOP", "DeleteMarkerCreated"):
        line = event("a.jpg", sequencer=name).replace(
            b"ObjectCreated:Put", f"ObjectRemoved:{name}".encode()
        )
        listener.send(line)
    await until(lambda: life.count("sweeps") == 1 and len(journal.events) >= 3)
    assert sorted(one.type.rpartition(":")[2] for one in journal.events) == [
        "Delete",
        "DeleteMarkerCreated",
        "Put",  # the sweep: what is there is brought, though a removal of that ETag came
    ]


async def test_removals_are_neither_asked_for_nor_brought_where_they_do_not_matter(
    minio: FakeMinio, opened: Open, journal: Journal
) -> None:
    opened(Shelf())
    listener = await minio.listened()
    assert not [value for _, value in minio.asked[-1] if "Removed" in value]
    listener.send(event("a.jpg").replace(b"ObjectCreated:Put", b"ObjectRemoved:Delete"))
    minio.put("b.jpg")
    await until(lambda: journal.keys == ["b.jpg"])


async def test_a_refusal_on_reconnect_is_shown_until_it_ends(
    minio: FakeMinio, opened: Open, journal: Journal
) -> None:
    life = opened(Shelf())
    listener = await minio.listened()
    minio.put("a.jpg")
    await until(lambda: journal.keys == ["a.jpg"])
    minio.refuse(403, "AccessDenied")
    listener.reset()
    await until(lambda: "AccessDenied" in life.source.status().reason)
    assert "s3:ListenBucketNotification" in life.source.status().hint
    minio.instead = b""
    await minio.listened()
    minio.put("b.jpg")
    await until(lambda: journal.keys == ["a.jpg", "b.jpg"])
    assert life.source.status().reason == ""
    assert minio.requests < 8


async def test_it_ends_even_if_a_gap_is_noticed_at_that_moment(opened: Open) -> None:
    """The wait for a gap must not take the end of its task for the end of the wait."""
    life = opened(Shelf("a.jpg"), sweep_every="1h")
    await until(lambda: life.count("sweeps") == 1)
    await asyncio.sleep(1.5)  # by now the sweep waits for the next gap
    life.source._gap.set()
    await life.end()
    assert life.source.status().state == "finished"


async def test_a_stream_that_ends_at_once_makes_no_storm(
    minio: FakeMinio, opened: Open, journal: Journal
) -> None:
    """minio-py asks 600 times a second then."""
    body = event("a.jpg")
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    minio.instead = head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    shelf = Shelf("b.jpg")
    life = opened(shelf)
    await until(lambda: set(journal.keys) == {"a.jpg", "b.jpg"})
    await asyncio.sleep(3)
    assert minio.requests <= 6
    assert len(shelf.asked) <= 4, "nor is the bucket listed all day"
    assert life.source.status().reason
    assert sorted(journal.keys) == ["a.jpg", "b.jpg"]


async def test_it_ends_within_a_second_when_it_is_closed(opened: Open, minio: FakeMinio) -> None:
    life = opened(Shelf())
    await minio.listened()
    began = asyncio.get_running_loop().time()
    await life.end()
    assert asyncio.get_running_loop().time() - began < 1
    assert life.source.status().state == "finished"


def test_a_million_marks_are_kept_within_bounds() -> None:
    seen = Seen(most=2000)
    for number in range(10_000):
        seen.add(f"{number}.jpg", "e")
    assert seen.has("9999.jpg", "e")
    assert seen.has("8500.jpg", "e")
    assert not seen.has("8500.jpg", "f")
    assert not seen.has("5.jpg", "e")
    assert sum(len(shard) for shard in (*seen._young, *seen._old)) <= 4000
