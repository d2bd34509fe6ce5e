"""What people see of the bus: triggers, the way of one event, dead letters. Facts only, no pixel.

The web side and the command line show these; ``app`` fills them in from the bus and the outbox.
Times are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from edge.event import Value, WireEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try to deliver an event."""

    at: float
    #: how long it took
    seconds: float
    #: name of the subscriber that was asked
    subscriber: str
    #: empty: it worked. Else a short stable code (``timeout``, ``refused`` …), and words
    reason: str = ""
    error: str = ""
    #: status that another system answered with; 0: none
    status: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """How an event fared with one trigger."""

    trigger: str
    #: ``waiting``, ``retrying``, ``done``, ``dead`` (replayed or not), ``dropped``
    state: str
    attempts: Sequence[Attempt] = ()
    #: failed tries in all; ``attempts`` keeps the first and the newest
    tries: int = 0
    #: waiting or retrying: not before this time
    due: float | None = None
    ended_at: float | None = None
    #: ids of the events that came of it
    replies: Sequence[str] = ()
    #: id of the parcel that came of it
    parcel: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """The way of one event through the bus."""

    attributes: Mapping[str, Value]
    accepted_at: float
    #: None: something of it is still under way
    ended_at: float | None
    #: ``waiting``, ``done``, ``dead``, or an Outcome's value; ``unwanted``: no trigger matched
    outcome: str
    passages: Sequence[Passage] = ()
    #: id of the event that this one is a reply to; empty: it came from outside
    cause: str = ""
    #: events that came of it, each with its own way
    replies: Sequence[Trace] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A dead letter: an event that a trigger could not deliver, or a parcel that no store takes."""

    #: ``event-12`` or ``parcel-7``
    id: str
    attributes: Mapping[str, Value]
    #: name of the trigger; ``store`` for a parcel
    trigger: str
    #: where it should have gone (``knativeerrordest``)
    where: str
    #: short stable code, and words
    reason: str
    error: str
    #: ``knativeerrorcode``: the last status, 500 where nobody answered
    code: int = 500
    #: ``knativeerrordata``: base64 of the beginning of the last answer, at most 1024 characters
    answer: str = ""
    died_at: float
    bytes: int
    tries: int = 0
    attempts: Sequence[Attempt] = ()
    #: the event as it came; only where one letter is shown
    event: WireEvent | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterQuery:
    """Which letters. Empty fields match every letter; several must all match."""

    ids: Sequence[str] = ()
    trigger: str = ""
    reason: str = ""
    type: str = ""
    source: str = ""
    #: a part of the subject
    subject: str = ""
    #: died at or after, before
    since: float | None = None
    until: float | None = None
    #: as many at most; None: all
    limit: int | None = None
    #: letters after this one, for the next page
    after: str = ""


class DeadLetters(Protocol):
    """Where dead letters are kept: the bus's, the outbox's, or both together."""

    async def letters(self, query: LetterQuery) -> list[Letter]:
        """Return letters, the oldest first, without their events."""
        ...

    async def letter(self, letter_id: str) -> Letter | None:
        """Return one with its event; None where there is none of that id."""
        ...

    async def replay(self, query: LetterQuery) -> int:
        """Deliver letters anew, under their own ids; return how many. They are letters no more."""
        ...

    async def drop(self, query: LetterQuery) -> int:
        """Forget letters for good; return how many."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerStatus:
    """A trigger, and how it is."""

    name: str
    #: as it was written: ``filter``/``filters``, ``subscriber(s)``, ``delivery``, ``order`` …
    spec: Mapping[str, Any]
    #: ``config`` (the file), ``api`` (set at run time), ``built-in``
    origin: str
    ready: bool
    #: why it is not ready: a short code, and words
    reason: str = ""
    message: str = ""
    #: deliveries that wait, that are under way, and since the start: done and dead
    waiting: int = 0
    under_way: int = 0
    done: int = 0
    dead: int = 0


class Triggers(Protocol):
    """The triggers, changed while the box runs."""

    def triggers(self) -> list[TriggerStatus]:
        """Return all of them, those of the configuration first."""
        ...

    async def put_trigger(self, name: str, spec: Mapping[str, Any]) -> TriggerStatus:
        """Set a trigger; it is kept across restarts.

        Raises:
            Rejected: ``bad_trigger`` with every fault, or ``in_config``: the file has one of that
                name.

        """
        ...

    async def remove_trigger(self, name: str) -> bool:
        """Remove one; what waits for it becomes dead letters. False where there is none.

        Raises:
            Rejected: ``in_config``.

        """
        ...


class Traffic(DeadLetters, Triggers, Protocol):
    """Everything that people see of the bus."""

    async def traces(self, event_id: str) -> list[Trace]:
        """Return the way of every event of that id (each source has ids of its own)."""
        ...

    def watch(self, filters: object = None) -> AsyncIterator[WireEvent]:
        """Yield what passes the bus from now on; of a raw picture's event only the attributes.

        A slow watcher misses events; it never holds anything up. May be called from any thread:
        reading the filters may take a moment. Iterate on the loop; ``aclose``, if there is one,
        ends it.

        Raises:
            Rejected: ``bad_filter``.

        """
        ...
