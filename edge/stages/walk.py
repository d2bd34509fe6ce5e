"""The walk of one picture: decode, black out, detect, redact, gate, keep. ``redact`` as a handler.

::

      in a worker of the pool                                     on the loop
    [ decode > black out > detect > redact > gate (encode) ] --> [ my turn? > outbox ]

Between the steps there is no queue: a 1080p frame is 6 MB. Pictures of one source may be worked on
at the same time, but reach the outbox in the order in which they were handed in.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from edge.config.privacy import Policy
from edge.contracts import Engine, Gate, Keeper, Picture
from edge.errors import TryLater
from edge.event import FRAME_TAKEN, Event, Outcome
from edge.frame import Encoded, Frame
from edge.ops.metrics import Metrics
from edge.parcel import Parcel
from edge.stages.blackout import blackout
from edge.stages.decode import decode
from edge.stages.detect import detect
from edge.stages.engines.holder import EngineHolder
from edge.stages.pool import PicturePool
from edge.stages.redact import redact

T = TypeVar("T")


class Redact:
    """The handler that makes a parcel of a picture. Keeps ``contracts.Handler``.

    Args:
        metrics: where times and counts go.
        pool: where the work is done.
        holder: who looks.
        gate: the only maker of parcels.
        keeper: the outbox; what it has taken is durable.
        policy_for: the policy of a source, by its name.
        max_pixels: larger picture files are refused before they are decoded.

    """

    def __init__(
        self,
        metrics: Metrics,
        *,
        pool: PicturePool,
        holder: EngineHolder,
        gate: Gate,
        keeper: Keeper,
        policy_for: Callable[[str], Policy],
        max_pixels: int,
    ) -> None:
        self._metrics = metrics
        self._pool = pool
        self._holder = holder
        self._gate = gate
        self._keeper = keeper
        self._policy_for = policy_for
        self._max_pixels = max_pixels
        #: told of each new parcel once it is durable (live preview, finished uploads)
        self.made: list[Callable[[Parcel], None]] = []
        #: why the outbox took nothing the last time, in words; empty where it did
        self.no_room = ""
        #: how long the last detections took, in seconds
        self.detect_seconds: deque[float] = deque(maxlen=100)
        #: the newest turn of each source: who comes later waits for it
        self._turns: dict[str, asyncio.Future[None]] = {}

    async def __call__(self, event: Event[Picture]) -> Outcome:
        """Redact one picture; the parcel is durable when it returns."""
        before, turn = self._queue_up(event.source)
        try:
            engine = self._holder.lend()
            parcel = await self._pool.run(lambda: self._carry(event, engine))
            if before is not None and not before.done():
                await asyncio.wait([before])
            return await self._keep(event, parcel)
        finally:
            self._pass_turn(event.source, before, turn)

    def _queue_up(self, source: str) -> tuple[asyncio.Future[None] | None, asyncio.Future[None]]:
        before = self._turns.get(source)
        turn = asyncio.get_running_loop().create_future()
        self._turns[source] = turn
        return before, turn

    def _pass_turn(
        self, source: str, before: asyncio.Future[None] | None, turn: asyncio.Future[None]
    ) -> None:
        if before is not None and not before.done():
            # It ended early (withheld, dropped): whoever comes next still waits for those before.
            before.add_done_callback(lambda _: self._pass_turn(source, None, turn))
            return
        turn.set_result(None)
        if self._turns.get(source) is turn:
            del self._turns[source]

    def _carry(self, event: Event[Picture], engine: Engine) -> Parcel:
        frame = self._as_frame(event)
        policy = self._policy_for(frame.source)
        frame = blackout(frame, policy.blackout)
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

    async def _keep(self, event: Event[Picture], parcel: Parcel) -> Outcome:
        started = time.perf_counter()
        try:
            new = await self._keeper.put(parcel)
        except TryLater as error:
            self.no_room = str(error)
            raise
        self.no_room = ""
        self._metrics.stage_seconds.labels("keep").observe(time.perf_counter() - started)
        if not new:
            return Outcome.DUPLICATE
        self._metrics.pictures_redacted.labels(parcel.source).inc()
        age = (datetime.now(UTC) - parcel.taken_at).total_seconds()
        self._metrics.picture_age_seconds.labels(parcel.source).observe(age)
        for tell in self.made:
            tell(parcel)
        return Outcome.DONE

    def _timed(self, stage: str, step: Callable[[], T]) -> T:
        started = time.perf_counter()
        result = step()
        seconds = time.perf_counter() - started
        self._metrics.stage_seconds.labels(stage).observe(seconds)
        if stage == "detect":
            self.detect_seconds.append(seconds)
        return result
