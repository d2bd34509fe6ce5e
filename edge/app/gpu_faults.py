"""Faults of the GPU, counted over restarts: too many within an hour, and the processor looks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from edge.control.commands.ledger import Ledger
from edge.errors import PartFailed, TryLater

log = logging.getLogger(__name__)

WINDOW = 3600.0
"""Seconds for which a fault counts."""
_NAME = "gpu faults"
_KEPT = 100


class GpuFaults:
    """Counts them. ``open`` it once the spool is open.

    Args:
        most: as many within an hour are too many.

    """

    def __init__(self, most: int, *, clock: Callable[[], float] = time.time) -> None:
        self._ledger: Ledger | None = None
        self.most = most
        self._clock = clock
        self._times: list[float] = []

    async def open(self, ledger: Ledger) -> None:
        """Read what earlier runs met; ``ledger`` keeps the count from now on."""
        self._ledger = ledger
        try:
            kept = await ledger.kept(_NAME)
        except (PartFailed, ValueError) as error:
            log.warning("earlier faults of the GPU cannot be read: %s", error)
            return
        if isinstance(kept, list):
            self._times = [float(one) for one in kept if isinstance(one, int | float)]

    def recent(self) -> int:
        """Return how many there were within the last hour."""
        now = self._clock()
        # a clock that was set back must not make an old fault eternal, nor a new one nothing
        return sum(abs(now - one) < WINDOW for one in self._times)

    @property
    def too_many(self) -> bool:
        """Whether the GPU is left alone."""
        return self.recent() >= self.most

    async def note(self) -> None:
        """Count one more. A full disk does not keep the box from stopping."""
        self._times = [*self._times, self._clock()][-_KEPT:]
        if self._ledger is None:
            return
        try:
            await self._ledger.keep(_NAME, self._times)
        except (TryLater, PartFailed) as error:
            log.warning("a fault of the GPU is not counted: %s", error)
