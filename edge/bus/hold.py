"""Hold: while nobody answers, a trigger begins nothing but one probe after each back-off.

What failed meanwhile is not charged with it, and is written nowhere: it waits in the journal as
before, so that it keeps its place. One event alone that nobody answers (it makes its subscriber
hang) must not hold up the others: every other probe takes one that did not fail yet, and what
fails again after another was answered has itself to blame.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection

from edge.bus.delivery_spec import DeliverySpec

MOST_REMEMBERED = 1000
"""Events that failed while nobody answered; of more the oldest are forgotten: no harm done."""
JITTER = 0.1
"""Share of a back-off that chance adds: boxes that lost the same sink do not come back at once."""


class Hold:
    """Whether a trigger holds, since when, and until when.

    Args:
        clock: seconds that pass.
        chance: between 0 and 1.

    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._clock, self._chance = clock, chance
        #: when it began, by ``clock``; 0: it does not hold
        self.since = 0.0
        #: what the last probe met
        self.why = ""
        self._tries = 0
        self._until = 0.0
        self._answers = 0
        #: what failed, and how many were answered until then
        self._failed: dict[int, int] = {}
        self._all = True

    def wait(self) -> float:
        """Return the seconds until something may be begun; 0: now."""
        return max(0.0, self._until - self._clock()) if self.since else 0.0

    def fail(
        self, seq: int, spec: DeliverySpec, began: float, *, asked: float = 0.0, why: str = ""
    ) -> bool:
        """Note that nobody answered delivery ``seq``; return whether the hold begins with that.

        Args:
            seq: which one.
            spec: says how long to wait.
            began: when it began, by ``clock``.
            asked: seconds that the other side asked for; 0: none.
            why: what happened.

        """
        self._failed[seq] = self._answers
        if len(self._failed) > MOST_REMEMBERED:
            del self._failed[next(iter(self._failed))]
        now = self._clock()
        begins = not self.since
        if begins:
            self.since = now
        if begins or began >= self.since:  # not those that were under way when it began
            self._tries += 1
            self._until = now + spec.wait(self._tries, asked) * (1 + JITTER * self._chance())
            self._all = begins or not self._all
        self.why = why
        return begins

    def answered(self, seq: int) -> int:
        """Note that somebody answered; return how many tries failed before that."""
        self._answers += 1
        self._failed.pop(seq, None)
        failures, self._tries = self._tries, 0
        self.since, self._until, self.why = 0.0, 0.0, ""
        return failures

    def only_this_one(self, seq: int) -> bool:
        """Tell whether others were answered since ``seq`` failed for the last time."""
        return self._failed.get(seq, self._answers) < self._answers

    def tried_in_vain(self) -> Collection[int]:
        """Return what the next probe is not to try again."""
        return self._failed.keys() if self.since and not self._all else frozenset()

    def allow_all(self) -> None:
        """Let the next probe take anything: there is nothing else to try."""
        self._all = True
