"""Uploads of a box: in memory, or on the bucket that ``[jobs]`` names."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

from edge.config.sources import BucketConfig
from edge.contracts import Handler
from edge.errors import PartFailed, Rejected
from edge.event import WireEvent
from edge.parcel import Parcel, ReadBack
from edge.sources.buckets.rule import BucketRule
from edge.sources.upload import Uploads
from edge.sources.upload_around import Around, Place
from edge.sources.upload_bucket import BucketJobs
from edge.sources.upload_rows import JobRows
from edge.stages.objects import event_id

if TYPE_CHECKING:
    from edge.app.box import Box
    from edge.sources.buckets.objects_put import BucketWriter

Jobs: TypeAlias = Uploads | BucketJobs


def jobs_of(box: Box) -> Jobs:
    """Make the jobs of a box; its spool, store and bus are there already."""
    jobs, most = box.config.jobs, box.config.web.max_upload
    if not jobs.bucket:
        return Uploads(jobs, metrics=box.metrics, origin=box.origin, max_bytes=most)
    made = BucketJobs(
        jobs,
        JobRows(box.spool),
        _Places(box).around(),
        metrics=box.metrics,
        origin=box.origin,
        max_bytes=most,
    )
    box.kept.notes.append(made.note)
    return made


class AfterJobs:
    """The handler of objects, but for originals of uploads: their jobs have events of their own.

    The bucket tells of an original, too; without this each upload would be redacted twice.
    """

    sees_pictures = False

    def __init__(self, handler: Handler, jobs: BucketJobs) -> None:
        self.where = handler.where
        self._handler, self._jobs = handler, jobs

    async def __call__(self, event: WireEvent) -> WireEvent | Parcel | None:
        """Hand an event on, unless a job does it."""
        return None if await self._jobs.covers(event) else await self._handler(event)

    async def close(self) -> None:
        """Let go of the handler's connections."""
        await self._handler.close()


def after_jobs(handler: Handler, jobs: Jobs) -> Handler:
    """Return the handler of objects for a box with these jobs."""
    return AfterJobs(handler, jobs) if isinstance(jobs, BucketJobs) else handler


class _Places:
    """The buckets that jobs may be about, as they are configured now."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self._writers: dict[str, tuple[BucketConfig, BucketWriter]] = {}

    def around(self) -> Around:
        return Around(
            intake=self._box.bus.broker,
            traces=self._box.bus.journal.traces,
            place=self._place,
            place_of=self._place_of,
            is_bucket=lambda name: isinstance(self._configs.get(name), BucketConfig),
            picture=event_id,
            read_back=self._read_back,
            close=self._close,
        )

    @property
    def _configs(self) -> dict[str, object]:
        return dict(self._box.sources.configs)

    def _place(self) -> Place:
        name = self._box.config.jobs.bucket
        config = self._configs.get(name)
        if not isinstance(config, BucketConfig):
            raise PartFailed(
                f"there is no source {name} now, in whose bucket uploads wait",
                hint="add it again, or correct jobs.bucket",
                reason="no_bucket",
            )
        return self._made(name, config)

    def _place_of(self, bucket: str, key: str) -> Place:
        buckets = [
            (name, one) for name, one in self._configs.items() if isinstance(one, BucketConfig)
        ]
        for name, config in buckets:
            rule = BucketRule(prefix=config.prefix, suffixes=config.suffixes)
            if config.bucket == bucket and rule.holds(key):
                return self._made(name, config)
        known = ", ".join(
            f"{config.bucket}/{config.prefix} ({' '.join(config.suffixes) or 'every key'})"
            for _, config in buckets
        )
        raise Rejected(
            f"no source reads {key[:200]!r} of bucket {bucket[:200]}",
            hint=f"this box reads {known or 'no bucket now'}",
            reason="unknown_bucket",
        )

    def _made(self, name: str, config: BucketConfig) -> Place:
        from edge.sources.buckets.objects_put import BucketWriter  # noqa: PLC0415

        known = self._writers.get(name)
        if known is None or known[0] != config:
            known = self._writers[name] = (config, BucketWriter(config))
        return Place(source=name, config=config, writer=known[1])

    async def _read_back(
        self, key: str, sha256: str, content_type: str, taken_at: datetime
    ) -> ReadBack:
        from edge.sinks.pictures import PictureFacts, Pictures  # noqa: PLC0415

        pictures = Pictures(self._box.outbox.picture, self._box.store)
        return await pictures.read_back(
            PictureFacts(key=key, sha256=sha256), content_type, taken_at
        )

    async def _close(self) -> None:
        for _, writer in self._writers.values():
            await writer.close()
