"""A running bucket source, the bus that it brings events to, and a bucket to list."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from edge.config.sources import BucketConfig
from edge.contracts import Accepted
from edge.errors import PartFailed, Rejected
from edge.event import WireEvent
from edge.frame import ObjectRef
from edge.ops.metrics import Metrics
from edge.sources.buckets.objects import Listed
from edge.sources.buckets.records import object_of
from edge.sources.buckets.source import Bucket
from edge.sources.buckets.sweep import Objects
from edge.sources.buckets.unreadable import MALFORMED
from tests.servers.minio_listen import ACCESS_KEY, SECRET_KEY, FakeMinio


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
        return [object_of(one).key for one in self.events if one.type != MALFORMED]

    @property
    def unreadable(self) -> list[WireEvent]:
        return [one for one in self.events if one.type == MALFORMED]


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
