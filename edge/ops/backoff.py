"""How long to wait before the next try: doubling, capped, with full jitter on the upper half."""

from __future__ import annotations

import random

_CHANCE = random.Random()  # noqa: S311 (jitter, not a secret); seeding one costs 0.2 ms


class Backoff:
    """Waits that grow from ``first`` to ``most`` seconds; ``reset`` after a success.

    Half of each wait is certain and half is chance, so that boxes that lost the same store do not
    all come back in the same second.
    """

    def __init__(self, first: float, most: float, *, chance: random.Random | None = None) -> None:
        self._first = first
        self._most = most
        self._chance = chance or _CHANCE
        self.tries = 0

    def next(self) -> float:
        """Count one more failed try and return the seconds to wait."""
        step = min(self._most, self._first * 2.0 ** min(self.tries, 30))
        self.tries += 1
        return step * (0.5 + 0.5 * self._chance.random())

    def reset(self) -> int:
        """Forget the failures; return how many there were (for one "recovered after n")."""
        failed, self.tries = self.tries, 0
        return failed
