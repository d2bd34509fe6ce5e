"""Beats: signs from inside each part's work that it moves; the watchdog lives on fresh ones."""

from __future__ import annotations

import time
from collections.abc import Callable

Age = Callable[[], float | None]
"""Seconds since a part last moved; None while it has nothing to do."""


class Beats:
    """How long each part may go without moving, and who has exceeded that."""

    def __init__(self) -> None:
        self._parts: dict[str, tuple[Age, float]] = {}

    def watch(self, name: str, age: Age, limit: float) -> None:
        """Watch a part: ``age`` says how long ago it moved, ``limit`` is the most (seconds)."""
        self._parts[name] = (age, limit)

    def stale(self) -> list[str]:
        """Name the parts that have work and do not move, in words."""
        late = []
        for name, (age, limit) in self._parts.items():
            seconds = age()
            if seconds is not None and seconds > limit:
                late.append(f"{name} has not moved for {seconds:.0f} s")
        return late


class LoopLag:
    """How late the event loop runs. ``tick`` every second from a task on the loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()

    def tick(self, period: float) -> float:
        """Return how many seconds later than ``period`` after the last tick this one is."""
        now = self._clock()
        late = max(0.0, now - self._last - period)
        self._last = now
        return late
