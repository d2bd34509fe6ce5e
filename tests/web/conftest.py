"""A real server on a free loopback port in front of an honest small box."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from edge.config.web import WebConfig
from edge.web.server import WebServer
from tests.web.parts import FakeBox

Open = Callable[..., Awaitable["Site"]]


@dataclass
class Site:
    """A running server, its box, and a client."""

    url: str
    box: FakeBox
    server: WebServer
    client: aiohttp.ClientSession

    def at(self, path: str) -> str:
        return self.url.rstrip("/") + path


@pytest.fixture
async def open_site() -> AsyncIterator[Open]:
    """Open servers; all are stopped at the end."""
    async with AsyncExitStack() as stack:

        async def start(box: FakeBox | None = None, max_event: int = 2**20, **config: Any) -> Site:
            box = box or FakeBox()
            server = WebServer(WebConfig(**{"port": 0, **config}), box, max_event=max_event)
            url = await server.start()
            stack.push_async_callback(server.stop)
            jar = aiohttp.CookieJar(unsafe=True)
            client = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=jar))
            return Site(url, box, server, client)

        yield start


@pytest.fixture
async def site(open_site: Open) -> Site:
    """A box with which all is well, open to this machine."""
    return await open_site()


@pytest.fixture
async def working(site: Site) -> AsyncIterator[Site]:
    """The same, with a path that redacts what is uploaded."""
    worker = asyncio.create_task(site.box.work())
    yield site
    worker.cancel()
    await asyncio.wait([worker])
