"""Event: one thing that happened, with the attributes of CloudEvents 1.0."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")
U = TypeVar("U")

Value: TypeAlias = str | bool | int
"""What an attribute may be. Times, URIs and binary values are their canonical text."""

_NOTHING: Mapping[str, Value] = MappingProxyType({})

FRAME_TAKEN = "io.edge.frame.taken.v1"
"""A live camera showed a frame. ``data`` is a Frame."""
PICTURE_ARRIVED = "io.edge.picture.arrived.v1"
"""A picture file was uploaded or dropped. ``data`` is an Encoded."""
PICTURE_REDACTED = "io.edge.picture.redacted.v1"
"""A redacted picture left the gate: the type of a parcel's message."""
PICTURE_STORED = "io.edge.picture.stored.v1"
"""The store has a redacted picture and its message: both are durable there."""
PICTURE_ERASED = "io.edge.picture.erased.v1"
"""An original was removed, and what was made of it is gone from the store."""
LOSS = "io.edge.loss.v1"
"""A tombstone: messages that had to give way before the broker had them."""
PICTURE_CLASSIFIED = "io.edge.picture.classified.v1"
"""What a classifier on this box makes of a picture: labels with scores."""
PICTURE_ANNOTATED = "io.edge.picture.annotated.v1"
"""What an external vision service makes of a redacted picture: labels with scores."""
ALARM = "io.edge.alarm.v1"
"""Something went wrong that a person should know at once, or is right again."""

NAMED = ("specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema")
"""The attributes that the specification names; every other one is an extension."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Generic[T]):
    """One thing that happened. Optional attributes that it does not have are empty.

    ``id`` is a function of what happened (camera and capture time, file name and content), never
    of a counter that restarts, so that ``source`` + ``id`` names it for ever.

    Raises:
        ValueError: an empty required attribute.

    """

    id: str
    #: who saw it: ``/{site}/{node}/{source name}`` for this box's own
    source: str
    type: str
    #: what it is about: the source's own name, or a key
    subject: str = ""
    #: when it happened: RFC 3339 with zone, kept as it came (it may have nanoseconds)
    time: str = ""
    data: T = field(repr=False)
    datacontenttype: str = ""
    dataschema: str = ""
    specversion: str = "1.0"
    extensions: Mapping[str, Value] = field(default_factory=lambda: _NOTHING)

    def __post_init__(self) -> None:
        if not (self.id and self.source and self.type):
            empty = [name for name in ("id", "source", "type") if not getattr(self, name)]
            raise ValueError(f"an event needs {', '.join(empty)}: got nothing")

    def attributes(self) -> dict[str, Value]:
        """Return every attribute that it has by its CloudEvents name, extensions last."""
        found: dict[str, Value] = {
            "specversion": self.specversion,
            "id": self.id,
            "source": self.source,
            "type": self.type,
        }
        # one by one: this is asked for each event of the bus
        if self.subject:
            found["subject"] = self.subject
        if self.time:
            found["time"] = self.time
        if self.datacontenttype:
            found["datacontenttype"] = self.datacontenttype
        if self.dataschema:
            found["dataschema"] = self.dataschema
        if self.extensions:
            found.update(self.extensions)
        return found

    def carrying(self, data: U) -> Event[U]:
        """Return the same event with other data."""
        return replace(self, data=data)  # type: ignore[arg-type,return-value]


WireEvent: TypeAlias = Event[bytes | None]
"""An event as it travels and rests on a disk. ``data`` is the body in binary mode: JSON text where
``datacontenttype`` is JSON or absent; None: no data (the JSON text ``null`` is data)."""


class Outcome(enum.Enum):
    """How an event ended. Every event that was taken ends with exactly one."""

    DONE = "done"
    #: it was done before; nothing was done again
    DUPLICATE = "duplicate"
    #: set aside for good: bad input, or a picture that may not leave
    REJECTED = "rejected"
    #: a live frame that gave way to a newer one, or for which there was no room
    DROPPED = "dropped"
