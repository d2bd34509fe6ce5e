"""Uploads that rest on a bucket: the original waits there, the job in the spool.

::

    submit --> row (arriving) --> PUT original --> row (open) --> event in the journal --> 202
                    |                                                     |
                    |               parcel of that picture kept -----> done (the same transaction)
                    '--- the way of the event says that it died -----> dead

Nothing is in memory but bodies on their way to the bucket. After a crash the rows that are open
have their events journalled once more, which changes nothing where they were. The bucket's own
notification of the original, or a sweep, is the same picture: whichever is first makes the parcel.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from edge.config.sources import JobsConfig
from edge.contracts import JobStatus, Note, Picture, SourceStatus
from edge.errors import PartFailed, Rejected, TryLater
from edge.event import Event, Outcome, WireEvent
from edge.frame import ObjectRef
from edge.ops.metrics import Metrics
from edge.parcel import Parcel, ReadBack
from edge.sources.buckets.records import object_of
from edge.sources.upload import check_room, check_size, job_id_of
from edge.sources.upload_around import Around, Place
from edge.sources.upload_keys import content_type, job_of, object_key
from edge.sources.upload_rows import (
    ARRIVING,
    DEAD,
    DONE,
    OPEN,
    JobRow,
    JobRows,
    ended,
    key_reused,
    note,
)
from edge.sources.upload_way import event_of, row_of, status_of, way_of

log = logging.getLogger(__name__)

LOOK_EVERY: Final = 0.5
"""Seconds between two looks at the events of the jobs that are open."""
RETRY_AFTER: Final = 2.0
PATIENCE: Final = 20.0
"""Seconds that a notification waits for its upload to be accepted."""
STOP: Final = 5.0
"""Seconds that uploads on their way to the bucket have when the box stops."""
BATCH: Final = 100
"""Events that are brought to the journal at once, after a start."""
_STATES = ("queued", "running", DONE, DEAD)


class BucketJobs:
    """Keeps ``contracts.Jobs``; for the box it is a source that yields nothing.

    Args:
        config: ``[jobs]``, with a bucket.
        rows: jobs on disk.
        around: the other rooms.
        metrics: gets ``jobs``.
        origin: ``/{site}/{node}``.
        max_bytes: largest picture.

    """

    name = "upload"
    live = False

    def __init__(
        self,
        config: JobsConfig,
        rows: JobRows,
        around: Around,
        *,
        metrics: Metrics,
        origin: str,
        max_bytes: int,
    ) -> None:
        self._config, self._rows, self._around = config, rows, around
        self._metrics, self._source = metrics, f"{origin}/{self.name}"
        self._max_bytes = max_bytes
        #: submissions under way, by job: a second sender of the same waits for the first
        self._coming: dict[str, asyncio.Task[JobStatus]] = {}
        #: the job that each Idempotency-Key under way stands for
        self._keys: dict[str, str] = {}
        self._bytes = 0
        #: pictures of the jobs that are open, by job
        self._open: dict[str, str] = {}
        self._ended: dict[str, asyncio.Event] = {}
        self._counts = dict.fromkeys((*_STATES, "taken"), 0)
        self._last_at: datetime | None = None
        #: whether the events of earlier jobs are in the journal
        self._resumed = False
        self._something, self._closed = asyncio.Event(), asyncio.Event()

    # -- the jobs, for those who send

    def room(self, size: int) -> None:
        waiting = len(self._open.keys() | self._coming.keys())
        check_room(self._config, waiting, self._bytes + size, stopping=self._closed.is_set())

    async def submit(self, body: bytes, name: str, idempotency_key: str = "") -> JobStatus:
        check_size(body, self._max_bytes)
        job_id = await job_id_of(body, idempotency_key)
        known = await self._known(job_id)
        if known is not None:
            return known
        return await self._once(
            job_id, idempotency_key, self._take(job_id, idempotency_key, body, name), len(body)
        )

    async def refer(self, bucket: str, key: str, idempotency_key: str = "") -> JobStatus:
        place = self._around.place_of(bucket, key)
        there = await place.writer.look(key)
        said = f"{bucket}\0{key}\0{there.etag}".encode()
        job_id = await job_id_of(said, f"object\0{idempotency_key}")
        known = await self._known(job_id)
        if known is not None:
            return known
        ref = ObjectRef(bucket=bucket, key=key, etag=there.etag, size=there.size)
        row = self._row(job_id, idempotency_key, place, ref, there.modified)
        return await self._once(job_id, idempotency_key, self._begin(row), 0)

    async def get(self, job_id: str) -> JobStatus | None:
        row = await self._rows.get(job_id)
        return None if row is None else await self._look(row)

    async def wait(self, job_id: str, timeout: float) -> JobStatus | None:  # noqa: ASYNC109
        ends = self._ended.setdefault(job_id, asyncio.Event())
        status = await self.get(job_id)
        if status is None or status.state in (DONE, DEAD):
            self._tell(job_id)
            return status
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await ends.wait()
        return await self.get(job_id)

    async def image(self, job_id: str) -> Parcel | ReadBack | None:
        row = await self._rows.get(job_id)
        if row is None or row.state != DONE or not row.sha256:
            return None
        taken_at = datetime.fromisoformat(row.taken_at)
        try:
            return await self._around.read_back(row.key, row.sha256, row.content_type, taken_at)
        except Rejected as error:
            log.info("job %s has no picture any more: %s", job_id, error)
            return None

    # -- the source, for the path

    async def events(self) -> AsyncIterator[Event[Picture]]:
        """Watch over the jobs until closed; nothing is ever yielded."""
        await self._resume()
        while not self._closed.is_set():
            if not self._open:
                self._something.clear()
                await self._something.wait()
                continue
            began = time.monotonic()
            await self._look_at_all()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(LOOK_EVERY, 5 * (time.monotonic() - began))):
                    await self._closed.wait()
        nothing: tuple[Event[Picture], ...] = ()
        for event in nothing:
            yield event

    async def settle(self, event: Event[Picture], outcome: Outcome, reason: str = "") -> None:
        """Do nothing: the journal settles what was accepted."""

    async def covers(self, event: WireEvent) -> bool:
        """Tell whether a notification is about the original of a job, whose own event does it.

        Of one that is on its way into the bucket that is known when it is there.
        """
        ref = object_of(event)
        job_id = job_of(ref.key)
        if event.source == self._source or not job_id:
            return False
        coming = self._coming.get(job_id)
        if coming is not None:
            await asyncio.wait([coming], timeout=PATIENCE)
        row = await self._rows.get(job_id)
        return (
            row is not None
            and row.state in (OPEN, DONE)
            and (row.bucket, row.object, row.etag) == (ref.bucket, ref.key, ref.etag)
        )

    def note(self, parcel: Parcel) -> Note | None:
        """Return what is written of jobs in the transaction that keeps a parcel."""
        return note(parcel, time.time()) if self._around.is_bucket(parcel.source) else None

    def finished(self, parcel: Parcel) -> None:
        """Learn that a parcel is kept: who waits for it waits no longer."""
        for job_id in [one for one, picture in self._open.items() if picture == parcel.event_id]:
            self._over(job_id, DONE)

    async def close(self) -> None:
        self._closed.set()
        self._something.set()
        if self._coming:
            _, late = await asyncio.wait(self._coming.values(), timeout=STOP)
            for task in late:
                task.cancel()
        await self._around.close()

    def status(self) -> SourceStatus:
        return SourceStatus(
            name=self.name,
            kind="upload",
            state="finished" if self._closed.is_set() else "streaming",
            last_picture_at=self._last_at,
            counts=dict(self._counts),
        )

    # -- a job comes

    async def _known(self, job_id: str) -> JobStatus | None:
        """Return a job that need not be taken again; one that died is taken anew."""
        status = await self.get(job_id)
        return None if status is None or status.state == DEAD else status

    async def _once(
        self, job_id: str, key: str, work: Coroutine[Any, Any, JobStatus], size: int
    ) -> JobStatus:
        """Run ``work``, unless it is under way already, and whoever sent it goes away meanwhile."""
        task = self._coming.get(job_id)
        if task is not None:
            work.close()
            return await asyncio.shield(task)
        try:
            self.room(size)
            self._check_key(key, job_id)
        except (TryLater, Rejected):
            work.close()
            raise
        task = asyncio.create_task(work, name=f"upload {job_id}")
        self._coming[job_id] = task
        self._bytes += size
        if key:
            self._keys[key] = job_id
        task.add_done_callback(lambda _: self._came(job_id, key, size))
        return await asyncio.shield(task)

    def _check_key(self, key: str, job_id: str) -> None:
        if key and self._keys.get(key, job_id) != job_id:
            raise key_reused()

    def _came(self, job_id: str, key: str, size: int) -> None:
        del self._coming[job_id]
        self._bytes -= size
        self._keys.pop(key, None)

    async def _take(self, job_id: str, key: str, body: bytes, name: str) -> JobStatus:
        place = self._around.place()
        kind, where = content_type(body), object_key(place.config, job_id, name, body)
        # what servers say of one that was written at once, if nothing is encrypted
        etag = await asyncio.to_thread(_md5, body)
        ref = ObjectRef(bucket=place.config.bucket, key=where, etag=etag, size=len(body))
        row = await self._rows.begin(self._row(job_id, key, place, ref))
        if row.state != ARRIVING:
            return await self._look(row)
        written = await place.writer.put(where, body, kind)
        del body
        row = replace(
            row,
            etag=written.etag,
            version=written.version,
            picture=self._around.picture(place.source, written),
        )
        return await self._accept(row)

    async def _begin(self, row: JobRow) -> JobStatus:
        row = await self._rows.begin(row)
        return await (self._look(row) if row.state != ARRIVING else self._accept(row))

    async def _accept(self, row: JobRow) -> JobStatus:
        """Journal the event of a job whose original is durable."""
        row = await self._rows.change(replace(row, state=OPEN))
        self._counts["taken"] += 1
        self._last_at = datetime.now(UTC)
        if row.state == OPEN:  # else its notification was faster, and all is done
            self._opens(row)
            try:
                await self._around.intake.accept([event_of(row, self._source)])
            except (TryLater, Rejected, PartFailed):
                self._open.pop(row.id, None)
                await self._rows.change(replace(row, state=ARRIVING))
                self._show()
                raise
        return status_of(row)

    def _row(
        self, job_id: str, key: str, place: Place, ref: ObjectRef, written: datetime | None = None
    ) -> JobRow:
        picture = self._around.picture(place.source, ref)
        return row_of((job_id, key), place.source, ref, picture, written)

    # -- a job ends

    async def _resume(self) -> None:
        """See that what was open when the box ended is in the journal, and watch over it."""
        counts = await self._rows.counts()
        self._counts.update({state: counts.get(state, 0) for state in (DONE, DEAD)})
        rows = await self._rows.open_jobs()
        for row in rows:
            self._opens(row)
        for start in range(0, len(rows), BATCH):
            events = [event_of(row, self._source) for row in rows[start : start + BATCH]]
            while True:
                try:
                    await self._around.intake.accept(events)
                except TryLater as error:
                    await asyncio.sleep(error.after or RETRY_AFTER)
                else:
                    break
        self._resumed = True
        self._show()

    async def _look_at_all(self) -> None:
        watched = set(self._open)
        rows = {row.id: row for row in await self._rows.open_jobs()}
        for row in rows.values():
            await self._look(row)
        # those that a parcel ended which was kept before
        for job_id in watched - rows.keys() - self._coming.keys():
            found = await self._rows.get(job_id)
            if found is None or found.state in (DONE, DEAD):  # else it was sent again meanwhile
                self._over(job_id, DEAD if found is None else found.state)

    async def _look(self, row: JobRow) -> JobStatus:
        """Say how a job is; where its event ended without a picture, it is dead from now on."""
        if row.state != OPEN or row.id in self._coming or not self._resumed:
            return status_of(row)  # that its event is not in the journal says nothing yet
        way = way_of(await self._around.traces(row.event), row.event)
        if not way.over:
            return status_of(row, running=way.tried)
        row = await self._rows.change(ended(row, way.reason, way.hint, time.time()))
        if row.state in (DONE, DEAD):
            self._over(row.id, row.state)
        return status_of(row)

    def _opens(self, row: JobRow) -> None:
        self._open[row.id] = row.picture
        self._something.set()
        self._show()

    def _over(self, job_id: str, state: str) -> None:
        if self._open.pop(job_id, None) is not None:
            self._counts[state] += 1
        self._tell(job_id)
        self._show()

    def _tell(self, job_id: str) -> None:
        ends = self._ended.pop(job_id, None)
        if ends is not None:
            ends.set()

    def _show(self) -> None:
        self._counts["queued"] = len(self._open)
        for state in _STATES:
            self._metrics.jobs.labels(state).set(self._counts[state])


def _md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()
