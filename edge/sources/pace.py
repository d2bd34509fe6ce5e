"""The pace of a stream that makes its own frames: when each is due, and how many there were."""

from __future__ import annotations

import asyncio
import math
from collections import deque

_WINDOW = 5.0
"""Seconds over which frames a second are measured."""


class Pace:
    """Says which frame is due. Frame ``k`` is due ``k / fps`` seconds after the first: no drift.

    Whoever is late gets the frame that is due now; those in between are skipped and counted.
    """

    def __init__(self, fps: float, closed: asyncio.Event) -> None:
        self._fps = fps
        self._closed = closed
        self._start: float | None = None
        self._index = -1
        #: frames that nobody came for in time
        self.skipped = 0

    async def next(self) -> int | None:
        """Wait until a frame is due and return its index; None once the source was closed."""
        loop = asyncio.get_running_loop()
        if self._start is None:
            self._start = loop.time()
        if await self._closed_before(self._start + (self._index + 1) / self._fps):
            return None
        due = max(self._index + 1, math.floor((loop.time() - self._start) * self._fps))
        self.skipped += due - self._index - 1
        self._index = due
        return due

    async def _closed_before(self, due: float) -> bool:
        wait = due - asyncio.get_running_loop().time()
        if wait > 0 and not self._closed.is_set():
            try:
                async with asyncio.timeout(wait):
                    await self._closed.wait()
            except TimeoutError:
                return False
        return self._closed.is_set()


class Rate:
    """Frames a second over the last seconds."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def count(self, now: float) -> None:
        """Count one frame at a moment of a monotonic clock."""
        self._times.append(now)
        self._forget(now)

    def at(self, now: float) -> float:
        """Return the rate as of now; it falls to nothing when frames stop."""
        self._forget(now)
        if len(self._times) < 2:
            return 0.0
        return round((len(self._times) - 1) / max(now - self._times[0], 1e-3), 1)

    def _forget(self, now: float) -> None:
        while self._times and self._times[0] < now - _WINDOW:
            self._times.popleft()
