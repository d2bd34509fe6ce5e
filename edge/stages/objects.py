"""Pictures in buckets: a notification comes, the object is fetched, and then it is any picture.

::

    notification --> which object? --> whose bucket? --> [ fetch ] --> [ the walk of Redact ]
                      ours: done        none: refused     gone: done
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Protocol, TypeAlias

from edge.contracts import Handler
from edge.errors import PartFailed, Rejected, Withheld
from edge.event import PICTURE_ARRIVED, Event, WireEvent
from edge.frame import Encoded, Fetched, ObjectRef
from edge.ops.metrics import Metrics
from edge.parcel import Parcel

log = logging.getLogger(__name__)

Fetch: TypeAlias = Callable[[ObjectRef], Awaitable[Fetched]]
"""Returns an object, within limits. Raises Rejected (``gone``: it is not there any more)
or PartFailed."""

OVER = ("gone", "replaced")
"""It was removed, or written over: the newer one brings a notification of its own."""
UNREADABLE = ("damaged", "not_a_picture", "unsupported_format", "bad_key")
"""Whatever this box is set up to do, it stays as it is until it is written over."""
MOST_FAILURES = 5
"""A picture under which the engine broke as many times is poison: it is set aside."""


class Originals(Protocol):
    """Who has to know which objects are worked on."""

    async def done_before(self, name: str, event_id: str, ref: ObjectRef) -> bool:
        """Tell whether the store has the picture of an object, and nothing is left to do.

        Args:
            name: the source.
            event_id: of the picture's event.
            ref: the object.

        """
        ...

    def take_in_hand(self, bucket: str, key: str) -> None:
        """Learn that an object is about to be fetched."""
        ...

    def let_go(self, bucket: str, key: str) -> None:
        """Learn that nothing came of it. What did is let go by whoever keeps it."""
        ...


class RedactObject:
    """The handler that makes a parcel of a picture in a bucket. Keeps ``contracts.Handler``.

    The same object is the same event id, and so the same parcel, however often it is told of.

    Args:
        redact: what a picture is handed to once it is fetched; it is not closed here.
        metrics: where counts go.
        origin: ``/{site}/{node}``.
        object_of: which object a notification is about. Raises Rejected where it says none.
        bucket_of: name of the source that the object belongs to, and how to fetch from it; None:
            no source has it. It is asked each time, since sources come and go.
        is_ours: whether the box itself wrote the object; such a one is never fetched.
        broke: told when the engine broke, so that it is opened anew.

    Attributes:
        originals: told of what is worked on, and asked before; None: nobody has to know.
        given_up: told of the event of a picture whose content nobody can read, so that no sweep
            brings it again; None: nobody has to know. What only this box could not do (a limit,
            safe mode) may succeed once it is set up otherwise.

    """

    where = "edge:redact-object"
    sees_pictures = False

    def __init__(
        self,
        redact: Handler,
        metrics: Metrics,
        *,
        origin: str,
        object_of: Callable[[WireEvent], ObjectRef],
        bucket_of: Callable[[ObjectRef], tuple[str, Fetch] | None],
        is_ours: Callable[[ObjectRef], bool],
        broke: Callable[[PartFailed], object] = lambda _: None,
    ) -> None:
        self._redact = redact
        self._metrics = metrics
        self._origin = origin.rstrip("/")
        self._object_of = object_of
        self._bucket_of = bucket_of
        self._is_ours = is_ours
        self._broke = broke
        self.originals: Originals | None = None
        self.given_up: Callable[[str], Awaitable[None]] | None = None
        #: how often the engine broke under a picture, by its event's id; only those that did
        self._failures: Counter[str] = Counter()

    async def __call__(self, event: WireEvent) -> WireEvent | Parcel | None:
        """Fetch and redact one object.

        Returns:
            The parcel; None where the object is gone, or is the box's own work.

        Raises:
            Rejected: ``unknown_bucket``, what the notification or the fetch is refused for, or the
                picture cannot be read.
            Withheld: it cannot be shown to be safe.
            PartFailed: the server refuses or cannot be reached, or the engine broke.

        """
        ref = self._object_of(event)
        if self._is_ours(ref):
            log.debug("%r in bucket %s is this box's own: left alone", ref.key, ref.bucket)
            return None
        found = self._bucket_of(ref)
        if found is None:
            raise Rejected(
                f"no source reads {ref.key!r} of bucket {ref.bucket}",
                hint='add a source of kind "bucket", or correct its bucket and prefix',
                reason="unknown_bucket",
            )
        name, fetch = found
        try:
            if self.originals is None:
                return await self._redacted(event, ref, name, fetch)
            return await self._in_hand(self.originals, event, ref, name, fetch)
        except Rejected as error:
            if error.reason in OVER:
                log.info("%s: %s: %s", name, error, error.hint)
                self._metrics.objects_gone.labels(name).inc()
                return None
            await self._give_up(name, error, event_id(name, ref, event))
            raise

    async def _give_up(self, name: str, error: Rejected, picture: str) -> None:
        """Count a picture that never comes out, and tell who would bring it again."""
        withheld = isinstance(error, Withheld)
        counter = self._metrics.pictures_withheld if withheld else self._metrics.pictures_rejected
        counter.labels(name, error.reason).inc()
        if self.given_up and error.reason in UNREADABLE:
            await self.given_up(picture)

    async def close(self) -> None:
        """Nothing is held here."""

    async def _in_hand(
        self, originals: Originals, event: WireEvent, ref: ObjectRef, name: str, fetch: Fetch
    ) -> WireEvent | Parcel | None:
        if await originals.done_before(name, event_id(name, ref, event), ref):
            return None
        originals.take_in_hand(ref.bucket, ref.key)
        made = None
        try:
            made = await self._redacted(event, ref, name, fetch)
        finally:
            if made is None:  # else whoever keeps it lets go
                originals.let_go(ref.bucket, ref.key)
        return made

    async def _redacted(
        self, event: WireEvent, ref: ObjectRef, name: str, fetch: Fetch
    ) -> WireEvent | Parcel | None:
        fetched = await fetch(ref)
        self._metrics.pictures_taken.labels(name).inc()
        subject = event.subject or ref.key
        taken_at = _time_of(event)
        picture = Encoded(
            body=fetched.body,
            name=ref.key,
            taken_at=taken_at,
            source=name,
            subject=subject,
            origin=fetched.ref,
            metadata=fetched.metadata,
        )
        arrived = Event(
            id=event_id(name, fetched.ref, event),  # a change feed knows no ETag: the answer does
            source=f"{self._origin}/{name}",
            type=PICTURE_ARRIVED,
            subject=subject,
            time=taken_at.isoformat(),
            data=picture,
        )
        try:
            return await self._redact(arrived)
        except PartFailed as error:  # the engine's: a fetch that failed says nothing about it
            self._broke(error)
            self._failures[arrived.id] += 1
            if self._failures[arrived.id] < MOST_FAILURES:
                raise
            del self._failures[arrived.id]
            raise Withheld(str(error), hint=error.hint, reason=error.reason) from error


def event_id(name: str, ref: ObjectRef, notification: WireEvent | None = None) -> str:
    """Return the id of a picture's event, by which the outbox knows what is done.

    The same content under the same key is the same picture, whoever told of it and how often: a
    hook, a listener, a sweep. Without an ETag that cannot be told; then it is the notification's
    ``source`` and ``id``, since a key alone would hide what was written over.

    Args:
        name: the source.
        ref: the object.
        notification: what told of it.

    """
    if ref.etag or notification is None:
        said = ("object", ref.bucket, ref.key, ref.etag.strip('"').lower() or ref.version)
    else:
        said = ("told", notification.source, notification.id, "")
    text = "\0".join(said).encode("utf-8", "surrogatepass")
    return f"{name}-{hashlib.blake2b(text, digest_size=16).hexdigest()}"


def _time_of(event: WireEvent) -> datetime:
    """Return when the object was written; now where the notification does not say."""
    try:
        said = datetime.fromisoformat(event.time)
        # without a zone it is UTC, as all of these servers mean it
        return (said if said.tzinfo else said.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return datetime.now(UTC)
