"""The event of a job: how it is made, and what its way through the bus says of the job."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from edge.contracts import JobStatus
from edge.event import WireEvent
from edge.frame import ObjectRef
from edge.sources.buckets.records import read
from edge.sources.upload_rows import DEAD, DONE, JobRow
from edge.traffic import Passage, Trace

TRIGGER: Final = "objects"
"""The trigger that leads to the handler which redacts objects, unless the file has others."""
_WAITING = ("waiting", "retrying")
_HINTS = {
    "withheld": "nobody could show that it is safe; the original stays in its bucket",
    "unwanted": "no trigger takes pictures of buckets: edge trigger ls",
    "gone": "the original was removed or written over before its turn came",
    "other_etag": "the store has its picture, but the server told another ETag than when it was "
    "written",
    "forgotten": "how it ended is no longer known: edge dlq ls; else send it again",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How far an event is."""

    #: nothing more comes of it
    over: bool
    #: it was tried, and is tried again
    tried: bool = False
    #: over: why no picture came of it
    reason: str = ""
    hint: str = ""


def row_of(
    ids: tuple[str, str], source: str, ref: ObjectRef, picture: str, written: datetime | None
) -> JobRow:
    """Return a job that begins now.

    Args:
        ids: its own, and the sender's Idempotency-Key.
        source: whose bucket its original is in.
        ref: its original.
        picture: id of the event of its picture.
        written: when the original was written; None: now.

    """
    now = datetime.now(UTC)
    return JobRow(
        id=ids[0],
        idem=ids[1],
        at=now.timestamp(),
        source=source,
        bucket=ref.bucket,
        object=ref.key,
        etag=ref.etag,
        version=ref.version,
        size=ref.size or 0,
        written=(written or now).isoformat(),
        # a job that died and is sent again is another event to the journal
        event=f"{ids[0]}-{int(now.timestamp() * 1000)}",
        picture=picture,
    )


def event_of(row: JobRow, source: str) -> WireEvent:
    """Return the event of a job: what a notification of its original would be."""
    record = {
        "eventVersion": "2.2",
        "eventSource": "edge:upload",
        "eventTime": row.written,
        "eventName": "ObjectCreated:Put",
        "s3": {
            "bucket": {"name": row.bucket},
            "object": {
                "key": row.object,
                "size": row.size,
                "eTag": row.etag,
                "versionId": row.version,
            },
        },
    }
    (event,) = read(json.dumps({"Records": [record]}).encode(), keys="plain")
    return replace(event, id=row.event, source=source)


def way_of(traces: Sequence[Trace], event_id: str) -> Way:
    """Return how far the event of a job is; ask only while the job is open, so without a parcel."""
    trace = next((one for one in traces if one.attributes.get("id") == event_id), None)
    if trace is None:
        return _over("forgotten")
    passages = [one for one in trace.passages if one.trigger == TRIGGER] or list(trace.passages)
    if not passages:
        return _over("unwanted")
    if any(one.state in _WAITING for one in passages):
        return Way(over=False, tried=any(one.tries for one in passages))
    return _end(passages)


def _end(passages: Sequence[Passage]) -> Way:
    tries = [one.attempts[-1] for one in passages if one.attempts]
    failed = next((one for one in tries if one.reason), None)
    if failed is not None:
        return _over(failed.reason, failed.error)
    if any(one.parcel for one in passages):
        return _over("other_etag")
    return _over("expired" if any(one.state == "dead" for one in passages) else "gone")


def _over(reason: str, words: str = "") -> Way:
    hint = "; ".join(text for text in (words, _HINTS.get(reason, "")) if text)
    return Way(over=True, reason=reason, hint=hint)


def status_of(row: JobRow, *, running: bool = False) -> JobStatus:
    """Return a job as its sender sees it."""
    state = row.state if row.state in (DONE, DEAD) else "running" if running else "queued"
    return JobStatus(
        id=row.id,
        state=state,
        reason=row.reason,
        hint=row.hint,
        accepted_at=_time(row.at),
        finished_at=_time(row.ended_at) if row.ended_at else None,
        key=row.key,
        content_type=row.content_type,
    )


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
