"""A queue and its publisher on a real link, and who listens at the broker."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.config.mqtt import UpstreamConfig
from edge.ops.metrics import Metrics
from edge.ops.mqtt_types import Message
from edge.sinks.upstream.outgoing import Outgoing
from edge.sinks.upstream.plan import Plan
from edge.sinks.upstream.publisher import Link, Publisher
from edge.sinks.upstream.queue import UpstreamQueue
from edge.topics import Topics
from tests.ops.mqtt_parts import running, settings_for
from tests.servers.mosquitto import Mosquitto
from tests.sinks.upstream.parts import living, message

TOPICS = Topics(site="north", node="box")


@dataclass
class Sending:
    queue: UpstreamQueue
    publisher: Publisher
    plan: Plan
    task: asyncio.Task[None]

    async def until(self, true: Callable[[], object], within: float = 15.0) -> None:
        end = time.monotonic() + within
        while not true():
            if self.task.done():
                self.task.result()
            assert time.monotonic() < end, self.publisher.status()
            await asyncio.sleep(0.01)

    async def empty(self, within: float = 15.0) -> None:
        await self.until(lambda: not self.queue.stats().waiting, within)

    def state(self) -> str:
        return str(self.publisher.status()["state"])


@asynccontextmanager
async def publishing(
    path: Path, link: Link, clock: Callable[[], float] = time.time, **config: Any
) -> AsyncIterator[Sending]:
    made = UpstreamConfig(**config)
    async with living(path, clock, **config) as queue:
        plan = Plan(made, clock)
        publisher = Publisher(queue, link, TOPICS, made, Metrics(), plan, clock=clock)
        task = asyncio.create_task(publisher.run(), name="publisher")
        try:
            yield Sending(queue, publisher, plan, task)
        finally:
            task.cancel()
            await asyncio.wait([task])


@asynccontextmanager
async def sending(
    path: Path,
    broker: Mosquitto,
    clock: Callable[[], float] = time.time,
    *,
    link: dict[str, Any] | None = None,
    **config: Any,
) -> AsyncIterator[Sending]:
    async with (
        running(settings_for(broker, **(link or {}))) as life,
        publishing(path, life.link, clock, **config) as found,
    ):
        yield found


class Listener:
    """Hears everything at a broker; a message that comes again is left out, and counted."""

    def __init__(self) -> None:
        self.heard: list[Message] = []
        self.again = 0
        self._names: set[tuple[str, Any]] = set()

    async def take(self, messages: Sequence[Message]) -> None:
        for one in messages:
            name = (one.topic, json.loads(one.payload)["seq"])
            self.again += name in self._names
            if name not in self._names:
                self._names.add(name)
                self.heard.append(one)

    def of(self, topic: str) -> list[dict[str, Any]]:
        return [json.loads(one.payload) for one in self.heard if one.topic == topic]

    def numbers(self, source: str = "gate") -> list[int]:
        return [one["data"]["n"] for one in self.of(TOPICS.result(source))]

    def losses(self) -> list[dict[str, Any]]:
        return [one["data"] for one in self.of(TOPICS.loss)]


@asynccontextmanager
async def listening(broker: Mosquitto, **link: Any) -> AsyncIterator[Listener]:
    listener, granted = Listener(), asyncio.Event()
    async with running(settings_for(broker, client_id="cloud", **link)) as life:
        life.link.subscribe(f"{TOPICS.base}/#", listener.take, lambda _: granted.set())
        await asyncio.wait_for(granted.wait(), 10)
        yield listener


class OddLink:
    """A link whose broker answers as a test says; it keeps what it was sent."""

    def __init__(self, window: int = 4) -> None:
        self.window = window
        self.up = asyncio.Event()
        self.up.set()
        self.hurried = 0
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.took: list[int] = []
        self.answer: Callable[[str, dict[str, Any]], Exception | None] = lambda _, __: None
        self.manual: list[asyncio.Future[None]] | None = None
        self._under_way = 0

    @property
    def free(self) -> int:
        return self.window - self._under_way if self.up.is_set() else 0

    def hurry(self) -> None:
        self.hurried += 1

    async def room(self) -> int:
        while self.free <= 0:
            await self.up.wait()
            await asyncio.sleep(0.001)
        return self.free

    def publish(self, topic: str, payload: bytes, **_: Any) -> asyncio.Future[None]:
        body = json.loads(payload)
        self.sent.append((topic, body))
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._under_way += 1
        if self.manual is None:
            asyncio.get_running_loop().call_soon(self.settle, future, topic, body)
        else:
            self.manual.append(future)
        return future

    def settle(self, future: asyncio.Future[None], topic: str, body: dict[str, Any]) -> None:
        self._under_way -= 1
        error = self.answer(topic, body)
        if error:
            future.set_exception(error)
        else:
            self.took.append(body["data"]["n"])
            future.set_result(None)

    def cut(self, error: Exception) -> None:
        """Fail all that is under way, as a connection does that ends."""
        futures, self.manual = self.manual or [], None
        self._under_way = 0
        for future in futures:
            future.set_exception(error)


def batch(first: int, many: int, *sources: str) -> list[Outgoing]:
    names = sources or ("gate",)
    return [message(n, names[n % len(names)]) for n in range(first, first + many)]
