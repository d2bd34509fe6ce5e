"""Event: one thing that happened, with the attribute names of CloudEvents 1.0."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")

_NOTHING: Mapping[str, str] = MappingProxyType({})

FRAME_TAKEN = "io.edge.frame.taken.v1"
"""A live camera showed a frame. ``data`` is a Frame."""
PICTURE_ARRIVED = "io.edge.picture.arrived.v1"
"""A picture file was uploaded or dropped. ``data`` is an Encoded."""
PICTURE_REDACTED = "io.edge.picture.redacted.v1"
"""A redacted picture left the gate: the type of a parcel's message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Generic[T]):
    """One thing that happened.

    ``id`` is a function of what happened (camera and capture time, file name and content), never
    of a counter that restarts, so that ``source`` + ``id`` names it for ever.

    Raises:
        ValueError: an empty required attribute, or a time without a zone.

    """

    id: str
    #: who saw it: ``/{site}/{node}/{source name}``
    source: str
    type: str
    #: what it is about: the source's own name, or a key
    subject: str
    #: when it happened, with zone
    time: datetime
    data: T = field(repr=False)
    datacontenttype: str = "application/octet-stream"
    extensions: Mapping[str, str] = field(default_factory=lambda: _NOTHING)

    def __post_init__(self) -> None:
        empty = [name for name in ("id", "source", "type", "subject") if not getattr(self, name)]
        if empty:
            raise ValueError(f"an event needs {', '.join(empty)}: got nothing")
        if self.time.tzinfo is None:
            raise ValueError(f"an event's time needs a zone: got {self.time.isoformat()}")

    def carrying(self, data: U) -> Event[U]:
        """Return the same event with other data."""
        return replace(self, data=data)  # type: ignore[arg-type,return-value]


class Outcome(enum.Enum):
    """How an event ended. Every event that was taken ends with exactly one."""

    DONE = "done"
    #: it was done before; nothing was done again
    DUPLICATE = "duplicate"
    #: set aside for good: bad input, or a picture that may not leave
    REJECTED = "rejected"
    #: a live frame that gave way to a newer one, or for which there was no room
    DROPPED = "dropped"
