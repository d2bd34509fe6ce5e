"""Subscribers of a trigger: one, or several that share its events by weight.

Weighted rendezvous hashing (Schindelhauer and Schomaker 2005): each subscriber draws a number from
a digest of itself and of the event, and the lowest wins. So the same event always goes to the same
one, a share is as large as its weight says, and a change of one weight moves no event between two
others.

One with ``overflow_at`` stands by: it takes nothing until so many events wait. Then it gets what
the others have no room for: of the trigger's concurrency they keep the share that their weights
have in the sum of all. Who does not answer is passed over while another one does.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Sequence
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
    #: it takes nothing while fewer events wait; None: it always takes its share
    overflow_at: int | None = None
    #: what it draws by: ``ref`` or the whole ``uri``
    key: str = field(default="", repr=False)

    @property
    def where(self) -> str:
        """Where it leads, for dead letters."""
        return f"edge:{self.name}" if self.handler is None else self.handler.where


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is to be done for a trigger at this moment."""

    #: events that wait, those under way not counted
    waiting: int = 0
    #: keys of the subscribers to whom something is under way, each as often as that
    busy: Sequence[str] = ()
    #: deliveries that may be under way at once
    concurrency: int = 1
    #: keys of those who do not answer
    away: Collection[str] = ()


IDLE = Load()
_Draws = tuple[tuple[Subscriber, "hashlib.blake2b"], ...]


class Subscribers:
    """Chooses who gets an event.

    Args:
        each: who there is; at least one without ``overflow_at`` has a weight.
        sticky: ``event``: all tries of an event go to the same one. ``subject``: all events of a
            subject (else source) do. Where one overflows or does not answer, it gives way.

    """

    def __init__(self, each: Sequence[Subscriber], sticky: Literal["event", "subject"]) -> None:
        self.each = tuple(each)
        draws: _Draws = tuple(
            (one, hashlib.blake2b((one.key or one.name).encode(), digest_size=8))
            for one in each
            if one.weight
        )
        self._all = draws
        self._steady: _Draws = tuple(pair for pair in draws if pair[0].overflow_at is None)
        #: whether they stand in for one another
        self.overflows = len(self._steady) < len(draws)
        self._sticky = sticky

    def choose(self, event: Event[Any], load: Load = IDLE) -> Subscriber:
        """Return who gets this event."""
        among = self._among(load) if self.overflows else self._steady
        if len(among) == 1:
            return among[0][0]
        text = f"{event.source}\0{event.id}" if self._sticky == "event" else _subject(event)
        content = text.encode()
        return min(among, key=lambda one: _draw(one[1], one[0].weight, content))[0]

    def others_answer(self, away: Collection[str]) -> bool:
        """Tell whether not all of them are away."""
        return any(one.key not in away for one, _ in self._all)

    def _among(self, load: Load) -> _Draws:
        steady = _without(self._steady, load.away)
        relief = _without(self._all, load.away)
        relief = tuple(
            pair
            for pair in relief
            if pair[0].overflow_at is not None
            and (load.waiting >= pair[0].overflow_at or not steady)
        )
        if not (steady and relief):
            return steady or relief or self._steady
        return steady if _has_room(steady, relief, load) else relief


def _without(draws: _Draws, away: Collection[str]) -> _Draws:
    return tuple(pair for pair in draws if pair[0].key not in away)


def _has_room(steady: _Draws, relief: _Draws, load: Load) -> bool:
    """Tell whether less is under way to ``steady`` than their share of the concurrency."""
    own = sum(one.weight for one, _ in steady)
    share = own / (own + sum(one.weight for one, _ in relief))
    room = min(max(1, round(load.concurrency * share)), load.concurrency - 1)
    keys = {one.key for one, _ in steady}
    return sum(key in keys for key in load.busy) < room


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
