"""A real web server in a thread of its own, over the honest small box of the web tests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from edge.config.web import WebConfig
from edge.engine_status import Engines
from edge.web.server import WebServer
from tests.web.parts import FakeBox
from tests.web.traffic_parts import MemoryBus

T = TypeVar("T")


class RunningBox:
    """A box that answers while the command under test waits for it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, box: FakeBox, url: str) -> None:
        self.url = url
        self._loop, self._box = loop, box

    @property
    def bus(self) -> MemoryBus:
        return self._box.traffic

    def have(self, engines: Engines) -> None:
        """Let it have engines to choose from."""
        self._box.engines = engines

    def do(self, work: Callable[[], Awaitable[T]], timeout: float = 10) -> T:
        """Run something on the box's loop, and wait for it."""

        async def run() -> T:
            return await work()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(timeout)


@contextmanager
def running_box(**config: Any) -> Iterator[RunningBox]:
    """Start a box on a free port, and stop it at the end."""
    started: list[RunningBox] = []
    ready, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        box = FakeBox()
        server = WebServer(WebConfig(**{"port": 0, **config}), box)
        url = (await server.start()).rstrip("/")
        started.append(RunningBox(asyncio.get_running_loop(), box, url))
        ready.set()
        await stop.wait()
        await server.stop()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="running-box")
    thread.start()
    try:
        assert ready.wait(10)
        yield started[0]
    finally:
        if started:
            started[0].do(_set(stop))
        thread.join(10)


def _set(stop: asyncio.Event) -> Callable[[], Awaitable[None]]:
    async def now() -> None:
        stop.set()

    return now
