"""The supervisor keeps one part alive, reopens it with back-off, and says so once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from edge.errors import Fatal, PartFailed
from edge.ops.backoff import Backoff
from edge.ops.metrics import Metrics

log = logging.getLogger(__name__)

BUGS_IN_A_ROW = 10
"""As many unforeseen exceptions without a success between them end the process."""


@dataclass(slots=True)
class PartState:
    """How a supervised part is; read by the status page."""

    name: str
    #: ``opening``, ``up``, ``waiting`` or ``ended``
    state: str = "opening"
    reason: str = ""
    hint: str = ""
    restarts: int = 0


class Supervisor:
    """Runs a part for ever: ``run`` opens it, works, and raises ``PartFailed`` when it breaks.

    ``run`` calls the function it is given as soon as the part is up; that resets the back-off.
    """

    def __init__(self, metrics: Metrics, *, first: float = 0.5, most: float = 30.0) -> None:
        self._metrics = metrics
        self._first, self._most = first, most
        self.parts: dict[str, PartState] = {}

    async def keep(self, name: str, run: Callable[[Callable[[], None]], Awaitable[None]]) -> None:
        """Run ``run(up)`` until it returns; reopen it when it fails.

        Raises:
            Fatal: as raised by the part, or after ten unforeseen exceptions in a row.

        """
        life = _Life(self.parts.setdefault(name, PartState(name)), Backoff(self._first, self._most))
        while True:
            try:
                await run(life.up)
            except PartFailed as error:
                life.failed(error)
            except Fatal:
                raise
            except Exception as error:
                self._metrics.bugs.inc()
                log.exception("%s met a bug", name)
                life.met_bug(error)
            else:
                life.part.state = "ended"
                return
            self._metrics.part_restarts.labels(name).inc()
            await asyncio.sleep(life.wait())


@dataclass(slots=True)
class _Life:
    """One part's ups and downs."""

    part: PartState
    backoff: Backoff
    bugs: int = 0

    def up(self) -> None:
        self.bugs = 0
        self.part.state, self.part.reason, self.part.hint = "up", "", ""
        failures = self.backoff.reset()
        if failures:
            log.info("%s recovered after %d failures", self.part.name, failures)

    def failed(self, error: PartFailed) -> None:
        self.part.reason, self.part.hint = str(error), error.hint
        if not self.backoff.tries:
            log.warning("%s failed: %s. %s", self.part.name, error, error.hint)

    def met_bug(self, error: Exception) -> None:
        self.bugs += 1
        self.part.reason, self.part.hint = repr(error), "this is a bug in Edge; see the log"
        if self.bugs >= BUGS_IN_A_ROW:
            raise Fatal(f"{self.part.name}: {self.bugs} bugs in a row", hint="see the log")

    def wait(self) -> float:
        self.part.state = "waiting"
        self.part.restarts += 1
        return self.backoff.next()
