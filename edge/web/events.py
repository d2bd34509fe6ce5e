"""``/v1/events``: events come in, pass by for whoever watches, and can be followed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from aiohttp import web

from edge.cloudevents import http, json_format, webhook
from edge.event import WireEvent
from edge.web.bodies import Intake as Room
from edge.web.bodies import go_on, read_body, too_large, wait_before_continue
from edge.web.problems import Refused
from edge.web.streams import EVENTS, TICK, Seats, Streams
from edge.web.traffic_json import trace_json
from edge.web.view import BoxView

MOST_BATCH: Final = 8 * 2**20
"""Bytes of a batch."""
LARGE: Final = 64 * 2**10
"""A body of more bytes is read beside the loop, which others wait for."""
MOST_TAILS: Final = 16
SIGN_OF_LIFE: Final = 15
"""Ticks without an event after which a comment says that the stream still stands."""

_METHODS: Final = "GET, OPTIONS, POST"
_ONE = "max_event in [bus] sets the limit"
_BATCH = f"a batch has at most {MOST_BATCH} bytes: send several"
_SHORT = ("type", "source", "subject")
_KNOWN = f"known are filters (JSON), and {', '.join(_SHORT)} (how they begin)"


class EventApi:
    """Takes events and shows them.

    Args:
        view: the box.
        streams: sends the tail.
        max_event: bytes of one event.
        max_batch: bytes of a batch.

    """

    def __init__(
        self, view: BoxView, streams: Streams, *, max_event: int, max_batch: int = MOST_BATCH
    ) -> None:
        self._view, self._streams = view, streams
        self._most, self._most_batch = max_event, max_batch
        self._room = Room(4 * max(max_event, max_batch))
        self._tails = Seats(MOST_TAILS, "tails")
        self._aside = ThreadPoolExecutor(1, thread_name_prefix="web-decode")

    def close(self) -> None:
        """End its thread. Whoever asks for something large from now on gets an error."""
        self._aside.shutdown(wait=False, cancel_futures=True)

    def routes(self) -> list[web.RouteDef]:
        """Return what this part answers."""
        return [
            web.post("/v1/events", self.take, expect_handler=wait_before_continue),
            web.get("/v1/events", self.tail, allow_head=False),
            web.options("/v1/events", self.handshake),
            # an id may hold slashes
            web.get("/v1/events/{id:.+}", self.follow),
        ]

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Answer ``POST /v1/events``: 202 once everything is on disk, or why nothing was taken."""
        batch = http.mode_of(request.headers.get("Content-Type", "")) is http.Mode.BATCH
        most, hint = (self._most_batch, _BATCH) if batch else (self._most, _ONE)
        size = request.content_length
        if size is not None and size > most:
            raise too_large(most, hint)
        if size is None or "Content-Encoding" in request.headers:
            size = most
        with self._room.hold(size):
            await go_on(request)
            body = await read_body(request, most, hint)
            events = await self._decode(request.headers, body)
            await self._view.intake.accept(events)
        return web.Response(status=202)

    async def _decode(self, headers: Mapping[str, str], body: bytes) -> list[WireEvent]:
        if len(body) <= LARGE:
            return http.decode(headers, body).events
        # tens of thousands of small events in one batch take a second and more
        loop = asyncio.get_running_loop()
        return (await loop.run_in_executor(self._aside, http.decode, headers, body)).events

    async def handshake(self, request: web.Request) -> web.StreamResponse:
        """Answer ``OPTIONS /v1/events``: whoever may ask may send."""
        if "WebHook-Request-Origin" not in request.headers:
            return web.Response(headers={"Allow": _METHODS})
        return web.Response(headers=webhook.answer(request.headers))

    async def tail(self, request: web.Request) -> web.StreamResponse:
        """Answer ``GET /v1/events``: what passes from now on, as server-sent events."""
        filters = _filters(request)
        with self._tails.take():
            tail = _Tail(await self._watch(filters))
            try:
                await tail.begin()
                return await self._streams.send(request, EVENTS, b": events\n\n", tail.items())
            finally:
                await tail.close()

    async def _watch(self, filters: list[Any] | None) -> AsyncIterator[WireEvent]:
        if filters is None:
            return self._view.traffic.watch()
        # the first expression in CEL takes 0.2 s
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._aside, self._view.traffic.watch, filters)

    async def follow(self, request: web.Request) -> web.StreamResponse:
        """Answer ``GET /v1/events/{id}``: the way of every event of that id."""
        event_id = request.match_info["id"]
        found = await self._view.traffic.traces(event_id)
        if not found:
            hint = "it never came, or it ended too long ago: trace_for in [bus]"
            raise Refused(404, "not_found", f"there is no event {event_id!r}", hint=hint)
        return web.json_response({"traces": [trace_json(trace) for trace in found]})


class _Tail:
    """What a stream sends for the events that pass. ``close`` it, whatever happened."""

    def __init__(self, events: AsyncIterator[WireEvent]) -> None:
        self._events = events
        self._next = self._ask()

    async def begin(self) -> None:
        """Have the watch begin: a client that has seen the answer's head misses nothing.

        Raises:
            Rejected: ``bad_filter``, where the watch says so only now.

        """
        await asyncio.wait({self._next}, timeout=0)
        if self._next.done():
            self._next.result()

    async def items(self) -> AsyncGenerator[bytes, None]:
        """Yield events as they come, and a sign of life now and then."""
        quiet = 0
        while True:
            await asyncio.wait({self._next}, timeout=TICK)
            if not self._next.done():
                quiet += 1
                yield b"" if quiet % SIGN_OF_LIFE else b":\n\n"
                continue
            event = self._next.result()
            if event is None:
                return
            quiet = 0
            self._next = self._ask()
            yield b"data: " + json_format.encode_line(event) + b"\n\n"

    async def close(self) -> None:
        """Let go of the watch."""
        self._next.cancel()
        await asyncio.wait({self._next})
        if not self._next.cancelled():
            self._next.exception()
        close = getattr(self._events, "aclose", None)
        if close is not None:
            await close()

    def _ask(self) -> asyncio.Task[WireEvent | None]:
        return asyncio.create_task(self._one(), name="web-tail")

    async def _one(self) -> WireEvent | None:
        return await anext(self._events, None)


def _filters(request: web.Request) -> list[Any] | None:
    """Return the filters that the query asks for; None: everything."""
    given = request.query
    odd = sorted(given.keys() - {"filters", *_SHORT})
    if odd or len(given) != len(set(given)):
        wrong = f"there is no parameter {', '.join(odd)}" if odd else "a parameter is given twice"
        raise Refused(400, "bad_request", wrong, hint=_KNOWN)
    filters: list[Any] = [{"prefix": {name: given[name]}} for name in _SHORT if given.get(name)]
    if "filters" in given:
        try:
            more = json.loads(given["filters"])
        except (ValueError, RecursionError) as error:
            raise Refused(400, "bad_filter", f"filters: expected JSON: {error}") from error
        if not isinstance(more, list):
            raise Refused(400, "bad_filter", "filters: expected a list of filters", hint=_KNOWN)
        filters += more
    return filters or None
