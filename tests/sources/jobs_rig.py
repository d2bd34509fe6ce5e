"""Uploads on a bucket in memory: jobs, journal, outbox and bus are real, on one real file."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge.bus import journal_sql
from edge.bus.broker import Broker
from edge.bus.journal import Journal
from edge.bus.pictures import Kept
from edge.config.bus import BusConfig
from edge.config.sources import BucketConfig, JobsConfig
from edge.config.store import OutboxConfig
from edge.control.triggers import parse_trigger
from edge.errors import PartFailed, Rejected
from edge.event import WireEvent
from edge.frame import ObjectRef
from edge.ops.database import Database
from edge.ops.metrics import Metrics
from edge.parcel import Parcel
from edge.sinks import outbox_sql
from edge.sinks.outbox import Outbox
from edge.sinks.pictures import PictureFacts, Pictures
from edge.sources.buckets.objects import Listed
from edge.sources.buckets.records import object_of
from edge.sources.upload_around import Around, Place
from edge.sources.upload_bucket import BucketJobs
from edge.sources.upload_rows import SCHEMA, JobRows
from edge.stages.objects import event_id
from tests.bus.rig import Sink, trigger
from tests.parts import MemoryStore, make_parcel

TRIGGERS = {"objects": trigger("redact", filters=[{"prefix": {"type": "com.amazonaws.s3."}}])}
BUCKET = BucketConfig.model_validate(
    {
        "kind": "bucket",
        "endpoint": "http://h:9000",
        "bucket": "frames",
        "prefix": "in/",
        "access_key": "a",
        "secret_key": "s",
    }
)


class MemoryBucket:
    """A bucket in memory; it can be shut, and slow."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.types: dict[str, str] = {}
        self.puts = 0
        self.closed = False
        self.shut: PartFailed | None = None
        #: while clear, a put that was begun does not end
        self.open = asyncio.Event()
        self.open.set()

    async def put(self, key: str, body: bytes, content_type: str) -> ObjectRef:
        self.puts += 1
        await self.open.wait()
        if self.shut:
            raise self.shut
        self.objects[key], self.types[key] = body, content_type
        return ObjectRef(bucket="frames", key=key, etag=_etag(body), size=len(body))

    async def close(self) -> None:
        self.closed = True

    async def look(self, key: str) -> Listed:
        if key not in self.objects:
            raise Rejected(f"there is no {key}", reason="gone")
        body = self.objects[key]
        return Listed(key, _etag(body), len(body), "", datetime(2026, 5, 4, tzinfo=UTC))


def _etag(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def parcel_of(event: WireEvent) -> Parcel:
    """Return what a handler makes of the object that an event names."""
    ref = object_of(event)
    picture_id, body = event_id("yard", ref, event), f"redacted {ref.key}".encode()
    key = f"yard/{picture_id}.jpg"
    facts = {"key": key, "sha256": hashlib.sha256(body).hexdigest()}
    return make_parcel(
        source="yard",
        id=f"{picture_id}.policy",
        event_id=picture_id,
        key=key,
        body=body,
        message={
            "id": picture_id,
            "source": "/site/box/yard",
            "type": "io.edge.picture.redacted.v1",
            "data": {"picture": facts},
        },
    )


@dataclass(slots=True)
class World:
    """What outlives a box: its file, the bucket and the store."""

    path: Path
    bucket: MemoryBucket = field(default_factory=MemoryBucket)
    store: MemoryStore = field(default_factory=MemoryStore)
    sink: Sink = field(default_factory=Sink)

    def __post_init__(self) -> None:
        async def redact(event: WireEvent) -> Parcel:
            return parcel_of(event)

        self.sink.answer = redact

    @contextlib.asynccontextmanager
    async def box(self, *, deliver: bool = True, **jobs: Any) -> AsyncIterator[Life]:
        """Open everything, as a box does; leave it as ``kill -9`` does, with no word to anybody."""
        life = Life(self, JobsConfig.model_validate({"bucket": "yard", **jobs}))
        await life.outbox.open()
        await life.broker.open()
        await life.broker.set_triggers(TRIGGERS, "built-in")
        tasks = [asyncio.create_task(life.watch(), name="jobs")]
        if deliver:
            tasks.append(asyncio.create_task(life.broker.run(), name="bus"))
        try:
            yield life
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(end is None or isinstance(end, asyncio.CancelledError) for end in ends), ends
            await life.broker.close()
            await life.outbox.close()


class Life:
    """One life of a box."""

    def __init__(self, world: World, config: JobsConfig) -> None:
        self.world, self.metrics = world, Metrics()
        schema = [*outbox_sql.SCHEMA, journal_sql.SCHEMA, SCHEMA]
        database = Database(world.path, schema, name="spool")
        self.outbox = Outbox(database, OutboxConfig(), self.metrics)
        self.journal = Journal(database, BusConfig(), self.metrics)
        self.kept = Kept(self.metrics, self.outbox)
        self.broker = Broker(
            self.journal,
            {"redact": world.sink},
            BusConfig(),
            self.metrics,
            keeper=self.kept,
            make_forward=lambda *_, **__: Sink(),
            parse=parse_trigger,
        )
        self.rows = JobRows(database)
        self.jobs = BucketJobs(
            config,
            self.rows,
            self._around(),
            metrics=self.metrics,
            origin="/site/box",
            max_bytes=1000,
        )
        self.kept.notes.append(self.jobs.note)
        self.kept.made.append(self.jobs.finished)

    async def watch(self) -> None:
        async for event in self.jobs.events():
            raise AssertionError(event)

    def _around(self) -> Around:
        place = Place(source="yard", config=BUCKET, writer=self.world.bucket)
        pictures = Pictures(self.outbox.picture, self.world.store)
        return Around(
            intake=self.broker,
            traces=self.journal.traces,
            place=lambda: place,
            place_of=lambda *_: place,
            is_bucket=lambda name: name == "yard",
            picture=event_id,
            read_back=lambda key, sha256, kind, at: pictures.read_back(
                PictureFacts(key=key, sha256=sha256), kind, at
            ),
            close=self.world.bucket.close,
        )
