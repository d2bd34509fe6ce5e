"""How fast messages go while they are sent without a break, and how fast new ones come."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

FORGET_S = 60.0
"""After so many seconds of sending, what was measured before counts half."""
INFLOW_S = 600.0
"""Over about so long the inflow is smoothed."""
SHORTEST_S = 5.0


class Rates:
    """Bytes and messages a second, measured.

    Args:
        monotonic: seconds that never jump.

    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._now = monotonic
        self._bytes = self._messages = self._seconds = 0.0
        self._lap_at: float | None = None
        self._produced: int | None = None
        self._looked_at = 0.0
        #: bytes a second that were noted, smoothed
        self.inflow = 0.0

    def lap(self, messages: int, size: int, *, more: bool) -> None:
        """Count what was acknowledged since the last lap.

        Args:
            messages: how many.
            size: their bytes.
            more: more is ready to be sent at once: the time until the next lap counts.

        """
        now, before = self._now(), self._lap_at
        if before is not None:
            self._bytes += size
            self._messages += messages
            self._seconds += now - before
            if self._seconds > FORGET_S:
                self._bytes, self._messages = self._bytes / 2, self._messages / 2
                self._seconds /= 2
        self._lap_at = now if more else None

    def broken(self) -> None:
        """Leave out the time until the next lap: sending was held up."""
        self._lap_at = None

    @property
    def bytes(self) -> float:
        """Bytes a second while sending; 0: not known yet."""
        return self._bytes / self._seconds if self._seconds > 0 else 0.0

    @property
    def messages(self) -> float:
        """Messages a second while sending; 0: not known yet."""
        return self._messages / self._seconds if self._seconds > 0 else 0.0

    def look(self, produced: int) -> None:
        """Measure the inflow.

        Args:
            produced: bytes that were ever noted.

        """
        now = self._now()
        if self._produced is None:
            self._produced, self._looked_at = produced, now
        past = now - self._looked_at
        if past < SHORTEST_S:
            return
        weight = 1 - math.exp(-past / INFLOW_S)
        self.inflow += weight * ((produced - self._produced) / past - self.inflow)
        self._produced, self._looked_at = produced, now
