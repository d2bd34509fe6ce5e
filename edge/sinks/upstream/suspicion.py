"""Who among the messages makes the broker hang up: MQTT 3.1.1 has no other way to say "too large".

A message that comes before a broken connection each time, alone, is given up, but only where it is
larger than all that the broker ever took: a bad link loses no message.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Final

from edge.errors import PartFailed

EMPTY_HANDED: Final = 2
"""Connections in a row that ended before anything was acknowledged: then one is sent at a time."""
STRIKES: Final = 5
"""Connections that a message ended, alone."""
CAREFUL: Final = 64
"""Acknowledgements after which all may go at once again."""
_HANGS_UP: Final = {"cut", "thrown_out", "too_large", "protocol"}


class Suspicion:
    """Watches what goes before the end of connections."""

    def __init__(self) -> None:
        self._largest = self._acked = self._in_a_row = self._careful = 0
        self._strikes: Counter[int] = Counter()

    @property
    def careful(self) -> bool:
        """Whether one message is to be sent at a time."""
        return self._careful > 0

    def took(self, size: int) -> None:
        """Note that the broker took a message of so many bytes."""
        self._largest = max(self._largest, size)
        self._acked += 1
        if self._careful:
            self._careful -= 1

    def lost(self, error: PartFailed, sent: Collection[tuple[int, int]]) -> int:
        """Note why a connection ended.

        Args:
            error: why.
            sent: numbers and sizes of the messages that were not acknowledged.

        Returns:
            The number of the message that is to be given up; 0: none.

        """
        empty, self._acked = not self._acked, 0
        if error.reason not in _HANGS_UP or not sent:
            return 0
        self._in_a_row = self._in_a_row + 1 if empty else 0
        said = error.reason == "too_large"
        if len(sent) > 1:
            if said or self._in_a_row >= EMPTY_HANDED:
                self._careful = CAREFUL
            return 0
        ((n, size),) = sent
        self._strikes[n] += 1
        if size > self._largest and (said or self._strikes[n] >= STRIKES):
            self._strikes.clear()
            self._in_a_row = 0
            return n
        return 0
