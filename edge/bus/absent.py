"""Absent: which of several subscribers do not answer, and when each is worth another try.

Only for triggers whose subscribers stand in for one another (``overflowAt``); where none of them
answers, ``hold.py`` takes over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from edge.bus.delivery_spec import DeliverySpec

LONGER = 2.0
"""Times as long as a try is put off: the next try of what failed goes to another one."""


@dataclass(slots=True)
class _Absence:
    since: float
    until: float = 0.0
    tries: int = 0


class Absent:
    """Who does not answer.

    Args:
        clock: seconds that pass.

    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._absences: dict[str, _Absence] = {}

    def keys(self) -> Collection[str]:
        """Return who is to be passed over now."""
        now = self._clock()
        return [key for key, one in self._absences.items() if now < one.until]

    def fail(self, key: str, spec: DeliverySpec, began: float, asked: float = 0.0) -> bool:
        """Note that one did not answer; return whether its absence begins with that.

        Args:
            key: who.
            spec: says how long to wait.
            began: when the try began, by ``clock``: what was under way when the absence began
                makes it no longer.
            asked: seconds that the other side asked for; 0: none.

        """
        now = self._clock()
        begins = key not in self._absences
        one = self._absences.setdefault(key, _Absence(now))
        if begins or began >= one.since:
            one.tries += 1
            one.until = now + LONGER * spec.wait(one.tries, asked)
        return begins

    def begin(self, key: str, seconds: float) -> None:
        """Note that one is tried: for as long as the try may take it gets nothing else."""
        one = self._absences.get(key)
        if one is not None:
            one.until = max(one.until, self._clock() + seconds)

    def answered(self, key: str) -> bool:
        """Note that one answered; return whether it had been absent."""
        return self._absences.pop(key, None) is not None
