"""Uploads: pictures that came over HTTP. A source and the register of its jobs in one.

::

    submit --> queued --events()--> running --settle--> done | dead
                                        finished (the redacted picture) --> kept for a while

An original is in memory only, and only until its event is settled: a restart forgets what waited.
Whoever sent it learns that from the job (404) and sends it again; the same picture under the same
key is the same event, so that twice is once. A job that died is tried anew when it is sent again.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from edge.config.sources import JobsConfig
from edge.contracts import JobStatus, Picture, SourceStatus
from edge.errors import Rejected, TryLater
from edge.event import PICTURE_ARRIVED, Event, Outcome
from edge.frame import Encoded
from edge.ops.metrics import Metrics
from edge.parcel import Parcel

REMEMBERED = 4096
"""Finished jobs whose end is remembered; older ones are forgotten."""
RETRY_AFTER = 2.0
HASHED_AT_ONCE = 256 * 1024
"""Larger bodies are hashed in a thread: the loop has other things to do."""

_UNSAFE = re.compile(r"[^\w.\- ]+")
_HINTS = {
    "stopping": "the box was stopped before its turn came: send it again",
    "withheld": "nobody could show that it is safe; the original was dropped",
}


@dataclass(slots=True)
class _Job:
    status: JobStatus
    #: key that it was sent with
    key: str
    size: int
    name: str
    #: the original, until it is handed over
    body: bytes | None = field(repr=False)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    parcel: Parcel | None = field(default=None, repr=False)
    #: when the result is dropped, on the clock
    until: float = 0.0


class Uploads:
    """Takes pictures from ``submit``, yields them from ``events``, keeps what they became.

    Args:
        config: how much may wait, and how long results are kept.
        origin: ``/{site}/{node}``.
        max_bytes: largest picture; the web side has asked before, this is the last word.
        clock: seconds that never go back.
        now: the time of day.

    """

    name = "upload"
    live = False

    def __init__(
        self,
        config: JobsConfig,
        *,
        metrics: Metrics,
        origin: str,
        max_bytes: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._config = config
        self._metrics = metrics
        self._source = f"{origin}/{self.name}"
        self._max_bytes = max_bytes or config.max_waiting_bytes
        self._clock, self._now = clock, now
        self._jobs: dict[str, _Job] = {}
        #: the jobs that ended, the longest ago first
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._by_key: dict[str, str] = {}
        self._queue: deque[_Job] = deque()
        self._something = asyncio.Event()
        self._closed = False
        self._waiting_bytes = 0
        #: jobs whose picture is kept, oldest first
        self._kept: OrderedDict[str, _Job] = OrderedDict()
        self._kept_bytes = 0
        self._states = dict.fromkeys(("queued", "running", "done", "dead"), 0)
        self._last_at: datetime | None = None
        self._taken = 0

    # The jobs, for those who send.

    def room(self, size: int) -> None:
        waiting = self._states["queued"] + self._states["running"]
        check_room(self._config, waiting, self._waiting_bytes + size, stopping=self._closed)

    async def submit(self, body: bytes, name: str, idempotency_key: str = "") -> JobStatus:
        check_size(body, self._max_bytes)
        job_id = await job_id_of(body, idempotency_key)
        if idempotency_key and self._by_key.get(idempotency_key, job_id) != job_id:
            raise Rejected(
                "this Idempotency-Key came with another picture before", reason="key_reused"
            )
        known = self._jobs.get(job_id)
        if known is not None and known.status.state != "dead":
            return known.status
        self.room(len(body))
        return self._queue_up(job_id, body, name, idempotency_key)

    async def refer(self, bucket: str, key: str, idempotency_key: str = "") -> JobStatus:  # noqa: ARG002
        raise Rejected(
            "pictures in buckets are not taken: this box keeps uploads in memory",
            hint='set [jobs] bucket = "NAME" of a source of kind bucket; or send the picture',
            reason="unsupported",
        )

    async def get(self, job_id: str) -> JobStatus | None:
        job = self._jobs.get(job_id)
        return None if job is None else job.status

    async def wait(self, job_id: str, timeout: float) -> JobStatus | None:  # noqa: ASYNC109
        job = self._jobs.get(job_id)
        if job is None:
            return None
        try:
            async with asyncio.timeout(timeout):
                await job.ended.wait()
        except TimeoutError:
            pass
        return job.status

    async def image(self, job_id: str) -> Parcel | None:
        self._expire()
        job = self._jobs.get(job_id)
        return job.parcel if job is not None and job.status.state == "done" else None

    # The source, for the path.

    async def events(self) -> AsyncIterator[Event[Picture]]:
        while not self._closed:
            if self._queue:
                # No local name may hold the event: it would keep the original until the next one.
                yield self._hand_over(self._queue.popleft())
                continue
            self._something.clear()
            await self._something.wait()

    async def settle(self, event: Event[Picture], outcome: Outcome, reason: str = "") -> None:
        job = self._jobs.get(event.id)
        if job is None or job.status.state not in ("queued", "running"):
            return
        if outcome in (Outcome.DONE, Outcome.DUPLICATE):
            self._end(job, "done", "")
        else:
            self._end(job, "dead", reason or outcome.value)

    def finished(self, parcel: Parcel) -> None:
        """Keep the redacted picture of an event of ours, before the event is settled."""
        job = self._jobs.get(parcel.event_id)
        if job is None or job.parcel is not None:
            return
        job.status = replace(job.status, key=parcel.key, content_type=parcel.content_type)
        if len(parcel.body) > self._config.keep_bytes:
            return
        job.parcel = parcel
        job.until = self._clock() + self._config.keep_for
        self._kept[job.status.id] = job
        self._kept_bytes += len(parcel.body)
        self._expire()

    async def close(self) -> None:
        self._closed = True
        self._something.set()
        while self._queue:
            self._end(self._queue.popleft(), "dead", "stopping")

    def status(self) -> SourceStatus:
        self._expire()
        return SourceStatus(
            name=self.name,
            kind="upload",
            state="finished" if self._closed else "streaming",
            last_picture_at=self._last_at,
            counts={"taken": self._taken, **self._states},
        )

    # What happens to one job.

    def _queue_up(self, job_id: str, body: bytes, name: str, key: str) -> JobStatus:
        self._forget(job_id)
        now = self._now()
        status = JobStatus(id=job_id, state="queued", accepted_at=now)
        job = _Job(status, key, len(body), safe_name(name) or self.name, body)
        self._jobs[job_id] = job
        if key:
            self._by_key[key] = job_id
        self._queue.append(job)
        self._waiting_bytes += job.size
        self._last_at = now
        self._taken += 1
        self._count("queued", 1)
        self._something.set()
        return status

    def _hand_over(self, job: _Job) -> Event[Picture]:
        body, job.body = job.body or b"", None
        self._change(job, replace(job.status, state="running"))
        taken_at = job.status.accepted_at
        return Event(
            id=job.status.id,
            source=self._source,
            type=PICTURE_ARRIVED,
            subject=job.name,
            time=taken_at.isoformat(),
            data=Encoded(
                body=body, name=job.name, taken_at=taken_at, source=self.name, subject=job.name
            ),
        )

    def _end(self, job: _Job, state: str, reason: str) -> None:
        code, _, words = reason.partition(": ")
        hint = "; ".join(text for text in (words, _HINTS.get(code, "")) if text)
        job.body = None
        self._waiting_bytes -= job.size
        ended = replace(job.status, state=state, reason=code, hint=hint, finished_at=self._now())
        self._change(job, ended)
        job.ended.set()
        self._ended[job.status.id] = None
        if len(self._ended) > REMEMBERED:
            self._forget(next(iter(self._ended)))

    def _change(self, job: _Job, status: JobStatus) -> None:
        self._count(job.status.state, -1)
        job.status = status
        self._count(status.state, 1)

    def _count(self, state: str, step: int) -> None:
        self._states[state] += step
        self._metrics.jobs.labels(state).set(self._states[state])

    # What is forgotten.

    def _expire(self) -> None:
        """Drop results that are too old, or the oldest where there are too many bytes."""
        now = self._clock()
        while self._kept:
            job_id, job = next(iter(self._kept.items()))
            if job.until > now and self._kept_bytes <= self._config.keep_bytes:
                return
            self._drop_result(job_id)

    def _drop_result(self, job_id: str) -> None:
        job = self._kept.pop(job_id, None)
        if job is not None and job.parcel is not None:
            self._kept_bytes -= len(job.parcel.body)
            job.parcel = None

    def _forget(self, job_id: str) -> None:
        """Forget a job that ended, and what it became."""
        job = self._jobs.pop(job_id, None)
        if job is None:
            return
        self._drop_result(job_id)
        del self._ended[job_id]
        self._count(job.status.state, -1)
        if job.key:
            self._by_key.pop(job.key, None)


def check_room(config: JobsConfig, waiting: int, size: int, *, stopping: bool) -> None:
    """Refuse one upload more for now where there is no room for it.

    Args:
        config: how many may wait, and how many bytes of them.
        waiting: how many wait.
        size: bytes of those and of the new one.
        stopping: whether the box takes nothing more.

    Raises:
        TryLater: ``stopping`` or ``full``.

    """
    if stopping:
        raise TryLater("the box is stopping", reason="stopping", after=10.0)
    if waiting >= config.max_waiting or size > config.max_waiting_bytes:
        raise TryLater(
            f"{waiting} uploads wait, and there is no room for more",
            hint="[jobs] max_waiting and max_waiting_bytes set the limit",
            reason="full",
            after=RETRY_AFTER,
        )


def check_size(body: bytes, most: int) -> None:
    """Refuse what is no upload by its size.

    Raises:
        Rejected: ``empty`` or ``too_large``.

    """
    if not body:
        raise Rejected("there is no picture in the upload", reason="empty")
    if len(body) > most:
        raise Rejected(f"larger than {most} bytes", reason="too_large")


async def job_id_of(body: bytes, key: str) -> str:
    """Name a picture under a key: the same for ever, on every start."""
    if len(body) > HASHED_AT_ONCE:
        return await asyncio.to_thread(_job_id, body, key)
    return _job_id(body, key)


def _job_id(body: bytes, key: str) -> str:
    return hashlib.sha256(hashlib.sha256(body).digest() + key.encode()).hexdigest()[:32]


def safe_name(name: str) -> str:
    """Return what is harmless of a sender's name for a file; may be empty."""
    base = name.replace("\\", "/").rpartition("/")[2]
    return _UNSAFE.sub("_", base).strip(" .")[:100]
