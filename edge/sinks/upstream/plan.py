"""The bandwidth plan: how many bytes a second and a day, and when; what goes whatever it says.

Who sends asks ``may`` and then says ``spend``; all that is sent is counted, also what always goes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from edge.config.mqtt import UpstreamConfig, minutes

DAY_S = 86_400
DAY_MIN = 1440
STEP_MIN = 10
"""How finely the time is looked at when the end of a backlog is estimated."""
PICTURE = "picture"
"""Stands for the class of what goes to the store."""


class Plan:
    """Says when something may be sent.

    Args:
        config: ``rate``, ``per_day``, ``windows`` and ``always`` of ``[upstream]``.
        clock: seconds since the epoch.
        local: the box's own clock, as ``time.localtime``: its time of day is that of ``windows``.

    """

    def __init__(
        self,
        config: UpstreamConfig,
        clock: Callable[[], float] = time.time,
        *,
        local: Callable[[float], time.struct_time] = time.localtime,
    ) -> None:
        self._clock, self._local = clock, local
        self._tokens, self._filled_at = math.inf, clock()
        self._day, self._spent = self._today(), 0
        self._unsaved = 0
        self._opens: tuple[int, float] = (-1, 0.0)
        self._hurried = False
        self.change(config)

    def change(self, config: UpstreamConfig) -> None:
        """Go by another plan from now on; what was spent today counts."""
        self._config = config
        self._windows = [minutes(window) for window in config.windows]
        self._tokens = min(self._tokens, float(config.rate))
        self._opens = (-1, 0.0)
        #: whether all may go at any time: nothing needs to be asked
        self.free = not (config.rate or config.per_day or config.windows)

    # -- what may go

    def may(self, kind: str, size: int) -> float:
        """Return how many seconds something must wait; 0: it may go now.

        Args:
            kind: its class, or ``PICTURE``.
            size: its bytes.

        """
        if self.free or self._hurried or self.always(kind):
            return 0.0
        return max(self._rate_wait(), self._day_wait(size), self.opens_in())

    def gate(self, size: int) -> float:
        """Return how many seconds a picture must wait; 0: it goes now, and is counted."""
        wait = self.may(PICTURE, size)
        if not wait:
            self.spend(size)
        return wait

    def always(self, kind: str) -> bool:
        """Tell whether something goes whatever the plan says."""
        return kind in self._config.always or (kind == PICTURE and not self._config.pictures)

    def why(self, size: int = 0) -> str:
        """Return what holds up what can wait: ``window``, ``budget``, ``rate`` or nothing."""
        if self.free or self._hurried:
            return ""
        if self.opens_in():
            return "window"
        if self._day_wait(size):
            return "budget"
        return "rate" if self._rate_wait() else ""

    def hurry(self, yes: bool) -> None:  # noqa: FBT001 (it is on or off)
        """Let all go now, until told otherwise: somebody asked for it. It is counted."""
        self._hurried = yes

    @property
    def hurried(self) -> bool:
        """Whether all goes now."""
        return self._hurried

    def spend(self, size: int) -> None:
        """Count what was sent, whatever it was."""
        self._roll()
        self._spent += size
        self._unsaved += size
        if self._config.rate:
            self._fill()
            self._tokens -= size

    # -- what was spent

    @property
    def spent(self) -> int:
        """Bytes that were spent today (UTC)."""
        self._roll()
        return self._spent

    def restore(self, spent: int) -> None:
        """Remember what an earlier life spent today."""
        self._roll()
        self._spent = max(self._spent, spent)

    def unsaved(self) -> int:
        """Return the bytes that were spent since this was asked last: to be written down."""
        size, self._unsaved = self._unsaved, 0
        return size

    # -- windows

    def opens_in(self) -> float:
        """Return the seconds until what can wait may go by the clock; 0: now, or no windows."""
        if not self._windows:
            return 0.0
        now = self._clock()
        minute = int(now // 60)
        if self._opens[0] != minute:
            self._opens = (minute, self._next_opening(minute))
        return max(0.0, self._opens[1] - now)

    def _next_opening(self, minute: int) -> float:
        # By the minute, as people write it; on days with 23 or 25 hours, too.
        for ahead in range(2 * DAY_MIN):
            if self._is_open((minute + ahead) * 60.0):
                return (minute + ahead) * 60.0
        return math.inf

    def _is_open(self, at: float) -> bool:
        if not self._windows:
            return True
        local = self._local(at)
        now = local.tm_hour * 60 + local.tm_min
        return any(
            begin <= now < end if begin < end else now >= begin or now < end
            for begin, end in self._windows
        )

    # -- rate and budget

    def _rate_wait(self) -> float:
        rate = self._config.rate
        if not rate:
            return 0.0
        self._fill()
        # a message may be larger than what comes in a second: it goes, and the next ones wait
        return 0.0 if self._tokens > 0 else -self._tokens / rate + 1e-3

    def _fill(self) -> None:
        now, rate = self._clock(), self._config.rate
        # a clock that was set back must not stop it
        past = max(0.0, now - self._filled_at)
        self._tokens, self._filled_at = min(float(rate), self._tokens + past * rate), now

    def _day_wait(self, size: int) -> float:
        limit = self._config.per_day
        if not limit:
            return 0.0
        self._roll()
        # one that is larger than a day's bytes goes when nothing went that day
        if self._spent + size <= limit or self._spent == 0:
            return 0.0
        return (self._today() + 1) * DAY_S - self._clock()

    def _today(self) -> int:
        return int(self._clock() // DAY_S)

    def _roll(self) -> None:
        today = self._today()
        if today != self._day:
            self._day, self._spent = today, 0

    # -- estimate

    def estimate(self, backlog: int, drain: float, inflow: float = 0.0) -> float | None:
        """Return in how many seconds a backlog is through; None: never, at this rate.

        Args:
            backlog: bytes that wait.
            drain: bytes a second that the link takes while it is sent; 0: not known yet.
            inflow: bytes a second that come in addition.

        """
        if backlog <= 0:
            return 0.0
        rate = min(drain or math.inf, self._config.rate or math.inf)
        now, left = self._clock(), float(backlog)
        spent, day = float(self.spent), self._today()
        waited = 0.0
        while waited < 2 * DAY_S:
            at = now + waited
            step = min(STEP_MIN * 60.0, (at // DAY_S + 1) * DAY_S - at)
            if int(at // DAY_S) != day:
                day, spent = int(at // DAY_S), 0.0
            left, sent, took = self._step(left, at, step, (rate, inflow, spent))
            if left <= 0:
                return waited + took
            spent += sent
            waited += step
            if waited >= DAY_S and left >= backlog:
                break
        return self._in_days(left, backlog, waited)

    def _step(
        self, left: float, at: float, step: float, facts: tuple[float, float, float]
    ) -> tuple[float, float, float]:
        """Return what is left after a step, what was sent in it, and when the last of it went."""
        rate, inflow, spent = facts
        budget = max(0.0, self._config.per_day - spent) if self._config.per_day else math.inf
        most = min(rate * step, budget) if self._hurried or self._is_open(at) else 0.0
        need = left + inflow * step
        if most < need:
            return need - most, most, step
        net = rate - inflow
        return 0.0, need, 0.0 if math.isinf(net) else min(step, left / net if net > 0 else step)

    def _in_days(self, left: float, backlog: int, waited: float) -> float | None:
        a_day = (backlog - left) / (waited / DAY_S)
        # what a whole day takes off: from then on each day is like these two
        return None if a_day <= 0 else waited + left / a_day * DAY_S
