"""The probe of ``edge bucket check``: a real picture is put, and the running box has to see it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

import numpy as np

from edge.cli.box_client import Where
from edge.cli.bucket_work import Report
from edge.cloudevents import json_format
from edge.config.privacy import Format, Policy
from edge.errors import EdgeError, PartFailed
from edge.event import PICTURE_REDACTED, WireEvent
from edge.privacy.encode import encode
from edge.sources.buckets.link import Ask, BucketLink
from edge.sources.buckets.minio_listen import MinioListen, lines
from edge.sources.buckets.records import object_of, read
from edge.sources.buckets.records_s3 import TYPES
from edge.sources.buckets.setup import Finding, Wanted, connect
from edge.sources.buckets.sigv import Keys
from edge.sources.buckets.topics import refusal

REDACTED_WITHIN: Final = 20.0
_QUIET: Final = 60.0
_ENDINGS: Mapping[str, Format] = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png", ".webp": "webp"}


@dataclass(slots=True)
class _Seen:
    """What became of the probe."""

    key: str
    #: told by a notification, found by a sweep, redacted
    told: asyncio.Event = field(default_factory=asyncio.Event)
    swept: asyncio.Event = field(default_factory=asyncio.Event)
    redacted: asyncio.Event = field(default_factory=asyncio.Event)


async def probed(report: Report, wanted: Wanted, box: Where, *, patience: float) -> Report:
    """Return the report with what became of the probe; the object is deleted again."""
    ending = next((one.lower() for one in wanted.config.suffixes if one.lower() in _ENDINGS), "")
    ending = ending or next(iter(wanted.config.suffixes), ".jpg")
    seen = _Seen(f"{wanted.config.prefix}edge-probe-{secrets.token_hex(6)}{ending}")
    link = connect(wanted.config)
    listens = wanted.config.via == "listen"
    watch = _listening(link, wanted, seen) if listens else _watching(box, wanted, seen)
    try:
        async with watch, _put(link, wanted.config.bucket, seen.key, picture(ending)):
            finding = await _judge(seen, wanted, patience, listens=listens)
    except EdgeError as error:
        finding = Finding.of("probe", error)
    finally:
        await link.close()
    return replace(report, findings=(*report.findings, finding))


def unprobed(report: Report) -> Report:
    """Return the report of a source that is known to be wrong: a probe would tell no more."""
    finding = Finding(what="probe", state="note", text="not tried: what is wrong comes first")
    return replace(report, findings=(*report.findings, finding))


def picture(ending: str) -> bytes:
    """Return a small grey picture, in the format that an ending stands for; else JPEG."""
    grey = np.full((120, 160, 3), 128, np.uint8)
    policy = Policy(format=_ENDINGS.get(ending, "jpeg"))
    return encode(grey, policy, datetime.now(UTC), "edge-probe")[0]


async def _judge(seen: _Seen, wanted: Wanted, patience: float, *, listens: bool) -> Finding:
    began = asyncio.get_running_loop().time()
    if not await _within(patience, seen.told):
        return _unseen(seen, wanted, patience)
    text = f"{seen.key} was told of after {asyncio.get_running_loop().time() - began:.1f} s"
    if listens:
        return Finding(what="probe", state="ok", text=f"{text}, to this command")
    if await _within(REDACTED_WITHIN, seen.redacted):
        return Finding(what="probe", state="ok", text=f"{text}, and the box redacted it")
    hint = f"edge dlq ls --subject {seen.key.rpartition('/')[2]}; edge doctor"
    text += ", but the box did not redact it (safe mode withholds pictures that stand alone)"
    return Finding(what="probe", state="warn", text=text, hint=hint)


def _unseen(seen: _Seen, wanted: Wanted, patience: float) -> Finding:
    again = f"edge bucket setup {wanted.name}"
    if seen.swept.is_set():
        text = f"the box's sweep found {seen.key}; no notification came within {patience:g} s"
    else:
        text = f"nobody told the box of {seen.key} within {patience:g} s"
    hint = (
        f"{again} (a topic that was changed counts only then); the server must reach the box; a "
        "persistent queue of radosgw 16.2 that was refused once needs a restart of radosgw"
    )
    return Finding(what="probe", state="fail", text=text, hint=hint)


async def _within(seconds: float, happened: asyncio.Event) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await happened.wait()
    except TimeoutError:
        return False
    return True


@asynccontextmanager
async def _put(link: BucketLink, bucket: str, key: str, body: bytes) -> AsyncIterator[None]:
    """Have an object in the bucket for a while."""
    path, where = f"/{key}", f"{link.where}/{bucket}/{key}"
    headers = {"Content-Type": "image/jpeg"}
    ask = Ask(method="PUT", bucket=bucket, path=path, body=body, headers=headers, silence=20.0)
    try:
        try:
            async with link.ask(ask) as answer:
                if answer.status != 200:
                    raise await refusal(answer, where)
        except PartFailed as error:
            if error.reason == "silent":
                error.hint = "a Ceph waits for the hook: does something at that address hang?"
            elif error.reason == "denied":
                error.hint = "the probe has to write: give the key s3:PutObject and s3:DeleteObject"
            raise
        yield
    finally:
        async with link.ask(Ask(method="DELETE", bucket=bucket, path=path)) as answer:
            await answer.code()


@asynccontextmanager
async def _listening(link: BucketLink, wanted: Wanted, seen: _Seen) -> AsyncIterator[None]:
    """Listen ourselves: the server tells everybody who does."""

    async def take(line: bytes) -> None:
        if any(object_of(event).key == seen.key for event in read(line, keys="plain")):
            seen.told.set()

    up = asyncio.Event()
    listen = MinioListen(link, wanted.config.bucket, prefix=wanted.config.prefix, ping=1)
    async with _beside(listen.run(take, up.set), up):
        yield


@asynccontextmanager
async def _watching(box: Where, wanted: Wanted, seen: _Seen) -> AsyncIterator[None]:
    """Watch the events of the running box."""
    link = BucketLink(box.url.rstrip("/"), Keys(access_key="", secret_key=""))
    up = asyncio.Event()
    try:
        async with _beside(_watch(link, box, wanted, seen, up), up):
            yield
    finally:
        await link.close()


async def _watch(
    link: BucketLink, box: Where, wanted: Wanted, seen: _Seen, up: asyncio.Event
) -> None:
    token = {"Authorization": f"Bearer {box.token}"} if box.token else {}
    ask = Ask(
        path="/v1/events",
        query=[("subject", seen.key)],
        headers={"Accept": "text/event-stream", **token},
        silence=_QUIET,
    )
    async with _boxes(link), link.ask(ask) as answer:
        if answer.status != 200:
            raise PartFailed(
                f"{link.where} answers {answer.status} where the events of a box were expected",
                hint="--token TOKEN or $EDGE_TOKEN" if answer.status == 401 else "--box URL",
                reason="no_box",
            )
        up.set()
        async for line in lines(answer.chunks(), link.where):
            if line.startswith(b"data:"):
                _note(json_format.decode(line[5:].strip()), wanted, seen)


@asynccontextmanager
async def _boxes(link: BucketLink) -> AsyncIterator[None]:
    """Say of a failure that it is the box's, not the store's."""
    try:
        yield
    except PartFailed as error:
        if error.reason in {"unreachable", "silent", "cut", "tls"}:
            raise PartFailed(
                f"no box answers at {link.where}: {error}",
                hint="does it run (edge run, systemctl status edge)? Elsewhere: --box URL",
                reason=error.reason,
            ) from error
        raise


def _note(event: WireEvent, wanted: Wanted, seen: _Seen) -> None:
    if event.subject != seen.key:
        return
    if event.type == PICTURE_REDACTED:
        seen.redacted.set()
    elif event.type.startswith(f"{TYPES}ObjectCreated"):
        # what a sweep finds comes from the box itself, in the name of the source
        swept = event.source.startswith("/") and event.source.endswith(f"/{wanted.name}")
        (seen.swept if swept else seen.told).set()


@asynccontextmanager
async def _beside(work: Coroutine[None, None, None], up: asyncio.Event) -> AsyncIterator[None]:
    """Run ``work``, from when it is ``up`` until the end; what it raises before is raised here."""
    task = asyncio.create_task(work, name="probe watches")
    waiting = asyncio.create_task(up.wait(), name="probe waits")
    try:
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        yield
    finally:
        for one in (task, waiting):
            one.cancel()
        await asyncio.gather(task, waiting, return_exceptions=True)
