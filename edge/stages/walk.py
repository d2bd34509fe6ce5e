"""The walk of one picture: decode, black out, detect, redact, gate. ``redact`` as a handler.

::

      in a worker of the pool
    [ decode > black out > detect > redact > gate (encode) ] --> a parcel, which the bus keeps

Between the steps there is no queue: a 1080p frame is 6 MB.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from edge.config.privacy import Policy
from edge.contracts import Engine, Gate, Picture
from edge.errors import Rejected
from edge.event import FRAME_TAKEN, Event
from edge.frame import Encoded, Frame
from edge.ops.metrics import Metrics
from edge.parcel import Parcel
from edge.stages.blackout import blackout
from edge.stages.decode import decode
from edge.stages.detect import detect
from edge.stages.engines.holder import EngineHolder
from edge.stages.pool import PicturePool
from edge.stages.redact import redact
from edge.stages.urgency import Urgency, carrying

T = TypeVar("T")

_TURN = 0.9
"""Share of a picture's time after which its turn at the engine need not come any more. Less than
all: that the engine is busy is told before the pool concludes that it hangs."""


class Redact:
    """The handler that makes a parcel of a picture. Keeps ``contracts.Handler``.

    Args:
        metrics: where times and counts go.
        pool: where the work is done.
        holder: who looks.
        gate: the only maker of parcels.
        policy_for: the policy of a source, by its name.
        max_pixels: larger picture files are refused before they are decoded.
        priority_for: of a source, by its name; higher goes first where pictures wait for an engine.

    """

    where = "edge:redact"
    sees_pictures = True

    def __init__(
        self,
        metrics: Metrics,
        *,
        pool: PicturePool,
        holder: EngineHolder,
        gate: Gate,
        policy_for: Callable[[str], Policy],
        max_pixels: int,
        priority_for: Callable[[str], int] = lambda _: 0,
    ) -> None:
        self._metrics = metrics
        self._pool = pool
        self._holder = holder
        self._gate = gate
        self._policy_for = policy_for
        self._max_pixels = max_pixels
        self._priority_for = priority_for
        # Where a GPU looks there are more workers than cores. A picture file may be as large as
        # max_pixels once it is decoded, so no more of them are than there are at first.
        self._files = asyncio.Semaphore(pool.workers)
        #: how long the last detections took, in seconds
        self.detect_seconds: deque[float] = deque(maxlen=100)

    async def __call__(self, event: Event[Any]) -> Parcel:
        """Redact one picture.

        Raises:
            Rejected: ``not_a_picture`` (the event brings none), or the picture cannot be read.
            Withheld: it cannot be shown to be safe. PartFailed: the engine broke. TryLater: it is
                not up, or had no time.

        """
        if not isinstance(event.data, Frame | Encoded):
            raise Rejected(
                f"{event.type} brings no picture to redact",
                hint="give the trigger a filter on the types of pictures",
                reason="not_a_picture",
            )
        if isinstance(event.data, Frame):
            return await self._run(event)
        async with self._files:
            return await self._run(event)

    async def close(self) -> None:
        """Nothing is held here."""

    async def _run(self, event: Event[Picture]) -> Parcel:
        urgency = Urgency(
            self._priority_for(event.data.source), time.monotonic() + _TURN * self._pool.limit
        )
        with self._holder.lend() as engine:
            return await self._pool.run(lambda: self._carry(event, engine, urgency))

    def _carry(self, event: Event[Picture], engine: Engine, urgency: Urgency) -> Parcel:
        frame = self._as_frame(event)
        policy = self._policy_for(frame.source)
        frame = blackout(frame, policy.blackout)
        with carrying(urgency):
            sighting = self._timed("detect", lambda: detect(frame, engine))
        redaction = self._timed("redact", lambda: redact(sighting, policy))
        parcel = self._timed("encode", lambda: self._gate.release(event, sighting, redaction))
        self._metrics.people_covered.labels(frame.source).inc(len(redaction.covered))
        return parcel

    def _as_frame(self, event: Event[Picture]) -> Frame:
        picture = event.data
        if not isinstance(picture, Encoded):
            return picture
        frame = self._timed("decode", lambda: decode(picture, max_pixels=self._max_pixels))
        # A replayed folder is a stream of picture files: what came before it counts.
        return replace(frame, live=event.type == FRAME_TAKEN)

    def _timed(self, stage: str, step: Callable[[], T]) -> T:
        started = time.perf_counter()
        result = step()
        seconds = time.perf_counter() - started
        self._metrics.stage_seconds.labels(stage).observe(seconds)
        if stage == "detect":
            self.detect_seconds.append(seconds)
        return result
