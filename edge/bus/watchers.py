"""Watchers: people and programs that look at what passes the bus, and never hold it up."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import deque
from typing import Any

from edge.bus.candidate import Candidate
from edge.bus.filters import Filter, compile_filter
from edge.event import Event, WireEvent

MOST_EVENTS = 1000
"""Events that wait for a watcher at most; of more the oldest are dropped."""
MOST_BYTES = 4 * 2**20
"""The same in bytes of data."""


class Watch:
    """Yields events from now on until it is closed; a slow reader misses the oldest."""

    def __init__(self, wanted: Filter) -> None:
        self._wanted = wanted
        self._events: deque[WireEvent] = deque()
        self._bytes = 0
        self._more = asyncio.Event()
        self._closed = False
        #: how many events it missed
        self.missed = 0

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> WireEvent:
        while not self._events:
            if self._closed:
                raise StopAsyncIteration
            self._more.clear()
            await self._more.wait()
        return self._next()

    async def aclose(self) -> None:
        """End it: whoever iterates gets what is left, and then no more."""
        self.shut()

    def shut(self) -> None:
        """End it, from the loop."""
        self._closed = True
        self._more.set()

    @property
    def closed(self) -> bool:
        """Whether it was ended."""
        return self._closed

    def tell(self, candidate: Candidate, event: WireEvent) -> None:
        """Put an event in line where it is wanted."""
        if self._closed or not self._wanted(candidate):
            return
        self._events.append(event)
        self._bytes += len(event.data or b"")
        while len(self._events) > MOST_EVENTS or (
            self._bytes > MOST_BYTES and len(self._events) > 1
        ):
            self._next()
            self.missed += 1
        self._more.set()

    def _next(self) -> WireEvent:
        event = self._events.popleft()
        self._bytes -= len(event.data or b"")
        return event


class Watchers:
    """All of them. Whoever lets go of a watch need not say so."""

    def __init__(self) -> None:
        self._watches: tuple[weakref.ref[Watch], ...] = ()
        self._changing = threading.Lock()

    def watch(self, filters: object = None) -> Watch:
        """Return a watch of what passes from now on. May be called from any thread.

        Blocks where a filter has CEL expressions (0.2 s for the first one).

        Raises:
            Rejected: ``bad_filter``.

        """
        watch = Watch(compile_filter([] if filters is None else filters))
        with self._changing:
            self._watches = (*self._watches, weakref.ref(watch))
        return watch

    def tell(self, candidate: Candidate, event: Event[Any]) -> None:
        """Show an event to all; of a raw picture's event only the attributes."""
        if not self._watches:
            return
        data = event.data
        shown: WireEvent = (
            event if data is None or isinstance(data, bytes) else event.carrying(None)
        )
        for reference in self._watches:
            watch = reference()
            if watch is None or watch.closed:
                self._forget(reference)
            else:
                watch.tell(candidate, shown)

    def close(self) -> None:
        """End all of them."""
        for reference in self._watches:
            watch = reference()
            if watch is not None:
                watch.shut()

    def __bool__(self) -> bool:
        return bool(self._watches)

    def _forget(self, reference: weakref.ref[Watch]) -> None:
        with self._changing:
            self._watches = tuple(one for one in self._watches if one is not reference)
