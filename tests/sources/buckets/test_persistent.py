"""A real Ceph RGW, a real hook and a sweep: what is put is brought, whatever breaks in between.

One persistent topic lives through the whole walk of its test: its first event takes up to 30 s.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest
from minio import Minio
from minio.commonconfig import CopySource
from minio.error import S3Error
from minio.versioningconfig import VersioningConfig
from urllib3.exceptions import HTTPError

from edge.config.sources import BucketConfig
from edge.errors import TryLater
from edge.frame import ObjectRef
from edge.ops.metrics import counts_by
from edge.sources.buckets.hook import S3Hook
from edge.sources.buckets.objects import BucketObjects
from edge.sources.buckets.records import object_of
from edge.sources.buckets.rule import BucketRule
from edge.stages.objects import event_id
from tests.places import free_port
from tests.servers.minio_listen import until
from tests.servers.rgw import Rgw, bucket, rgw
from tests.servers.rgw_topics import push_to
from tests.sources.buckets.life import Journal, Life
from tests.web.conftest import Open, Site, open_site
from tests.web.parts import FakeBox

__all__ = ["bucket", "open_site", "rgw"]
pytestmark = pytest.mark.slow

TOKEN = "token-of-rgw"
FIRST_SECONDS = 45.0
"""A persistent topic is looked at each 30 s until it is known."""


class Walk:
    """A bucket that is hooked and swept into one journal, and a hook that goes down and up."""

    def __init__(self, rgw: Rgw, bucket: str, open_site: Open) -> None:
        self.rgw, self.bucket, self._open = rgw, bucket, open_site
        self.client: Minio = rgw.client()
        self.client.make_bucket(bucket_name=bucket)
        self.journal = Journal()
        self.config = BucketConfig.model_validate(
            {
                "kind": "bucket",
                "endpoint": rgw.endpoint,
                "bucket": bucket,
                "access_key": rgw.access_key,
                "secret_key": rgw.secret_key,
                "via": "hook",
                "sweep_every": "1s",
                "timeout": "5s",
            }
        )
        self.objects = BucketObjects(self.config)
        self.life: Life | None = None
        self.box = FakeBox()
        self.box.hook = S3Hook(
            self.journal,
            {bucket: BucketRule()}.get,
            tokens=frozenset({TOKEN}),
            noticed=self._noticed,
            metrics=self.box.metrics,
        )
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}/hooks/s3?token={TOKEN}"
        self._site: Site | None = None

    async def up(self) -> None:
        self._site = await self._open(self.box, port=self.port)

    async def down(self) -> None:
        assert self._site is not None
        await self._site.server.stop()

    def sweep(self) -> Life:
        self.life = Life(self.config, self.objects, self.journal)
        return self.life

    async def put(self, *keys: str) -> float:
        """Put small objects; return the seconds that the slowest one took."""

        def put() -> float:
            longest = 0.0
            for key in keys:
                began = time.perf_counter()
                body = io.BytesIO(key.encode())
                self.client.put_object(self.bucket, key, body, len(key.encode()))
                longest = max(longest, time.perf_counter() - began)
            return longest

        return await asyncio.to_thread(put)

    def refused(self) -> int:
        return counts_by(self.box.metrics.notifications, "outcome").get("refused", 0)

    def has(self, *keys: str) -> Callable[[], bool]:
        return lambda: set(keys) <= set(self.journal.keys)

    def pictures(self) -> set[str]:
        """Return the ids under which what is in the journal would be redacted."""
        return {event_id("lobby", object_of(event)) for event in self.journal.events}

    async def end(self) -> None:
        if self.life is not None:
            await self.life.end()
        await self.objects.close()

    def _noticed(self, what: ObjectRef) -> None:
        if self.life is not None:
            self.life.source.noticed(what)


@pytest.fixture
async def walk(rgw: Rgw, bucket: str, open_site: Open) -> AsyncIterator[Walk]:
    made = Walk(rgw, bucket, open_site)
    await made.up()
    yield made
    await made.end()


async def test_a_persistent_topic_makes_no_storm_and_what_its_queue_holds_back_is_swept(
    walk: Walk,
) -> None:
    await asyncio.to_thread(push_to, walk.rgw, walk.bucket, walk.address, persistent=True)
    await walk.put("first.jpg")
    await until(walk.has("first.jpg"), FIRST_SECONDS)

    # no room: each event is repeated as fast as it is answered; a fast 503 makes 3,200 a second
    walk.journal.refuses = TryLater("full", reason="journal_full")
    keys = [f"held-{number}.jpg" for number in range(5)]
    assert await walk.put(*keys) < 1.0, "nobody who uploads waits for this box"
    await until(lambda: walk.refused() > 0)
    before, began = walk.refused(), time.perf_counter()
    await asyncio.sleep(4)
    rate = (walk.refused() - before) / (time.perf_counter() - began)
    assert 0.5 < rate < 8, f"{rate:.1f} requests a second"
    walk.journal.refuses = None
    await until(walk.has(*keys))

    # nobody there: this gateway's queue is stuck until it is restarted, and the sweep has it all
    await walk.down()
    lost = [f"lost-{number}.jpg" for number in range(3)]
    await walk.put(*lost)
    await asyncio.sleep(1)
    await walk.up()
    life = walk.sweep()
    await until(walk.has(*lost))
    await until(lambda: life.count("sweeps") >= 1)
    assert len(walk.pictures()) == 1 + len(keys) + len(lost), "each is one picture"


async def test_a_plain_topic_forgets_what_nobody_took_and_the_sweep_brings_it(walk: Walk) -> None:
    await asyncio.to_thread(push_to, walk.rgw, walk.bucket, walk.address)
    life = walk.sweep()
    await walk.put("before.jpg")
    assert walk.has("before.jpg")(), "it was told before the upload was answered"
    await walk.down()
    await walk.put("lost.jpg")
    await walk.up()
    await walk.put("after.jpg")
    await until(walk.has("lost.jpg"))
    assert life.count("swept") == 1, "what the hook took is known to the sweep"
    assert len(walk.pictures()) == len(walk.journal.events) == 3


async def test_a_gateway_that_is_killed_in_mid_stream_loses_nothing_that_it_has(
    walk: Walk,
) -> None:
    await asyncio.to_thread(push_to, walk.rgw, walk.bucket, walk.address)
    life = walk.sweep()

    async def upload(camera: int) -> None:
        for number in range(10):
            with suppress(HTTPError, S3Error, OSError, ValueError):
                await walk.put(f"{camera}/{number}.jpg")

    cameras = [asyncio.create_task(upload(one), name=f"camera {one}") for one in range(3)]
    await until(lambda: len(walk.journal.events) >= 6)
    await asyncio.to_thread(walk.rgw.kill)
    await asyncio.sleep(0.2)
    await asyncio.to_thread(walk.rgw.revive)
    await asyncio.gather(*cameras)
    await walk.put("last.jpg")
    there = await asyncio.to_thread(
        lambda: {
            str(one.object_name) for one in walk.client.list_objects(walk.bucket, recursive=True)
        }
    )
    assert len(there) > 6
    await until(walk.has(*there))
    sweeps = life.count("sweeps")
    await until(lambda: life.count("sweeps") > sweeps)
    assert set(walk.journal.keys) == there
    assert len(walk.pictures()) == len(there)


async def test_whichever_way_an_object_was_made_hook_and_sweep_mean_the_same_one(
    walk: Walk,
) -> None:
    """Plain, in parts, copied, and a newer version; their keys are as awkward as they may be."""
    client, name = walk.client, walk.bucket
    client.set_bucket_versioning(name, VersioningConfig("Enabled"))
    await asyncio.to_thread(push_to, walk.rgw, name, walk.address)
    large = b"\xff\xd8" + bytes(6 * 2**20)
    long_key = "日本 +%/" + "ü" * 443 + ".jpg"
    assert len(long_key.encode()) == 900

    def make() -> None:
        for body in (b"old", b"new"):
            client.put_object(name, "cam 1/a+b%20%.jpg", io.BytesIO(body), len(body))
        client.put_object(name, long_key, io.BytesIO(large), len(large), part_size=5 * 2**20)
        client.copy_object(name, "copy +%.jpg", CopySource(name, "cam 1/a+b%20%.jpg"))

    await asyncio.to_thread(make)
    hooked = [object_of(event) for event in walk.journal.events]
    assert [event.type.rpartition(":")[2] for event in walk.journal.events] == [
        "Put",
        "Put",
        "CompleteMultipartUpload",
        "Copy",
    ]
    bodies = [(await walk.objects.get(ref)).body for ref in hooked]
    assert bodies == [b"old", b"new", large, b"new"], "each version by itself"
    told = walk.pictures()
    assert len(told) == 4

    # another life of the box, which remembers nothing: its sweep is about the same three objects
    walk.journal.events.clear()
    life = walk.sweep()
    await until(lambda: life.count("sweeps") >= 1)
    swept = [object_of(event) for event in walk.journal.events]
    assert {ref.key for ref in swept} == {ref.key for ref in hooked}
    assert walk.pictures() == {event_id("lobby", ref) for ref in hooked[1:]} < told
