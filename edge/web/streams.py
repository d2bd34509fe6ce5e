"""Answers that go on by themselves, until the client leaves, is signed out, or the box stops.

Nobody who reads slowly holds anything up: who does not take what is sent in time is let go.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager

from aiohttp import web

from edge.errors import TryLater
from edge.web.guard import Guard

TICK = 1.0
"""Seconds between two looks whether the client is still there; at least so often items yield."""
PATIENCE = 10.0
"""Seconds that a client may take to accept one item."""
EVENTS = "text/event-stream; charset=utf-8"
"""Content type of server-sent events."""


class Streams:
    """Sends streams, and ends all of them when the box stops."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End every stream within a second."""
        self._stopping.set()

    async def send(
        self, request: web.Request, kind: str, first: bytes, items: AsyncGenerator[bytes, None]
    ) -> web.StreamResponse:
        """Send ``first``, and what ``items`` yields: at least once a ``TICK``, ``b""`` for nothing.

        ``items`` is closed at the end, whatever ended it.
        """
        response = web.StreamResponse(headers={"Content-Type": kind})
        async with aclosing(items):
            try:
                await response.prepare(request)
                await response.write(first)
                async for item in items:
                    if self._stopping.is_set() or not self._present(request):
                        break
                    if item:
                        async with asyncio.timeout(PATIENCE):
                            await response.write(item)
            except (ConnectionError, TimeoutError):
                if request.transport is not None:
                    request.transport.abort()
        return response

    def _present(self, request: web.Request) -> bool:
        transport = request.transport
        return transport is not None and not transport.is_closing() and self._guard.goes_on(request)


class Seats:
    """How many may watch at once."""

    def __init__(self, most: int, what: str) -> None:
        self._most, self._what = most, what
        self._taken = 0

    @contextmanager
    def take(self) -> Iterator[None]:
        """Take a seat.

        Raises:
            TryLater: there is none.

        """
        if self._taken >= self._most:
            message = f"all {self._most} {self._what} are taken"
            raise TryLater(message, reason="too_many_viewers", after=5)
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1
