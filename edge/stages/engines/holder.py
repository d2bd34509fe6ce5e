"""The holder of the engine: who looks now, whether it may be believed, and how it comes back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import numpy as np

from edge.contracts import Engine
from edge.detections import EngineInfo
from edge.errors import PartFailed, TryLater, Withheld
from edge.ops.metrics import Metrics

log = logging.getLogger(__name__)


class EngineHolder:
    """Opens the engine, lends it out, and opens it anew after it broke.

    ``run`` is for the supervisor. While there is no engine, ``lend`` raises: no picture passes.
    """

    def __init__(self, open_engine: Callable[[], Awaitable[Engine]], metrics: Metrics) -> None:
        self._open = open_engine
        self._metrics = metrics
        self._engine: Engine | None = None
        self._failure: PartFailed | None = None
        self._over = asyncio.Event()
        #: facts of the newest engine, also while it is down
        self.info: EngineInfo | None = None

    def lend(self) -> Engine:
        """Return the engine.

        Raises:
            TryLater: there is none now (``reason`` ``engine_down``).

        """
        if self._engine is None:
            raise TryLater("no engine is up, so no picture can be judged", reason="engine_down")
        return self._engine

    def qualifies(self, info: EngineInfo) -> bool:
        """Tell whether what this engine said still counts: it is the one that serves now."""
        return self._engine is not None and self._engine.info is info

    @property
    def up(self) -> bool:
        """Whether an engine serves now."""
        return self._engine is not None

    def broke(self, error: PartFailed) -> None:
        """Take the engine out of service; the supervisor opens it anew."""
        self._metrics.engine_failures.labels(error.reason).inc()
        if self._engine is not None:
            self._down()
            self._failure = error
            self._over.set()

    def reopen(self) -> None:
        """Open the engine anew, because a better one has become available."""
        self._over.set()

    async def run(self, up: Callable[[], None]) -> None:
        """Open, warm up, serve; return never.

        Raises:
            PartFailed: it broke, or could not be opened. Fatal: as the opener says.

        """
        while True:
            engine = await self._open()
            try:
                await asyncio.to_thread(warm_up, engine)
                self._serve(engine)
                up()
                await self._over.wait()
            finally:
                self._down()
                # A call that hangs may still be inside: the engine is let go, not closed under it.
                if self._failure is None or self._failure.reason != "timeout":
                    await asyncio.to_thread(engine.close)
            if self._failure is not None:
                raise self._failure

    def _serve(self, engine: Engine) -> None:
        self._over.clear()
        self._failure = None
        self._engine, self.info = engine, engine.info
        self._metrics.engine_ready.labels(engine.info.name, engine.info.model).set(1)
        self._metrics.safe_mode.set(engine.info.safe_mode)
        log.info("engine %s looks with model %s", engine.info.name, engine.info.model)

    def _down(self) -> None:
        self._engine = None
        if self.info is not None:
            self._metrics.engine_ready.labels(self.info.name, self.info.model).set(0)


def warm_up(engine: Engine) -> None:
    """Run one grey picture through, so that the first real one is not the slow one.

    Raises:
        PartFailed: it does not answer.

    """
    width, height = engine.info.input_size
    grey = np.full((1, height, width, 3), 114, np.uint8)
    try:
        answer = engine.infer(grey, (None,))
    except Withheld:  # safe mode: it cannot judge a still picture, and says so
        return
    if len(answer) != 1:
        raise PartFailed(
            f"engine {engine.info.name} gave {len(answer)} answers to one picture",
            reason="wrong_shape",
        )
