"""The demonstration camera: a drawn building site, for a box with nothing plugged in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from edge.config.sources import SceneConfig
from edge.contracts import Picture, SourceStatus
from edge.event import FRAME_TAKEN, Event, Outcome
from edge.frame import Frame, Pixels
from edge.ops.metrics import Metrics
from edge.sources.pace import Pace, Rate
from edge.sources.scene_drawing import SceneDrawing


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
        self._pace, self._rate = Pace(config.fps, self._closed), Rate()
        self._state = "connecting"
        self._last: datetime | None = None
        self._offered = 0

    async def events(self) -> AsyncIterator[Event[Picture]]:
        """Yield frames at the configured pace until closed."""
        loop, config = asyncio.get_running_loop(), self._config
        with ThreadPoolExecutor(1, f"scene-{self.name}") as pencil:
            drawing = await loop.run_in_executor(
                pencil, SceneDrawing, config.seed, config.width, config.height, config.people
            )
            self._state = "streaming"
            self._metrics.source_up.labels(self.name).set(1)
            try:
                while (index := await self._pace.next()) is not None:
                    taken_at = datetime.now(UTC)
                    pixels, _, _ = await loop.run_in_executor(
                        pencil, drawing.draw, index, config.fps
                    )
                    self._count(taken_at)
                    yield self._event(pixels, taken_at)
            finally:
                self._state = "finished"
                self._metrics.source_up.labels(self.name).set(0)

    async def settle(self, event: Event[Picture], outcome: Outcome, reason: str = "") -> None:
        """Nothing is kept, so nothing is forgotten."""

    async def close(self) -> None:
        self._closed.set()

    def status(self) -> SourceStatus:
        return SourceStatus(
            name=self.name,
            kind="scene",
            state=self._state,
            where=f"drawn, seed {self._config.seed}",
            last_picture_at=self._last,
            counts={"offered": self._offered, "skipped": self._pace.skipped},
            fps=self._rate.at(time.monotonic()),
            size=(self._config.width, self._config.height),
        )

    def _count(self, taken_at: datetime) -> None:
        self._rate.count(time.monotonic())
        self._last = taken_at
        self._offered += 1
        self._metrics.pictures_taken.labels(self.name).inc()

    def _event(self, pixels: Pixels, taken_at: datetime) -> Event[Picture]:
        return Event(
            id=f"{self.name}-{taken_at:%Y%m%dT%H%M%S.%fZ}",
            source=self._source,
            type=FRAME_TAKEN,
            subject=self.name,
            time=taken_at.isoformat(),
            data=Frame(pixels=pixels, taken_at=taken_at, source=self.name, subject=self.name),
        )
