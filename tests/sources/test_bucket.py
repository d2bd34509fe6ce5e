"""A bucket as a source: what is put is brought once, whatever the notifications do."""

from __future__ import annotations

import asyncio
import hashlib
import io
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from edge.config.sources import BucketConfig
from edge.contracts import Accepted
from edge.errors import PartFailed, Rejected, TryLater
from edge.event import WireEvent
from edge.frame import ObjectRef
from edge.ops.metrics import Metrics
from edge.sources import bucket_sweep
from edge.sources.bucket import Bucket
from edge.sources.bucket_objects import BucketObjects, Listed
from edge.sources.bucket_seen import Seen
from edge.sources.bucket_sweep import Objects
from edge.sources.records import object_of
from tests.servers.minio_listen import ACCESS_KEY, SECRET_KEY, FakeMinio, event, minio, until
from tests.servers.rgw import Rgw, bucket, rgw
from tests.servers.rgw_pubsub import RgwPubsub, pubsub

__all__ = ["bucket", "minio", "pubsub", "rgw"]


class Journal:
    """Takes events as the bus does: durable, once for each source and id."""

    def __init__(self) -> None:
        self.events: list[WireEvent] = []
        self.names: set[tuple[str, str]] = set()
        self.refuses: Exception | None = None
        self.done: set[tuple[str, str]] = set()

    async def accept(self, events: Sequence[WireEvent]) -> list[Accepted]:
        if self.refuses:
            raise self.refuses
        if any("poison" in one.subject for one in events):
            raise Rejected("no")
        answers = []
        for one in events:
            new = (one.source, one.id) not in self.names
            self.names.add((one.source, one.id))
            if new:
                self.events.append(one)
            answers.append(Accepted(len(self.events), new))
        return answers

    async def known(self, ref: ObjectRef) -> bool:
        return (ref.key, ref.etag) in self.done

    @property
    def keys(self) -> list[str]:
        return [object_of(one).key for one in self.events]


class Shelf:
    """A bucket's content, listed page by page."""

    def __init__(self, *keys: str, age: float = 3600) -> None:
        self.modified = datetime.now(UTC) - timedelta(seconds=age)
        self.keys = set(keys)
        self.asked: list[str] = []
        #: pages that are given before the listing breaks; None: it does not
        self.breaks_after: int | None = None

    async def list(self, after: str = "") -> AsyncIterator[Sequence[Listed]]:
        self.asked.append(after)
        left = sorted(key for key in self.keys if key > after)
        for number, start in enumerate(range(0, len(left), 10)):
            if self.breaks_after == number:
                self.breaks_after = None
                raise PartFailed("the listing broke", reason="unreachable")
            yield [
                Listed(key, hashlib.md5(key.encode()).hexdigest(), 1, "", self.modified)
                for key in left[start : start + 10]
            ]


class Life:
    """A running source and what it says."""

    def __init__(self, config: BucketConfig, objects: Objects, journal: Journal) -> None:
        self.metrics = Metrics()
        self.source = Bucket(
            "lobby",
            config,
            metrics=self.metrics,
            origin="/site/box",
            intake=journal,
            objects=objects,
            known=journal.known,
        )
        self.task = asyncio.create_task(self._run(), name="life")

    async def _run(self) -> None:
        async for _ in self.source.events():
            raise AssertionError("a bucket yields nothing")

    def count(self, name: str) -> int:
        return self.source.status().counts[name]

    async def end(self) -> None:
        await self.source.close()
        await asyncio.wait_for(self.task, 2)


Open = Callable[..., Life]


@pytest.fixture
async def journal() -> Journal:
    return Journal()


@pytest.fixture
async def opened(minio: FakeMinio, journal: Journal) -> AsyncIterator[Open]:
    lives: list[Life] = []

    def begin(objects: Objects, **settings: object) -> Life:
        config = BucketConfig.model_validate(
            {
                "kind": "bucket",
                "endpoint": minio.endpoint,
                "bucket": "frames",
                "access_key": ACCESS_KEY,
                "secret_key": SECRET_KEY,
                "via": "listen",
                **settings,
            }
        )
        life = Life(config, objects, journal)
        lives.append(life)
        return life

    yield begin
    for life in lives:
        await life.end()


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
    for line in (b"{oh no\n", b'{"Records":[{"s3":5}]}\n', event("poison.jpg"), event("a.jpg")):
        listener.send(line)
    await until(lambda: journal.keys == ["a.jpg"])
    assert life.count("unreadable") == 3


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


# -- real gateways


async def test_a_real_bucket_is_swept_once(
    rgw: Rgw, bucket: str, opened: Open, journal: Journal
) -> None:
    client = rgw.client()
    client.make_bucket(bucket_name=bucket)
    keys = ["cam 1/hallé&lobby+%20.jpg", "b.JPEG", "日本.png", "note.txt"]
    for key in keys:
        client.put_object(bucket_name=bucket, object_name=key, data=io.BytesIO(b"x"), length=1)
    settings = {
        "endpoint": rgw.endpoint,
        "bucket": bucket,
        "access_key": rgw.access_key,
        "secret_key": rgw.secret_key,
        "via": "hook",
    }
    config = BucketConfig.model_validate({"kind": "bucket", **settings})
    objects = BucketObjects(config)
    first = opened(objects, **settings)
    await until(lambda: first.count("sweeps") == 1)
    assert sorted(journal.keys) == sorted(keys[:3])
    second = opened(objects, **settings)
    await until(lambda: second.count("sweeps") == 1)
    assert second.count("duplicates") == 3  # a restart: the journal knows its events
    assert len(journal.keys) == 3
    await objects.close()


async def test_a_real_server_that_cannot_stream_is_named(
    rgw: Rgw, bucket: str, opened: Open
) -> None:
    rgw.client().make_bucket(bucket_name=bucket)
    life = opened(
        Shelf(),
        endpoint=rgw.endpoint,
        bucket=bucket,
        access_key=rgw.access_key,
        secret_key=rgw.secret_key,
    )
    await until(lambda: life.source.status().reason != "")
    status = life.source.status()
    assert status.state == "waiting"
    assert status.hint


async def test_a_real_zone_that_is_killed_and_its_sweep_bring_each_object_once(
    pubsub: RgwPubsub, opened: Open, journal: Journal
) -> None:
    client, name = pubsub.client(), f"edge-{secrets.token_hex(5)}"
    client.make_bucket(bucket_name=name)
    subscription = await pubsub.subscribe(name)
    settings = {
        "endpoint": pubsub.endpoint,
        "pull_endpoint": pubsub.pubsub,
        "subscription": subscription,
        "bucket": name,
        "access_key": pubsub.keys.access_key,
        "secret_key": pubsub.keys.secret_key,
        "via": "pull",
    }
    objects = BucketObjects(BucketConfig.model_validate({"kind": "bucket", **settings}))
    life = opened(objects, **settings)

    def put(key: str) -> None:
        client.put_object(bucket_name=name, object_name=key, data=io.BytesIO(b"x"), length=1)

    await asyncio.to_thread(put, "a.jpg")
    await until(lambda: journal.keys == ["a.jpg"])
    await asyncio.to_thread(pubsub.kill)
    await until(lambda: life.source.status().state == "waiting")
    await asyncio.to_thread(put, "b.jpg")
    await asyncio.to_thread(pubsub.revive)
    await until(lambda: life.count("sweeps") >= 2)
    assert sorted(journal.keys) == ["a.jpg", "b.jpg"]
    await life.end()
    with suppress(PartFailed):
        await objects.close()
