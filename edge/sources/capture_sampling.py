"""Which frames of a stream are wanted, and when a file's frame is due. Pure arithmetic."""

from __future__ import annotations

_SLACK = 0.01
"""Seconds. A frame that comes so little too early is taken: cameras jitter."""
_JUMP = 10.0
"""Seconds. A file whose time jumps further than this, or back, is paced from there on anew."""


class Sampling:
    """Takes every n-th frame, and of those at most ``fps`` a second, evenly and without drift."""

    def __init__(self, every: int, fps: float | None) -> None:
        self._every = every
        self._period = 1.0 / fps if fps else 0.0
        self._seen = 0
        self._due: float | None = None

    def wants(self, at: float) -> bool:
        """Tell whether the next frame, of time ``at`` in seconds, is wanted."""
        number = self._seen
        self._seen += 1
        if number % self._every:
            return False
        return not self._period or self._is_due(at)

    def _is_due(self, at: float) -> bool:
        if self._due is None or at < self._due - 2 * self._period:
            self._due = at  # the first frame, or time went back
        if at < self._due - min(_SLACK, 0.25 * self._period):
            return False
        # On the grid of periods the mean rate is exact; after a gap the grid begins anew.
        late = at - self._due
        self._due = (at if late > self._period else self._due) + self._period
        return True


class Pace:
    """Plays a file at its own speed, by its timestamps (variable frame rates included)."""

    def __init__(self) -> None:
        self._start: float | None = None
        self._position = 0.0

    def wait(self, position: float, now: float) -> float:
        """Return the seconds until the frame at ``position`` seconds is due; 0 if it is late."""
        jumped = not 0 <= position - self._position <= _JUMP
        if self._start is None or jumped:
            self._start = now - position
        self._position = position
        return max(0.0, self._start + position - now)
