"""Honest small parts for tests: they keep the contracts, in memory."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from edge.config.store import OutboxConfig
from edge.errors import PartFailed, Rejected
from edge.ops.database import Database
from edge.ops.metrics import Metrics
from edge.ops.repair import Mend
from edge.parcel import Parcel
from edge.sinks.keys import checked
from edge.sinks.outbox import Outbox
from edge.sinks.outbox_sql import SCHEMA

MORNING = datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)


def make_parcel(number: int = 1, source: str = "gate", body: bytes = b"", **other: Any) -> Parcel:
    """Return parcel ``number`` of a source: the same arguments, the same parcel."""
    body = body or b"\xff\xd8" + f"{source} {number} ".encode() * 20
    values: dict[str, Any] = {
        "id": f"{source}/{number}/p1",
        "event_id": f"{source}/{number}",
        "source": source,
        "taken_at": MORNING + timedelta(seconds=number),
        "key": f"{source}/2026/03/04/{number:06}.jpg",
        "body": body,
        "content_type": "image/jpeg",
        "message": {"id": f"{source}/{number}", "sha256": hashlib.sha256(body).hexdigest()},
    }
    return Parcel(**{**values, **other})


def outbox_at(
    path: Path,
    config: OutboxConfig,
    metrics: Metrics,
    *,
    clock: Callable[[], float] = time.time,
    mend: Mend | None = None,
) -> Outbox:
    """Return an outbox that has a file for itself."""
    database = Database(path, SCHEMA, name="outbox", mend=mend)
    return Outbox(database, config, metrics, clock=clock)


async def until(true: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until something is true that has no event of its own."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


class MemoryStore:
    """A store in memory. Tests shut it, let it refuse keys, or make it slow."""

    def __init__(self, *, overwrite: bool = False) -> None:
        self.name = "memory"
        self.overwrite = overwrite
        self._taken_at: dict[str, datetime] = {}
        #: picture by key
        self.pictures: dict[str, bytes] = {}
        self.messages: dict[str, Mapping[str, Any]] = {}
        #: keys in the order in which they were stored
        self.order: list[str] = []
        #: while set, ``open`` and ``put`` raise it
        self.shut: PartFailed | None = None
        #: while set, ``put`` raises it, though ``open`` goes well
        self.full: PartFailed | None = None
        #: key to exception: what ``put`` raises for it
        self.raises: dict[str, Exception] = {}
        #: seconds that a put takes, by source
        self.slow: dict[str, float] = {}
        self.opened = 0
        self.tries = 0

    async def open(self) -> None:
        self.opened += 1
        if self.shut:
            raise self.shut

    async def put(self, parcel: Parcel) -> None:
        self.tries += 1
        await asyncio.sleep(self.slow.get(parcel.source, 0))
        if broken := self.shut or self.full:
            raise broken
        if parcel.key in self.raises:
            raise self.raises[parcel.key]
        checked(parcel.key)
        if self.pictures.get(parcel.key, parcel.body) != parcel.body:
            if not self.overwrite:
                raise Rejected(f"{parcel.key} is there with another content", reason="key_taken")
            if self._taken_at[parcel.key] > parcel.taken_at:
                return
        self.pictures[parcel.key] = parcel.body
        self._taken_at[parcel.key] = parcel.taken_at
        self.messages[parcel.key] = parcel.message
        if parcel.key not in self.order:
            self.order.append(parcel.key)

    async def get(self, key: str) -> bytes:
        if self.shut:
            raise self.shut
        checked(key)
        if key not in self.pictures:
            raise Rejected(f"there is no {key}", reason="gone")
        return self.pictures[key]

    async def remove(self, key: str) -> None:
        if self.shut:
            raise self.shut
        checked(key)
        self.pictures.pop(key, None)
        self.messages.pop(key, None)
        if key in self.order:
            self.order.remove(key)

    async def close(self) -> None:
        self.shut = PartFailed("closed")

    def describe(self) -> Mapping[str, Any]:
        return {"kind": "memory", "where": "here"}

    def of(self, source: str) -> list[str]:
        """Return the keys of one source in the order in which they were stored."""
        return [key for key in self.order if key.startswith(f"{source}/")]
