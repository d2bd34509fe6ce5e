"""What jobs that rest on a bucket need of the bucket, and of the other rooms."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from edge.config.sources import BucketConfig
from edge.contracts import Intake
from edge.frame import ObjectRef
from edge.parcel import ReadBack
from edge.sources.buckets.objects import Listed
from edge.traffic import Trace


class Writer(Protocol):
    """One bucket, as jobs need it: ``sources.buckets.objects_put.BucketWriter``."""

    async def put(self, key: str, body: bytes, content_type: str) -> ObjectRef:
        """Write an object. Raises PartFailed or Rejected."""
        ...

    async def look(self, key: str) -> Listed:
        """Return what is there under a key. Raises Rejected (``gone``) or PartFailed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A source of kind bucket, as it is configured now."""

    source: str
    config: BucketConfig
    writer: Writer


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What a job needs of the other rooms."""

    #: the bus
    intake: Intake
    #: the way of an event through the bus
    traces: Callable[[str], Awaitable[Sequence[Trace]]]
    #: where originals wait. Raises PartFailed: there is no such source now
    place: Callable[[], Place]
    #: whose an object is, by bucket and key. Raises Rejected: nobody's
    place_of: Callable[[str, str], Place]
    #: whether a source is a bucket
    is_bucket: Callable[[str], bool]
    #: id of the event that a picture of a source will have
    picture: Callable[[str, ObjectRef], str]
    #: a redacted picture: key, SHA-256, type, when it was taken
    read_back: Callable[[str, str, str, datetime], Awaitable[ReadBack]]
    #: lets go of the connections of all places
    close: Callable[[], Awaitable[None]]
