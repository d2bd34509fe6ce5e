"""The demonstration camera: a drawn building site, for a box with nothing plugged in."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from edge.config.sources import SceneConfig
from edge.contracts import Picture, SourceStatus
from edge.event import FRAME_TAKEN, Event, Outcome
from edge.frame import Frame
from edge.ops.metrics import Metrics
from edge.sources.scene_drawing import SceneDrawing

_WINDOW = 5.0
"""Seconds over which frames a second are measured."""


class Scene:
    """A live source that draws its frames: one when due, none in between, never an old one.

    Frame ``k`` shows the scene at ``k / fps`` seconds and is due that long after the start, so the
    scene never drifts; a caller that is late gets the frame that is due now.

    Args:
        name: the source's name.
        config: its section.
        metrics: where pictures are counted.
        origin: ``/{site}/{node}``, in front of the name in an event's ``source``.

    """

    live = True

    def __init__(self, name: str, config: SceneConfig, *, metrics: Metrics, origin: str) -> None:
        self.name = name
        self._config = config
        self._metrics = metrics
        self._source = f"{origin.rstrip('/')}/{name}"
        self._closed = asyncio.Event()
        self._state = "connecting"
        self._last: datetime | None = None
        self._counts = {"offered": 0, "skipped": 0}
        self._times: deque[float] = deque()

    async def events(self) -> AsyncIterator[Event[Picture]]:
        """Yield frames at the configured pace until closed."""
        loop = asyncio.get_running_loop()
        config = self._config
        with ThreadPoolExecutor(1, f"scene-{self.name}") as pencil:
            drawing = await loop.run_in_executor(
                pencil, SceneDrawing, config.seed, config.width, config.height, config.people
            )
            self._state = "streaming"
            self._metrics.source_up.labels(self.name).set(1)
            start, index = loop.time(), -1
            try:
                while not await self._wait_until(start + (index + 1) / config.fps):
                    due = max(index + 1, math.floor((loop.time() - start) * config.fps))
                    self._counts["skipped"] += due - index - 1
                    index = due
                    taken_at = datetime.now(UTC)
                    pixels, _, _ = await loop.run_in_executor(
                        pencil, drawing.draw, index, config.fps
                    )
                    self._count(loop.time(), taken_at)
                    yield self._event(
                        Frame(pixels=pixels, taken_at=taken_at, source=self.name, subject=self.name)
                    )
            finally:
                self._state = "finished"
                self._metrics.source_up.labels(self.name).set(0)

    async def settle(self, event: Event[Picture], outcome: Outcome, reason: str = "") -> None:
        """Nothing is kept, so nothing is forgotten."""

    async def close(self) -> None:
        self._closed.set()

    def status(self) -> SourceStatus:
        now = asyncio.get_running_loop().time()
        while self._times and self._times[0] < now - _WINDOW:
            self._times.popleft()
        span = now - self._times[0] if self._times else 0.0
        return SourceStatus(
            name=self.name,
            kind="scene",
            state=self._state,
            where=f"drawn, seed {self._config.seed}",
            last_picture_at=self._last,
            counts=dict(self._counts),
            fps=round((len(self._times) - 1) / span, 1) if len(self._times) > 1 else 0.0,
            size=(self._config.width, self._config.height),
        )

    async def _wait_until(self, due: float) -> bool:
        """Wait for a moment of the loop's clock; True if the source was closed instead."""
        wait = due - asyncio.get_running_loop().time()
        if wait > 0 and not self._closed.is_set():
            try:
                await asyncio.wait_for(self._closed.wait(), wait)
            except TimeoutError:
                return False
        return self._closed.is_set()

    def _count(self, now: float, taken_at: datetime) -> None:
        self._times.append(now)
        self._last = taken_at
        self._counts["offered"] += 1
        self._metrics.pictures_taken.labels(self.name).inc()

    def _event(self, frame: Frame) -> Event[Picture]:
        return Event(
            id=f"{self.name}-{frame.taken_at:%Y%m%dT%H%M%S.%fZ}",
            source=self._source,
            type=FRAME_TAKEN,
            subject=self.name,
            time=frame.taken_at,
            data=frame,
        )
