"""How urgent the picture is that this thread carries, for engines that queue.

It goes beside the engine's contract: an engine that looks at once at what it is given need not know
of it, and the name of a source says nothing of a still picture.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Urgency:
    """Who goes first, and until when."""

    #: higher goes first
    priority: int = 0
    #: ``time.monotonic`` after which nobody waits for the answer any more
    deadline: float = math.inf

    @property
    def left(self) -> float:
        """Seconds until the deadline; 0 where it is over."""
        return max(0.0, self.deadline - time.monotonic())


_NONE = Urgency()
_carried: ContextVar[Urgency] = ContextVar("urgency", default=_NONE)


@contextmanager
def carrying(urgency: Urgency) -> Iterator[None]:
    """Let every picture that this thread shows to an engine meanwhile be as urgent."""
    token = _carried.set(urgency)
    try:
        yield
    finally:
        _carried.reset(token)


def urgency() -> Urgency:
    """Return how urgent the picture of this thread is; unless said, not at all."""
    return _carried.get()
