"""What the journal takes and gives, and how it is written in rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from edge.errors import Rejected
from edge.event import NAMED, Event, Value, WireEvent
from edge.traffic import Attempt, Passage

EVENT_ROOM = 200
"""Bytes that an event takes besides its attributes and data: other columns, its digest."""
DELIVERY_ROOM = 100
"""Bytes of one delivery's row and its place in the index."""
FIRST_ATTEMPTS, NEWEST_ATTEMPTS = 3, 5
"""Attempts that are kept of each delivery."""
ERROR_CHARACTERS = 500
"""Of an attempt's error."""
SHOWN_CHARACTERS = 4096
"""Attributes up to this length are kept whole in the trace of an event that ended."""
SHOWN_VALUE = 256
"""Characters that are kept of each value where they are longer."""
REPLIES_NAMED = 20
"""Replies that a trace names, of one delivery."""


@dataclass(frozen=True, slots=True)
class Target:
    """A trigger that wants an event, and in which order it gets it."""

    trigger: str
    #: events of one key are delivered one after the other; empty: in no order
    key: str = ""


@dataclass(frozen=True, slots=True)
class Arrival:
    """An event on its way into the journal."""

    event: WireEvent
    #: none: it ends at once, as ``unwanted``; of a reply, only the name is kept
    targets: Sequence[Target]
    #: how many replies deep it may still go; 0: each target gets a dead letter (``hop_limit``)
    hops: int
    #: what makes it the same event as another: 16 bytes, see ``digest_of``
    digest: bytes
    #: ``seq`` of the event that it is a reply to; 0: it came from outside
    cause: int = 0


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery that may be begun now."""

    seq: int
    trigger: str
    event: WireEvent = field(repr=False)
    key: str
    #: tries that failed
    tries: int
    hops: int
    digest: bytes
    accepted_at: float


@dataclass(frozen=True, slots=True)
class Grave:
    """Why a delivery is dead, as ``traffic.Letter`` says it."""

    where: str
    reason: str
    error: str
    code: int = 500
    answer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalStats:
    """How full the journal is, as of the last commit."""

    #: events that wait, and their bytes
    events: int = 0
    bytes: int = 0
    #: age in seconds of the oldest of those, 0 if there is none
    oldest_seconds: float = 0.0
    #: deliveries that wait, by trigger; only triggers that have some
    waiting: Mapping[str, int] = field(default_factory=dict)
    letters: int = 0
    letter_bytes: int = 0


class Entry(NamedTuple):
    """An arrival as it will be written."""

    id: str
    name: int
    digest: bytes
    cause: int
    hops: int
    at: float
    expires: float | None
    size: int
    attributes: str
    data: bytes | None
    targets: Sequence[Target]


_quoted = json.encoder.encode_basestring
encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_encode_ascii = json.JSONEncoder(separators=(",", ":")).encode


def digest_of(event: WireEvent, parent: bytes = b"", trigger: str = "") -> bytes:
    """Return the 16 bytes that name an event for ever: its source and id, for one from outside.

    A reply is named by what it answers, too, so that it may keep that event's source and id.
    """
    name = f"{event.source}\0{event.id}"
    if parent:
        name = f"{parent.hex()}\0{trigger}\0{name}"
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def name_of(event_id: str) -> int:
    """Return the number under which events of this id are found."""
    name = hashlib.blake2b(event_id.encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(name.digest(), "big", signed=True)


def entry_of(arrival: Arrival, now: float) -> Entry:
    """Return an arrival as it will be written.

    Raises:
        Rejected: ``bad_text``: an attribute is no Unicode text (half of a surrogate pair).

    """
    event = arrival.event
    attributes = _text_of(event.attributes())
    size = len(attributes)
    if not attributes.isascii():
        try:
            size = len(attributes.encode())
        except UnicodeEncodeError as error:
            raise Rejected(
                f"event {event.id!a}: an attribute holds half of a surrogate pair, not text",
                hint="send attributes as Unicode text",
                reason="bad_text",
            ) from error
    size += len(event.data or b"") + EVENT_ROOM + DELIVERY_ROOM * len(arrival.targets)
    expires = event.extensions.get("expirytime")
    return Entry(
        event.id,
        name_of(event.id),
        arrival.digest,
        arrival.cause,
        arrival.hops,
        now,
        None if expires is None else _seconds(expires),
        size,
        attributes,
        event.data,
        arrival.targets,
    )


def _text_of(attributes: Mapping[str, Value]) -> str:
    """Return attributes as a JSON object, three times as fast as an encoder does it."""
    parts = [
        f"{_quoted(name)}:{_quoted(value) if isinstance(value, str) else encode(value)}"
        for name, value in attributes.items()
    ]
    return f"{{{','.join(parts)}}}"


def _seconds(time: Value) -> float | None:
    """Return a time as seconds since the epoch; None where it is none: then it never expires."""
    try:
        moment = datetime.fromisoformat(str(time))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def read_event(attributes: str, data: bytes | None) -> WireEvent:
    """Return an event from its row.

    Raises:
        ValueError, TypeError: the row is damaged.

    """
    values = json.loads(attributes)
    named = {name: values.pop(name) for name in NAMED if name in values}
    return Event(**named, extensions=values, data=data)


def read_attributes(attributes: str) -> dict[str, Value]:
    """Return attributes from their row; of a damaged row, none."""
    try:
        values = json.loads(attributes)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def shown(attributes: str) -> str:
    """Return attributes as a trace keeps them: a bounded text, long values cut."""
    if len(attributes) <= SHOWN_CHARACTERS:
        return attributes
    room, kept = SHOWN_CHARACTERS, {}
    for name, value in read_attributes(attributes).items():
        short = value[:SHOWN_VALUE] if isinstance(value, str) else value
        room -= len(name) + len(str(short))
        if room >= 0 or name in NAMED[:4]:
            kept[name] = short
    return encode(kept)


def add_attempt(log: str, attempt: Attempt | None) -> str:
    """Return a log of attempts with one more: the first and the newest are kept."""
    if attempt is None:
        return log
    attempts: list[Any] = json.loads(log) if log else []
    if len(attempts) == FIRST_ATTEMPTS + NEWEST_ATTEMPTS:
        del attempts[FIRST_ATTEMPTS]
    attempts.append(
        (
            attempt.at,
            attempt.seconds,
            attempt.subscriber,
            attempt.reason,
            attempt.error[:ERROR_CHARACTERS],
            attempt.status,
        )
    )
    return _encode_ascii(attempts)


def read_attempts(log: str) -> list[Attempt]:
    """Return the attempts of a log."""
    return [
        Attempt(at=at, seconds=seconds, subscriber=who, reason=reason, error=error, status=status)
        for at, seconds, who, reason, error, status in json.loads(log or "[]")
    ]


def write_passage(passage: Passage, log: str) -> str:
    """Return how an ended delivery is written; ``log`` has its attempts."""
    rest = (
        passage.trigger,
        passage.state,
        passage.tries,
        passage.ended_at,
        passage.parcel,
        [reply[:SHOWN_VALUE] for reply in passage.replies[:REPLIES_NAMED]],
    )
    return f"[{_encode_ascii(rest)},{log or '[]'}]"


def read_passages(text: str) -> list[Passage]:
    """Return passages, each written by ``write_passage``, from a JSON array of them."""
    return [
        Passage(
            trigger=trigger,
            state=state,
            tries=tries,
            ended_at=ended_at,
            parcel=parcel,
            replies=replies,
            attempts=[
                Attempt(at=at, seconds=took, subscriber=who, reason=why, error=words, status=status)
                for at, took, who, why, words, status in attempts
            ],
        )
        for (trigger, state, tries, ended_at, parcel, replies), attempts in json.loads(text)
    ]
