"""Erasure: an original was removed, and so what was made of it is removed from the store.

::

    removal --> in hand? --> is it gone? --> [ outbox, dead parcels ] --> [ store ] --> erased
                 wait         no: nothing      one transaction            by digest     event

What is removed: what was made of the key, but for what was made of the object that is there now; of
a removal that names a version, what was made of that version. A removal is only ever a reason to
look: the bucket itself says what is gone, so that late, doubled and made-up notifications erase
nothing whose original is there.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from edge.errors import Rejected
from edge.event import PICTURE_ERASED, Event, WireEvent
from edge.frame import ObjectRef
from edge.messages.erased import DATASCHEMA, Data, Origin, Picture
from edge.ops.metrics import Metrics
from edge.sinks.derived import Derived, Made, Original

log = logging.getLogger(__name__)


class Removable(Protocol):
    """What is needed of a store."""

    async def get(self, key: str) -> bytes:
        """Return a picture; Rejected ``gone`` where there is none."""
        ...

    async def remove(self, key: str) -> None:
        """Remove picture and message; nothing happens where there is none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """A removal that was told: of what, and how to look whether it is so."""

    #: of the event that says what was erased: ``/{site}/{node}/{source name}``
    source: str
    name: str
    original: Original
    #: returns what is there now, under the key or as the version
    find: Callable[[], Awaitable[ObjectRef | None]]


class Erase:
    """The handler of removals. Keeps ``contracts.Handler``.

    Args:
        derived: what was made of what.
        store: where pictures end.
        metrics: counts what was erased.
        removal_of: what an event tells of; None: no source that erases has it.
        erased: told of each original, once nothing of it is left.

    """

    where = "edge:erase"
    sees_pictures = False

    def __init__(
        self,
        derived: Derived,
        store: Removable,
        metrics: Metrics,
        *,
        removal_of: Callable[[WireEvent], Removal | None],
        erased: Callable[[str, ObjectRef], None] = lambda _name, _ref: None,
    ) -> None:
        self._derived, self._store, self._metrics = derived, store, metrics
        self._removal_of, self._erased = removal_of, erased

    async def __call__(self, event: WireEvent) -> WireEvent | None:
        """Erase what was made of one original.

        Returns:
            What was erased (``PICTURE_ERASED``); None: there was nothing, or the original is there.

        Raises:
            TryLater: ``under_way``: the store is just getting it.
            PartFailed: bucket or store cannot be asked.
            Rejected: the event is no removal, or the store refuses.

        """
        removal = self._removal_of(event)
        if removal is None:
            return None
        original = removal.original
        await self._derived.at_rest(original.bucket, original.key)
        made = await self._derived.made_of(original)
        if not made:
            return None
        now = await removal.find()
        gone = [one for one in made if not _is(now, one)]
        await self._derived.stays([one for one in made if _is(now, one) and not one.erased])
        fresh = [one for one in gone if not one.erased]
        by = f"{event.source} {event.id}"
        if fresh:
            for one in await self._derived.take_out(original, fresh):
                await self._remove(one)
            await self._derived.forget(fresh, by)
            self._metrics.pictures_erased.labels(removal.name).inc(len(fresh))
            for one in fresh:
                self._erased(removal.name, _ref(original, one))
        ended = [*fresh, *(one for one in gone if one.erased == by)]
        return _event(event, removal, ended) if ended else None

    async def close(self) -> None:
        """Nothing is held here."""

    async def _remove(self, one: Made) -> None:
        """Remove a picture and its message, if they are what was made of this original."""
        try:
            body = await self._store.get(one.output)
        except Rejected as error:
            if error.reason not in ("gone", "too_large"):
                raise
        else:
            if hashlib.sha256(body).hexdigest() != one.sha256:
                log.warning("%s is another picture by now: it is left in the store", one.output)
                return
        await self._store.remove(one.output)


def _is(now: ObjectRef | None, made: Made) -> bool:
    """Tell whether what is there now is what something was made of."""
    if now is None:
        return False
    same = now.etag == made.etag.strip('"').lower()
    return same and made.version in ("", now.version)


def _ref(original: Original, made: Made) -> ObjectRef:
    return ObjectRef(bucket=original.bucket, key=made.key, version=made.version, etag=made.etag)


def _event(event: WireEvent, removal: Removal, ended: Sequence[Made]) -> WireEvent:
    """Return what says upstream that pictures are gone; the same event gives the same again."""
    original = removal.original
    origin: Origin = {"bucket": original.bucket, "key": original.key}
    if original.version:
        origin["version"] = original.version
    data: Data = {
        "source": removal.name,
        "origin": origin,
        "pictures": [_picture(one) for one in sorted(ended, key=lambda one: one.n)],
    }
    if event.time:
        data["removed_at"] = event.time
    return Event(
        id=f"{event.id}.erased",
        source=removal.source,
        type=PICTURE_ERASED,
        subject=event.subject or original.key,
        time=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        datacontenttype="application/json",
        dataschema=DATASCHEMA,
        data=json.dumps(data, ensure_ascii=False).encode(),
    )


def _picture(one: Made) -> Picture:
    picture: Picture = {"key": one.output, "id": one.parcel_id}
    if one.etag:
        picture["etag"] = one.etag
    if one.version:
        picture["version"] = one.version
    return picture
