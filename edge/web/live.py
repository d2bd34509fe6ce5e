"""What a viewer watches: blurred live pictures, and the stream of states.

A viewer that reads slowly gets fewer, newer pictures; one that does not read at all is let go.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from typing import Any

from aiohttp import web

from edge.parcel import Parcel
from edge.web.pictures import picture
from edge.web.problems import Refused
from edge.web.streams import EVENTS, TICK, Seats, Streams
from edge.web.view import BoxView

MOST_FPS = 8.0
"""Pictures a second that a preview shows at most."""
PAUSE = 0.2
"""Seconds without a new picture after which the last one is sent again."""
MOST_STREAMS = 32

_EDGE = b"--picture\r\n"


class LiveApi:
    """Live previews and the state stream.

    Args:
        state: makes what ``/v1/stream`` sends.
        markup: makes what ``/v1/stream?page`` sends, for the page itself.

    """

    def __init__(
        self,
        view: BoxView,
        streams: Streams,
        *,
        state: Callable[[], dict[str, Any]],
        markup: Callable[[], dict[str, Any]],
        max_viewers: int,
    ) -> None:
        self._view, self._streams = view, streams
        self._state, self._markup = state, markup
        self._viewers = Seats(max_viewers, "live previews")
        self._watchers = Seats(MOST_STREAMS, "state streams")

    def routes(self) -> list[web.RouteDef]:
        """Return what this part answers."""
        return [
            web.get("/live/{source}.mjpg", self.mjpeg, allow_head=False),
            web.get("/live/{source}/latest", self.latest),
            web.get("/v1/stream", self.stream, allow_head=False),
        ]

    async def latest(self, request: web.Request) -> web.StreamResponse:
        """Answer ``GET /live/{source}/latest``: the newest redacted picture."""
        source = self._known(request)
        parcel = self._view.latest(source)
        if parcel is None:
            raise Refused(404, "no_picture", f"{source} has shown no picture yet")
        return picture(request, parcel)

    async def mjpeg(self, request: web.Request) -> web.StreamResponse:
        """Answer ``GET /live/{source}.mjpg``: redacted pictures as they are made."""
        source = self._known(request)
        with self._viewers.take():
            self._view.metrics.viewers.inc()
            try:
                kind = "multipart/x-mixed-replace; boundary=picture"
                return await self._streams.send(request, kind, _EDGE, self._pictures(source))
            finally:
                self._view.metrics.viewers.dec()

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Answer ``GET /v1/stream``: the state once a second, as server-sent events."""
        states = _states(self._markup if "page" in request.query else self._state)
        with self._watchers.take():
            return await self._streams.send(request, EVENTS, b"retry: 2000\n\n", states)

    async def _pictures(self, source: str) -> AsyncGenerator[bytes, None]:
        """Yield the newest picture each time there is one, and nothing once a second if not.

        Browsers draw a picture when the next one begins: the last one before a pause is sent twice.
        """
        shown: Parcel | None = None
        drawn = True
        loop = asyncio.get_running_loop()
        while True:
            wait = TICK if drawn else PAUSE
            parcel = await self._view.next_parcel(source, shown.id if shown else None, wait)
            began = loop.time()
            if parcel is not None and (shown is None or parcel.id != shown.id):
                shown, drawn = parcel, False
                yield _part(shown)
                await asyncio.sleep(max(0.0, began + 1 / MOST_FPS - loop.time()))
            elif shown is not None and not drawn:
                drawn = True
                yield _part(shown)
            else:
                yield b""

    def _known(self, request: web.Request) -> str:
        source = request.match_info["source"]
        if all(source != seen["name"] for seen in self._view.status()["seeing"]):
            raise Refused(404, "not_found", "there is no such source")
        return source


async def _states(make: Callable[[], dict[str, Any]]) -> AsyncGenerator[bytes, None]:
    while True:
        yield b"event: status\ndata: " + json.dumps(make()).encode() + b"\n\n"
        await asyncio.sleep(TICK)


def _part(parcel: Parcel) -> bytes:
    head = (
        f"Content-Type: {parcel.content_type}\r\nContent-Length: {len(parcel.body)}\r\n"
        f"X-Taken-At: {parcel.taken_at.isoformat(timespec='milliseconds')}\r\n\r\n"
    )
    return head.encode() + parcel.body + b"\r\n" + _EDGE
