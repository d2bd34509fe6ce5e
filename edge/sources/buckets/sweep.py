"""The sweep: a bucket is listed, and what no notification told of is brought all the same.

It repairs what got lost: while nobody listened, before the box was there, in a store that forgot.
An object that was dealt with is left alone: ``Seen`` knows those of this process, ``known`` those
of all time. What a sweep brings has an id of its own, made of key, ETag and time, so that a second
sweep brings the same event.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from edge.config.sources import BucketConfig
from edge.errors import PartFailed, Rejected
from edge.event import WireEvent
from edge.frame import ObjectRef
from edge.sources.buckets.objects import Listed
from edge.sources.buckets.records import read
from edge.sources.buckets.removals import Removals
from edge.sources.buckets.seen import Seen
from edge.sources.buckets.swept import Swept

BATCH: Final = 100
"""Events that are handed over at once."""
YOUNG: Final = timedelta(minutes=1)
"""Of an object this new the notification may be on its way."""
GRACE_SECONDS: Final = 2.0
"""How long a notification is waited for, once a page."""
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


class Objects(Protocol):
    """What a sweep needs of ``BucketObjects``."""

    def list(self, after: str = "") -> AsyncIterator[Sequence[Listed]]:
        """Yield pages of objects after a key, in the order of their keys."""
        ...


class Sweep:
    """Lists one bucket, again and again; in memory is one page, and ``seen``.

    Args:
        config: the bucket.
        source: what the events name as theirs.
        objects: lists.
        known: tells of an object whether it was dealt with, or waits for it, in this life of the
            process or before; a bare key with another ETag is another object.
        seen: shared with the notifications' side.
        take: hands events over, and waits until they are safe.

    Attributes:
        removals: compares each page with what pictures were made of; None: removals do not matter.

    """

    def __init__(
        self,
        config: BucketConfig,
        source: str,
        objects: Objects,
        *,
        known: Callable[[ObjectRef], Awaitable[bool]],
        seen: Seen,
        take: Callable[[Sequence[WireEvent]], Awaitable[None]],
    ) -> None:
        self.removals: Removals | None = None
        #: how far passes of earlier lives of the process came
        self.swept_before: Swept | None = None
        self._dealt_with = _LONG_AGO
        #: the newest object of the pass under way
        self._newest = _LONG_AGO
        self._config, self._source, self._objects = config, source, objects
        self._known, self._seen, self._take = known, seen, take
        self._since = since_of(config.sweep_since)
        #: the key up to which the pass under way is done; empty between two passes
        self.marker = ""
        self.found = 0
        #: what it brought: a notification that comes later is about the same
        self.swept = Seen()
        #: held while events are looked up and handed over, by notifications too
        self.turn = asyncio.Lock()

    async def once(self) -> None:
        """Make one pass through the bucket; one that was broken off goes on where it was.

        Raises:
            PartFailed: the bucket cannot be listed; ``marker`` stays.

        """
        if not self.marker:
            await self._begin()
        async for page in self._objects.list(self.marker):
            missed = await self._missed(page)
            for start in range(0, len(missed), BATCH):
                await self._bring(missed[start : start + BATCH])
            self._newest = max([self._newest, *(one.modified for one in page if one.modified)])
            if page:
                if self.removals:
                    listed = {one.key for one in page}
                    await self.removals.compare(self.marker, page[-1].key, listed)
                self.marker = page[-1].key
        if self.removals:
            await self.removals.compare(self.marker, None, ())
            await self.removals.end()
        if self.swept_before and self._newest > _LONG_AGO:
            await self.swept_before.finished(self._newest)
        self.marker = ""

    async def _begin(self) -> None:
        if self.removals:
            self.removals.begin()
        if self.swept_before:
            self._dealt_with = await self.swept_before.until()
        self._newest = _LONG_AGO

    @property
    def trouble(self) -> PartFailed | None:
        """What is wrong though the bucket is listed well; None: nothing."""
        return self.removals.held if self.removals else None

    def forget(self, what: ObjectRef) -> None:
        """Forget an object that is gone: the same content may come again, and is new then."""
        for seen in (self._seen, self.swept):
            seen.forget(what.key, what.etag)

    async def _missed(self, page: Sequence[Listed]) -> list[Listed]:
        unseen = self._unseen(page)
        now = datetime.now(UTC)
        if any(one.modified is None or now - one.modified < YOUNG for one in unseen):
            await asyncio.sleep(GRACE_SECONDS)
            unseen = self._unseen(unseen)
        missed = []
        for one in unseen:
            if await self._known(self._ref(one)):
                self._seen.add(one.key, one.etag)
            else:
                missed.append(one)
        return missed

    def _unseen(self, page: Sequence[Listed]) -> list[Listed]:
        return [
            one
            for one in page
            if (one.modified is None or one.modified >= max(self._since, self._dealt_with))
            and not any(self._seen.has(one.key, mark) for mark in _marks(one))
        ]

    async def _bring(self, batch: Sequence[Listed]) -> None:
        async with self.turn:
            # by now a notification may have come for one of them
            left = self._unseen(batch)
            events = [self._event(one) for one in left]
            await self._take([event for event in events if event])
            self.found += len(left)
            for one in left:
                for mark in _marks(one):
                    self._seen.add(one.key, mark)
                    self.swept.add(one.key, mark)

    def _event(self, one: Listed) -> WireEvent | None:
        record = {
            "eventVersion": "2.2",
            "eventSource": "edge:sweep",
            "awsRegion": self._config.region,
            "eventTime": one.modified.isoformat() if one.modified else "",
            "eventName": "ObjectCreated:Put",
            "s3": {
                "bucket": {"name": self._config.bucket},
                "object": {
                    "key": one.key,
                    "size": one.size,
                    "eTag": one.etag,
                    "versionId": one.version,
                },
            },
        }
        try:
            (event,) = read(json.dumps({"Records": [record]}).encode(), keys="plain")
        except Rejected:
            return None  # half a character in a key: nobody could ask for it
        return replace(event, source=self._source)

    def _ref(self, one: Listed) -> ObjectRef:
        return ObjectRef(
            bucket=self._config.bucket,
            key=one.key,
            version=one.version,
            etag=one.etag,
            size=one.size,
        )


def _marks(one: Listed) -> list[str]:
    marks = [one.etag] if one.etag else []
    return [*marks, moment(one.modified)] if one.modified else marks


def moment(when: datetime) -> str:
    """Return a time as the mark of an object without an ETag: in UTC, to the millisecond."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds")


def since_of(text: str) -> datetime:
    """Return the time of ``sweep_since``; without a zone it is UTC; empty: the beginning.

    Raises:
        ValueError: no such time.

    """
    if not text:
        return _LONG_AGO
    when = datetime.fromisoformat(text)
    return when if when.tzinfo else when.replace(tzinfo=UTC)
