"""A queue in a file of its own, and messages for it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from edge.config.mqtt import UpstreamConfig
from edge.ops.database import Database
from edge.ops.metrics import Metrics
from edge.sinks.upstream import mend
from edge.sinks.upstream.outgoing import Outgoing, Pending
from edge.sinks.upstream.queue import UpstreamQueue
from edge.sinks.upstream.sql import SCHEMA

ORIGIN = "/north/box"


def message(number: int, source: str = "gate", kind: str = "result", **other: Any) -> Outgoing:
    values: dict[str, Any] = {
        "kind": kind,
        "source": source,
        "id": f"{kind}/{source}/{number}",
        "body": {"specversion": "1.0", "id": f"{source}/{number}", "data": {"n": number}},
        "at": 1_800_000_000.0 + number,
    }
    return Outgoing(**{**values, **other})


class Life:
    """An open queue, from opening its file to closing it or being killed."""

    def __init__(self, path: Path, clock: Callable[[], float], **config: Any) -> None:
        self.metrics = Metrics()
        self.database = Database(path, SCHEMA, name="spool", mend=mend.mend)
        self.queue = UpstreamQueue(
            self.database, UpstreamConfig(**config), self.metrics, origin=ORIGIN, clock=clock
        )

    async def open(self) -> UpstreamQueue:
        await self.database.open()
        await self.queue.open()
        return self.queue

    async def close(self) -> None:
        await self.database.close()


@asynccontextmanager
async def living(
    path: Path, clock: Callable[[], float], **config: Any
) -> AsyncIterator[UpstreamQueue]:
    life = Life(path, clock, **config)
    queue = await life.open()
    try:
        yield queue
    finally:
        await life.close()


def numbers(pending: list[Pending]) -> list[int]:
    """Return which messages these are."""
    return [json.loads(item.body)["data"]["n"] for item in pending]


def losses(pending: list[Pending]) -> list[dict[str, Any]]:
    """Return what the tombstones among them say."""
    return [json.loads(item.body)["data"] for item in pending if item.kind == "loss"]


def rows(path: Path, query: str) -> list[Any]:
    """Ask the file itself."""
    with sqlite3.connect(path) as connection:
        found = connection.execute(query).fetchall()
    connection.close()
    return found
