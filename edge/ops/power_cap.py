"""A cap on power: how many of the live cameras' frames are taken. Arithmetic without a clock.

Cameras ask in their own threads, others on the loop.

The share of frames falls to 0.8 of itself while the cap is exceeded, and rises to 1.1 of itself
while less than 0.9 of it is used; between the two it rests. As power grows at most as fast as the
share (a part of it is used by a box at rest), a rise from under 0.9 ends under 0.99 of the cap: it
never has to be taken back, and the share does not swing.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from statistics import fmean

SETTLE = 5.0
"""Seconds over which power is averaged, and for which a change may take effect."""
LOWER, RAISE, REST = 0.8, 1.1, 0.9
LEAST = 0.01


@dataclass(slots=True)
class _Source:
    #: moments at which its newest frame came, and at which one was taken
    came: float
    taken: float
    #: frames that the share owes it; one is taken when this reaches 1
    credit: float = 0.0


class PowerCap:
    """Decides which frames are taken.

    Args:
        cap: watts.
        least_fps: pictures a second that every source keeps, in so far as it brings them.

    """

    def __init__(self, cap: float, least_fps: float) -> None:
        self.cap = cap
        #: of the frames that come, so many are to be taken: above 0, up to 1
        self.share = 1.0
        #: so many were, over the last seconds; more than that where sources are at their least
        self.taken = 1.0
        #: mean over the last seconds; None: not known yet, or no longer
        self.watts: float | None = None
        #: the cap is exceeded and nothing is left to lower: each source is at its least, or none
        #: is live
        self.spent = False
        self._lock = threading.Lock()
        self._longest = 1 / least_fps
        self._sources: dict[str, _Source] = {}
        self._measured: list[float] = []
        self._began: float | None = None
        #: frames taken since the last change that a lower share would leave out
        self._to_spare = 0
        self._came = self._took = 0

    @property
    def kept(self) -> bool | None:
        """Whether power is under the cap; None: not known."""
        return None if self.watts is None else self.watts <= self.cap

    def measured(self, watts: float | None, now: float) -> None:
        """Hear what the machine takes, once a second or so.

        Args:
            watts: of all that is measured; None: not known, and the share rests where it is.
            now: seconds of a monotonic clock.

        """
        with self._lock:
            self._hear(watts, now)

    def _hear(self, watts: float | None, now: float) -> None:
        if watts is None:
            self.watts, self._measured, self._began = None, [], None
            return
        if self._began is None:
            self._began = now
        self._measured.append(watts)
        if now - self._began >= SETTLE:
            self.watts = fmean(self._measured)
            self._change(self.watts)
            if self._came:
                self.taken = self._took / self._came
            self._measured, self._began = [], now
            self._to_spare = self._came = self._took = 0

    def _change(self, watts: float) -> None:
        self.spent = watts > self.cap and not self._to_spare
        if watts > self.cap and not self.spent:
            self.share = max(LEAST, self.share * LOWER)
        elif watts < self.cap * REST:
            self.share = min(1.0, self.share * RAISE)

    def wants(self, name: str, now: float) -> bool:
        """Tell whether the frame that a source brings now is taken.

        Args:
            name: of the source.
            now: seconds of a monotonic clock.

        """
        with self._lock:
            return self._wants(name, now)

    def _wants(self, name: str, now: float) -> bool:
        source = self._sources.setdefault(name, _Source(now, float("-inf")))
        # a frame that is not taken is followed by another one about as much later
        late = now + (now - source.came) - source.taken > self._longest
        source.came = now
        source.credit += self.share
        self._came += 1
        if source.credit < 1 and not late:
            return False
        self._took += 1
        self._to_spare += not late
        source.credit = max(0.0, source.credit - 1)
        source.taken = now
        return True
