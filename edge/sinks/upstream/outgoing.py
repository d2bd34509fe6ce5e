"""What is kept for the broker, as it comes in and as it goes out."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from edge.config.mqtt import CLASSES

URGENCY: Mapping[str, int] = {kind: rank for rank, kind in enumerate(CLASSES)}
"""Rank of each class, 0 the most urgent."""
SEPARATOR = b"\x1e"
"""Stands between bodies that are read together; JSON has it escaped only."""

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_OWN = ("seq", "historical")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message for the broker.

    Raises:
        ValueError: an unknown class, or a body that is no JSON object with members.

    """

    #: one of ``config.mqtt.CLASSES``
    kind: str
    #: the box's own name of the source that it is about; empty: the box itself
    source: str
    #: kind, source and id together name it for ever: the same again is nothing
    id: str
    #: a CloudEvent. Bytes are sent as they are, but for ``seq`` and ``historical``, which they must
    #: not have
    body: Mapping[str, Any] | bytes = field(repr=False)
    #: when it happened, in seconds since the epoch
    at: float
    #: last level of its topic, for what goes to ``event/…``; empty: the class
    topic: str = ""

    def __post_init__(self) -> None:
        if self.kind not in URGENCY:
            raise ValueError(f"{self.kind!r}: expected one of {', '.join(CLASSES)}")
        if not math.isfinite(self.at):
            raise ValueError(f"{self.id!r} happened at {self.at}: expected seconds")

    def digest(self) -> bytes:
        """Return what it is recognised by: 16 bytes."""
        name = f"{self.kind}\0{self.source}\0{self.id}"
        return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()

    def json(self) -> bytes:
        """Return the body as a JSON object on one line.

        Raises:
            ValueError: it is none, or has no members.

        """
        if isinstance(self.body, bytes):
            text = self.body.strip()
        else:
            members = {name: value for name, value in self.body.items() if name not in _OWN}
            text = _encode(members).encode("utf-8", "replace")
        if text[:1] != b"{" or text[-1:] != b"}" or len(text) <= len(b"{}") or SEPARATOR in text:
            raise ValueError(f"the body of {self.id!r}: expected a JSON object with members")
        return text


class Pending(NamedTuple):
    """A message that waits for the broker."""

    #: its place in the queue; grows for ever
    n: int
    kind: str
    source: str
    #: its number among those of its class and source; grows for ever, without gaps
    seq: int
    topic: str
    #: when it happened, and when it was noted: seconds since the epoch
    at: float
    put_at: float
    #: a JSON object, without ``seq`` and ``historical``
    body: bytes

    @classmethod
    def of(cls, facts: Sequence[Any], body: bytes) -> Pending:
        """Make one of what ``sql.READ`` gives."""
        return cls._make([*facts, body])

    def payload(self, *, historical: bool) -> bytes:
        """Return what is sent."""
        flag = b"true}" if historical else b"false}"
        return b'%b,"seq":%d,"historical":%b' % (self.body[:-1], self.seq, flag)


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What became of the messages of a class, ever: produced = delivered + waiting + tombstoned."""

    produced: int = 0
    delivered: int = 0
    waiting: int = 0
    tombstoned: int = 0
    #: bytes of all that were produced, and of those that wait
    produced_bytes: int = 0
    waiting_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamStats:
    """How full the queue is."""

    waiting: int = 0
    waiting_bytes: int = 0
    #: age in seconds of what was noted first, of all that waits; 0: nothing waits
    oldest_seconds: float = 0.0
    #: by class; every class is there
    classes: Mapping[str, Totals] = field(default_factory=dict)
