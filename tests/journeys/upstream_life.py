"""What sends to a broker, without the rest of a box; also as a process that is killed.

``python -m tests.journeys.upstream_life SPOOL PORT FIRST PACE`` puts results for four sources into
its queue, numbered from FIRST, PACE a batch, and says the number of each batch that is on disk
(one line each), while it sends them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edge.config.mqtt import UpstreamConfig
from edge.config.store import OutboxConfig
from edge.ops.database import Database
from edge.ops.metrics import Metrics
from edge.ops.mqtt import MqttLink
from edge.ops.mqtt_types import MqttSettings
from edge.sinks.outbox import Outbox
from edge.sinks.outbox_sql import SCHEMA as OUTBOX
from edge.sinks.upstream import sql
from edge.sinks.upstream.outgoing import Outgoing
from edge.sinks.upstream.plan import Plan
from edge.sinks.upstream.publisher import Publisher
from edge.sinks.upstream.queue import UpstreamQueue
from edge.topics import Topics
from tests.parts import until

SOURCES: Final = ("gate", "yard", "crane", "dock")
TOPICS: Final = Topics(site="site", node="box")
MOST_WAITING: Final = 4000
FILL: Final = "x" * 300
"""Makes a result about 512 bytes on the wire."""


def result(number: int, at: float, sources: tuple[str, ...] = SOURCES) -> Outgoing:
    """Return result ``number`` of a site: the sources take turns."""
    source = sources[number % len(sources)]
    body = (
        b'{"specversion":"1.0","id":"%d","source":"/site/box/%b","type":"io.edge.picture.stored.v1"'
        b',"subject":"%b","datacontenttype":"application/json","data":{"people":[],"note":"%b"}}'
    ) % (number, source.encode(), source.encode(), FILL.encode())
    return Outgoing(kind="result", source=source, id=str(number), body=body, at=at)


def batch(first: int, many: int, at: float) -> Iterator[Outgoing]:
    return (result(number, at) for number in range(first, first + many))


def settings_for(port: int, **more: Any) -> MqttSettings:
    given: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": port,
        "client_id": "box",
        "first_wait": 0.02,
        "longest_wait": 0.1,
        "connect_timeout": 5.0,
        **more,
    }
    return MqttSettings(**given)


@dataclass
class Kept:
    """What waits, and nobody who takes it."""

    database: Database
    outbox: Outbox
    queue: UpstreamQueue
    metrics: Metrics


@dataclass
class Upstream(Kept):
    """A queue, its publisher and its link."""

    publisher: Publisher
    link: MqttLink

    async def empty(self, within: float = 60.0) -> None:
        """Wait until the broker has all."""
        try:
            await until(lambda: not self.queue.stats().waiting, within)
        except TimeoutError as error:
            raise AssertionError(self.queue.totals(), self.link.status()) from error


@asynccontextmanager
async def kept(
    spool: Path,
    config: UpstreamConfig | None = None,
    clock: Callable[[], float] = time.time,
    pictures: OutboxConfig | None = None,
) -> AsyncIterator[Kept]:
    """Open a spool that nobody empties."""
    metrics = Metrics()
    database = Database(spool, (*OUTBOX, *sql.SCHEMA), name="spool")
    outbox = Outbox(database, pictures or OutboxConfig(), metrics, clock=clock)
    queue = UpstreamQueue(database, config or UpstreamConfig(), metrics, clock=clock)
    await outbox.open()
    await queue.open()
    try:
        yield Kept(database, outbox, queue, metrics)
    finally:
        await database.close()


@asynccontextmanager
async def upstream(
    spool: Path,
    settings: MqttSettings,
    config: UpstreamConfig | None = None,
    clock: Callable[[], float] = time.time,
    **link: Any,
) -> AsyncIterator[Upstream]:
    """Run all of it."""
    config = config or UpstreamConfig()
    async with kept(spool, config, clock) as what:
        line = MqttLink(settings, **link)
        plan = Plan(config, clock)
        publisher = Publisher(what.queue, line, TOPICS, config, what.metrics, plan, clock=clock)
        tasks = [
            asyncio.create_task(line.run(), name="link"),
            asyncio.create_task(publisher.run(), name="publisher"),
        ]
        try:
            yield Upstream(what.database, what.outbox, what.queue, what.metrics, publisher, line)
        finally:
            tasks[1].cancel()
            await line.close()
            await asyncio.wait(tasks)
            with contextlib.suppress(asyncio.CancelledError):
                for task in tasks:
                    task.result()


async def live(spool: Path, port: int, first: int, pace: int) -> None:
    async with upstream(spool, settings_for(port)) as life:
        while True:
            await life.queue.put(*batch(first, pace, time.time()))
            first += pace
            os.write(1, b"%d\n" % first)
            # about as fast as it can be sent
            await until(lambda: life.queue.stats().waiting < MOST_WAITING)


if __name__ == "__main__":
    asyncio.run(live(Path(sys.argv[1]), *map(int, sys.argv[2:])))
