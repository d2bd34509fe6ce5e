"""The newest redacted picture of each source, for those who watch."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from edge.parcel import Parcel

WINDOW = 5.0
"""Seconds over which the rate is taken."""


class Live:
    """Holds one parcel a source and wakes whoever waits for the next one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._shown: dict[str, deque[float]] = {}
        self._newest: dict[str, Parcel] = {}
        self._new: dict[str, asyncio.Event] = {}

    def show(self, parcel: Parcel) -> None:
        """Make this the newest picture of its source."""
        self._newest[parcel.source] = parcel
        self._shown.setdefault(parcel.source, deque(maxlen=1000)).append(self._clock())
        waiting = self._new.pop(parcel.source, None)
        if waiting is not None:
            waiting.set()

    def forget(self, source: str) -> None:
        """Show nothing of a source that was removed."""
        self._newest.pop(source, None)
        self._shown.pop(source, None)

    def rate(self, source: str) -> float:
        """Return how many redacted pictures a second a source gave over the last seconds."""
        since = self._clock() - WINDOW
        shown = self._shown.get(source, deque())
        while shown and shown[0] < since:
            shown.popleft()
        return len(shown) / WINDOW

    def latest(self, source: str) -> Parcel | None:
        """Return the newest picture of a source, or None where there was none yet."""
        return self._newest.get(source)

    async def next(self, source: str, after_id: str, timeout: float) -> Parcel | None:  # noqa: ASYNC109
        """Return a picture other than ``after_id``; None after ``timeout`` seconds without one."""
        newest = self._newest.get(source)
        if newest is not None and newest.id != after_id:
            return newest
        waiting = self._new.setdefault(source, asyncio.Event())
        try:
            async with asyncio.timeout(timeout):
                await waiting.wait()
        except TimeoutError:
            return None
        return self._newest.get(source)
