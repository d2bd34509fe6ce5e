"""A bucket as a source: it listens, pulls or is told, and sweeps; the bus gets what it finds.

Its pictures stay where they are. What it brings are events that name them, straight into the
journal; a handler fetches them from there. So ``events`` yields nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final, TypeVar

from edge.config.sources import BucketConfig
from edge.contracts import Intake, Picture, SourceStatus
from edge.errors import EdgeError, PartFailed, Rejected, TryLater
from edge.event import Event, Outcome, WireEvent
from edge.frame import ObjectRef
from edge.ops.backoff import Backoff
from edge.ops.groups import cause_of
from edge.ops.metrics import Metrics
from edge.sources.buckets.link import BucketLink
from edge.sources.buckets.minio_listen import MinioListen
from edge.sources.buckets.mqtt import MqttNotices
from edge.sources.buckets.records import object_of, read
from edge.sources.buckets.records_s3 import Keys as KeyForm
from edge.sources.buckets.records_s3 import left_behind
from edge.sources.buckets.removals import Find, Made, Removals
from edge.sources.buckets.rgw_pull import Pulled, RgwPull
from edge.sources.buckets.rule import BucketRule, is_removal
from edge.sources.buckets.seen import Seen
from edge.sources.buckets.sigv import Keys
from edge.sources.buckets.sweep import Objects, Sweep, moment
from edge.sources.buckets.swept import Swept
from edge.sources.buckets.unreadable import set_aside

T = TypeVar("T")
log = logging.getLogger(__name__)

FIRST_WAIT: Final = 0.5
LONGEST_WAIT: Final = 30.0
"""Seconds between two tries; a connection that held this long begins with the short wait again."""
LEAST_WAIT: Final = 0.5
"""Seconds until a bus that has no room is asked again, where it did not say."""
SLOW: Final = 1.0
"""Who reads nothing for as many seconds may have missed something."""
_COUNTED = ("notified", "accepted", "duplicates", "swept", "sweeps", "unreadable", "reconnects")


class _Told:
    """An event of a notification, and by what the object is recognised in a listing."""

    def __init__(self, event: WireEvent, modified: str = "") -> None:
        self.event = event
        what = object_of(event)
        self._key, self._marks = what.key, [what.etag] if what.etag else []
        if is_removal(event):
            self._marks = []  # no listing has what was removed
            return
        # a change feed knows no ETag; its time is that of a listing
        with suppress(ValueError):
            self._marks.append(moment(datetime.fromisoformat(modified)))

    def is_in(self, seen: Seen) -> bool:
        return any(seen.has(self._key, mark) for mark in self._marks)

    def add_to(self, seen: Seen) -> None:
        for mark in self._marks:
            seen.add(self._key, mark)


class Bucket:
    """A bucket as a source. It reconnects by itself, and sweeps after each time that it was away.

    Each notification is in the journal before the next one is read, and before it is acknowledged.
    In memory: a page, a line, and 18 MB for a million objects that it has seen. A restart forgets
    these and where the sweep was: the first sweep lists everything and asks ``known`` of each.

    Args:
        name: the source's name.
        config: its section.
        metrics: where it says whether it is up.
        origin: ``/{site}/{node}``, in front of the name in the ``source`` of what a sweep finds.
        intake: the bus.
        objects: lists the bucket.
        known: tells of an object whether it was dealt with, or waits in the journal.

    Raises:
        PartFailed: ``bad_endpoint``, ``bad_ca_file``.

    """

    live = False

    def __init__(
        self,
        name: str,
        config: BucketConfig,
        *,
        metrics: Metrics,
        origin: str,
        intake: Intake,
        objects: Objects,
        known: Callable[[ObjectRef], Awaitable[bool]],
    ) -> None:
        self.name = name
        self._config, self._metrics, self._intake = config, metrics, intake
        self._rule = BucketRule(
            prefix=config.prefix,
            suffixes=config.suffixes,
            removals=config.when_removed == "erase",
        )
        self._seen = Seen()
        self._source = f"{origin.rstrip('/')}/{name}"
        self._sweep = Sweep(
            config, self._source, objects, known=known, seen=self._seen, take=self._take_swept
        )
        self._link = self._connect()
        self._closed, self._gap = asyncio.Event(), asyncio.Event()
        self._counts: Counter[str] = Counter()
        self._state = "connecting"
        self._last: datetime | None = None
        #: what is wrong, by who met it: ``peer``, ``bus``, ``sweep``
        self._wrong: dict[str, EdgeError] = {}

    async def events(self) -> AsyncIterator[Event[Picture]]:
        """Run until closed; nothing is ever yielded."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._keep_notified(), name=f"bucket {self.name}"),
                    group.create_task(self._keep_swept(), name=f"sweep {self.name}"),
                ]
                await self._closed.wait()
                for task in tasks:
                    task.cancel()
        except BaseExceptionGroup as group:
            self._state = "failed"
            raise cause_of(group) from group
        finally:
            self._metrics.source_up.labels(self.name).set(0)
            await self._link.close()
        self._state = "finished"
        nothing: tuple[Event[Picture], ...] = ()
        for event in nothing:
            yield event

    async def settle(self, event: Event[Picture], outcome: Outcome, reason: str = "") -> None:
        """Do nothing: the journal settles what was accepted."""

    async def close(self) -> None:
        self._closed.set()

    def status(self) -> SourceStatus:
        wrong = next(
            (self._wrong[who] for who in ("peer", "bus", "sweep") if who in self._wrong), None
        )
        return SourceStatus(
            name=self.name,
            kind="bucket",
            state="waiting" if "bus" in self._wrong and self._state == "streaming" else self._state,
            reason=str(wrong or ""),
            hint=wrong.hint if wrong else "",
            where=f"{self._link.where}/{self._config.bucket}",
            last_picture_at=self._last,
            counts={name: self._counts[name] for name in _COUNTED},
        )

    def noticed(self, what: ObjectRef) -> None:
        """Learn of an object whose notification was accepted elsewhere (the hook)."""
        self._seen.add(what.key, what.etag)

    def watch_removals(self, made: Made, find: Find) -> None:
        """Have sweeps find what was removed. To be called before it runs.

        Args:
            made: of which keys something was made.
            find: looks one up.

        """
        self._sweep.removals = Removals(
            self._config, self._source, self._rule, made=made, find=find, take=self._take
        )

    def remember_sweeps(self, swept: Swept) -> None:
        """Have sweeps pass over what earlier ones dealt with. To be called before it runs."""
        self._sweep.swept_before = swept

    def forget(self, what: ObjectRef) -> None:
        """Learn that an object is gone, and what was made of it: it would be new if it came."""
        self._sweep.forget(what)

    # -- notifications

    def _connect(self) -> BucketLink:
        config = self._config
        return BucketLink(
            (config.pull_endpoint if config.via == "pull" else "") or config.endpoint,
            Keys(
                access_key=config.access_key.reveal(),
                secret_key=config.secret_key.reveal(),
                region=config.region,
            ),
            path_style=config.path_style,
            ca_file=config.ca_file,
        )

    async def _keep_notified(self) -> None:
        backoff = Backoff(FIRST_WAIT, LONGEST_WAIT)
        while True:
            began = time.monotonic()
            try:
                await self._notified()
            except PartFailed as error:
                if time.monotonic() - began > LONGEST_WAIT:
                    backoff.reset()
                self._lost(error)
                await asyncio.sleep(backoff.next())

    async def _notified(self) -> None:
        match self._config.via:
            case "listen":
                listen = MinioListen(
                    self._link,
                    self._config.bucket,
                    prefix=self._config.prefix,
                    removals=self._rule.removals,
                )
                await listen.run(self._take_line, self._up)
            case "pull":
                pull = RgwPull(self._link, self._config.subscription, silence=self._config.timeout)
                await pull.run(self._take_pulled, self._up)
            case "mqtt":
                notices = MqttNotices(self._config, self._source)
                await notices.run(self._take_published, self._up, self._lost)
            case "hook":
                self._up()
                await self._closed.wait()

    def _up(self) -> None:
        if self._state == "streaming":
            return
        if "peer" in self._wrong:
            log.info("%s is back", self.name)
        self._state = "streaming"
        self._wrong.pop("peer", None)
        self._metrics.source_up.labels(self.name).set(1)
        # from now on nothing is missed; what came before may have been
        self._gap.set()

    def _lost(self, error: PartFailed) -> None:
        before = self._wrong.get("peer")
        if before is None or before.reason != error.reason:
            log.warning("%s: %s. %s", self.name, error, error.hint)
        self._state, self._wrong["peer"] = "waiting", error
        self._counts["reconnects"] += 1
        self._metrics.source_up.labels(self.name).set(0)
        self._metrics.source_reconnects.labels(self.name).inc()

    async def _take_line(self, line: bytes) -> None:
        told = [_Told(event) for event in await self._wanted(line)]
        if await self._take_told(told):
            # MinIO waits for no slow reader: it throws away what does not fit
            self._gap.set()

    async def _take_pulled(self, pulled: Sequence[Pulled]) -> None:
        told = [
            _Told(event, one.modified) for one in pulled for event in await self._wanted(one.body)
        ]
        await self._take_told(told)

    async def _take_published(self, bodies: Sequence[bytes]) -> None:
        told = [_Told(event) for body in bodies for event in await self._wanted(body, "auto")]
        await self._take_told(told)

    async def _take_told(self, told: Sequence[_Told]) -> bool:
        """Bring what was notified, but not what a sweep brought; tell whether it took long."""
        began = time.monotonic()
        async with self._sweep.turn:
            fresh = [one for one in told if not one.is_in(self._sweep.swept)]
            self._counts["duplicates"] += len(told) - len(fresh)
            self._counts["notified"] += len(told)
            await self._take([one.event for one in fresh])
            for one in fresh:
                one.add_to(self._seen)
        return time.monotonic() - began > SLOW

    async def _wanted(self, body: bytes, keys: KeyForm = "plain") -> list[WireEvent]:
        """Return the events of a notification that are about pictures of this bucket.

        One that cannot be read is a dead letter on return.
        """
        try:
            events = [(left_behind(event), object_of(event)) for event in read(body, keys=keys)]
        except Rejected as error:
            await self._set_aside(body, error)
            return []
        return [
            event
            for event, what in events
            if what.bucket == self._config.bucket and self._rule.wants(event, what)
        ]

    # -- sweeps

    async def _keep_swept(self) -> None:
        every = self._config.sweep_every
        if not every:
            return
        backoff = Backoff(FIRST_WAIT, LONGEST_WAIT)
        await self._gap.wait()
        while True:
            if not self._sweep.marker:  # else this pass began before the gap
                self._gap.clear()
            began = time.monotonic()
            try:
                await self._sweep.once()
            except PartFailed as error:
                self._wrong["sweep"] = error
                await asyncio.sleep(backoff.next())
                continue
            self._wrong.pop("sweep", None)
            if self._sweep.trouble:
                self._wrong["sweep"] = self._sweep.trouble
            backoff.reset()
            self._counts["sweeps"] += 1
            # a peer that comes and goes must not make the box list all day
            await asyncio.sleep(max(1.0, 3 * (time.monotonic() - began)))
            with suppress(TimeoutError):
                async with asyncio.timeout(every):
                    await self._gap.wait()

    async def _take_swept(self, events: Sequence[WireEvent]) -> None:
        self._counts["swept"] += len(events)
        await self._take(events)

    # -- into the bus

    async def _take(self, events: Sequence[WireEvent]) -> None:
        """Have events in the journal; wait as long as it has no room."""
        if not events:
            return
        try:
            accepted = await self._patiently(lambda: self._intake.accept(events))
        except Rejected as error:
            await self._take_singly(events, error)
        else:
            self._taken(events, sum(one.new for one in accepted))

    async def _patiently(self, accept: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                answer = await accept()
            except TryLater as error:
                self._wrong["bus"] = error
                await asyncio.sleep(max(error.after, LEAST_WAIT))
            else:
                self._wrong.pop("bus", None)
                return answer

    def _taken(self, events: Sequence[WireEvent], fresh: int) -> None:
        self._counts.update(accepted=fresh, duplicates=len(events) - fresh)
        with suppress(ValueError):
            self._last = datetime.fromisoformat(events[-1].time)

    async def _take_singly(self, events: Sequence[WireEvent], error: Rejected) -> None:
        """Find the one that the bus never takes: it must not hold up the others."""
        if len(events) > 1:
            for event in events:
                await self._take([event])
            return
        for event in events:
            await self._set_aside(event.data or b"", error)

    async def _set_aside(self, body: bytes, error: Rejected) -> None:
        self._counts["unreadable"] += 1
        await self._patiently(lambda: set_aside(self._intake, self._source, body, error))
