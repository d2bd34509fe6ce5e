"""Subscribers of a trigger: one, or several that share its events by weight.

Weighted rendezvous hashing (Schindelhauer and Schomaker 2005): each subscriber draws a number from
a digest of itself and of the event, and the lowest wins. So the same event always goes to the same
one, a share is as large as its weight says, and a change of one weight moves no event between two
others.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from edge.contracts import Handler
from edge.event import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """One of them, linked to its handler."""

    #: ``ref`` as configured, or where a ``uri`` leads, without credentials
    name: str
    #: None: there is no handler of that name
    handler: Handler | None
    weight: int = 1
    #: what it draws by: ``ref`` or the whole ``uri``
    key: str = field(default="", repr=False)

    @property
    def where(self) -> str:
        """Where it leads, for dead letters."""
        return f"edge:{self.name}" if self.handler is None else self.handler.where


class Subscribers:
    """Chooses who gets an event.

    Args:
        each: who there is; at least one has a weight.
        sticky: ``event``: all tries of an event go to the same one. ``subject``: all events of a
            subject (else source) do.

    """

    def __init__(self, each: Sequence[Subscriber], sticky: Literal["event", "subject"]) -> None:
        self.each = tuple(each)
        self._weighty = tuple(
            (one, hashlib.blake2b((one.key or one.name).encode(), digest_size=8))
            for one in each
            if one.weight
        )
        self._sticky = sticky

    def choose(self, event: Event[Any]) -> Subscriber:
        """Return who gets this event."""
        if len(self._weighty) == 1:
            return self._weighty[0][0]
        text = f"{event.source}\0{event.id}" if self._sticky == "event" else _subject(event)
        content = text.encode()
        return min(self._weighty, key=lambda one: _draw(one[1], one[0].weight, content))[0]


def _subject(event: Event[Any]) -> str:
    return event.subject or event.source


def _draw(named: hashlib.blake2b, weight: int, content: bytes) -> float:
    """Return an exponential random number of rate ``weight``.

    The lowest of several is the one of rate w with probability w in the sum of all.
    """
    digest = named.copy()
    digest.update(content)
    uniform = (int.from_bytes(digest.digest(), "big") + 0.5) / 2.0**64
    return -math.log(uniform) / weight
