"""Pictures in buckets: a notification, a fetch from a real gateway, and the real walk."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import cv2
import numpy as np
import pytest
from minio.versioningconfig import VersioningConfig

from edge.config.secret import Secret
from edge.config.sources import BucketConfig
from edge.errors import PartFailed, Rejected, Withheld
from edge.event import Event, WireEvent
from edge.frame import ObjectRef
from edge.parcel import Parcel
from edge.sources.buckets.objects import BucketObjects
from edge.stages.objects import MOST_FAILURES, RedactObject, event_id
from tests.places import shared
from tests.servers.odd_s3 import Answer, OddS3, odd_s3
from tests.servers.rgw import Rgw, bucket, rgw
from tests.stages.parts import FixedEngine, a_frame
from tests.stages.test_walk import Path

__all__ = ["bucket", "odd_s3", "rgw"]

TIME = "2026-01-02T03:04:05.678901234Z"


class Box:
    """The handler, with a bucket ``frames`` of which each object is a picture to redact."""

    def __init__(self, path: Path, objects: BucketObjects, name: str = "in") -> None:
        self.path, self.objects = path, objects
        self.redact = RedactObject(
            path.redact,
            path.metrics,
            origin="/site/node",
            object_of=object_of,
            bucket_of=lambda ref: None if ref.bucket == "unknown" else (name, objects.get),
            is_ours=lambda ref: ref.key.startswith("redacted/"),
        )

    async def parcel(self, event: WireEvent) -> Parcel:
        made = await self.redact(event)
        assert isinstance(made, Parcel)
        return made

    def count(self, metric: str, **labels: str) -> float:
        return self.path.metrics.registry.get_sample_value(metric, {"source": "in", **labels}) or 0


def object_of(event: WireEvent) -> ObjectRef:
    return ObjectRef(**json.loads(event.data or b""))


def notification(key: str, number: int = 0, *, time: str = TIME, **other: Any) -> WireEvent:
    return Event(
        id=f"request.{number}",
        source="ceph:s3..frames",
        type="com.amazonaws.s3.ObjectCreated:Put",
        subject=key,
        time=time,
        datacontenttype="application/json",
        data=json.dumps({"bucket": "frames", "key": key, **other}).encode(),
    )


def a_picture(seed: int = 0) -> bytes:
    done, coded = cv2.imencode(".png", a_frame(seed=seed).pixels)
    assert done
    return coded.tobytes()


def pixels(body: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR))


def reader(endpoint: str, name: str = "frames", **other: Any) -> BucketObjects:
    values = {"access_key": Secret("AK"), "secret_key": Secret("SK"), "timeout": "2s", **other}
    return BucketObjects(BucketConfig(kind="bucket", endpoint=endpoint, bucket=name, **values))


@pytest.fixture
async def box(rgw: Rgw, bucket: str) -> AsyncIterator[Box]:
    """Return a box on a real bucket, which is there."""
    rgw.client().make_bucket(bucket_name=bucket)
    keys = {"access_key": Secret(rgw.access_key), "secret_key": Secret(rgw.secret_key)}
    objects = reader(rgw.endpoint, bucket, max_object="1MiB", **keys)
    async with Path(FixedEngine()) as path:
        yield Box(path, objects)
    await objects.close()


@pytest.fixture
async def odd(odd_s3: OddS3) -> AsyncIterator[Box]:
    """Return a box on the odd server."""
    objects = reader(odd_s3.endpoint)
    async with Path(FixedEngine()) as path:
        yield Box(path, objects)
    await objects.close()


def put(rgw: Rgw, bucket: str, key: str, body: bytes) -> str:
    stored = rgw.client().put_object(
        bucket_name=bucket, object_name=key, data=io.BytesIO(body), length=len(body)
    )
    return stored.etag or ""


# -- a real gateway


@pytest.mark.parametrize(
    "key", ["a.png", "höhe/日本 🎥+%20.jpg", "ü" * 300 + "/" + "k" * 295 + ".jpg", "no-extension"]
)
async def test_a_picture_in_a_bucket_becomes_a_parcel(
    box: Box, rgw: Rgw, bucket: str, key: str
) -> None:
    etag = put(rgw, bucket, key, a_picture())
    event = notification(key, etag=etag)
    parcel = await box.parcel(event)
    assert (parcel.source, parcel.event_id) == ("in", event_id("in", object_of(event)))
    assert parcel.taken_at == datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    assert parcel.key.startswith("in/2026/01/02/030405.678-")
    assert parcel.message["subject"] == key
    assert parcel.message["source"] == "/site/node/in"
    before, after = pixels(a_picture()), pixels(parcel.body)
    assert before.shape == after.shape
    covered = after[90:150, 110:210]  # where the engine sees somebody
    assert (covered == covered[0, 0]).all()
    assert (before[:30, :30] == after[:30, :30]).all()
    assert box.count("edge_pictures_taken_total") == 1


async def test_whoever_tells_of_an_object_it_is_one_parcel_and_other_content_is_another(
    box: Box, rgw: Rgw, bucket: str
) -> None:
    put(rgw, bucket, "a.png", a_picture())
    (listed,) = [one async for page in box.objects.list() for one in page]
    # a change feed, twice, knows no ETag; a hook and a sweep do
    events = [notification("a.png", 1), notification("a.png", 2)]
    events.append(notification("a.png", 3, etag=f'"{listed.etag}"'))
    parcels = [await box.parcel(event) for event in events]
    assert len({(one.id, one.key, one.body) for one in parcels}) == 1
    swept = ObjectRef(bucket="frames", key="a.png", etag=listed.etag)
    assert parcels[0].event_id == event_id("in", swept), "or a sweep after a restart does it again"
    put(rgw, bucket, "a.png", a_picture(seed=1))
    other = await box.parcel(notification("a.png", 4))
    assert other.id != parcels[0].id
    assert other.key != parcels[0].key


async def test_versions_with_the_same_content_are_one_parcel(
    box: Box, rgw: Rgw, bucket: str
) -> None:
    rgw.client().set_bucket_versioning(bucket_name=bucket, config=VersioningConfig("Enabled"))
    bodies = [a_picture(), a_picture(), a_picture(seed=1)]
    for body in bodies:
        put(rgw, bucket, "a.png", body)
    found = rgw.client().list_objects(bucket_name=bucket, include_version=True)
    versions = [one.version_id for one in sorted(found, key=lambda one: str(one.last_modified))]
    assert len(set(versions)) == 3
    made = [
        await box.parcel(notification("a.png", number, version=version))
        for number, version in enumerate(versions)
    ]
    assert made[0].id == made[1].id
    assert made[0].id != made[2].id


async def test_many_at_once_each_become_their_own(box: Box, rgw: Rgw, bucket: str) -> None:
    for seed in range(8):
        put(rgw, bucket, f"{seed}.png", a_picture(seed))
    made = await asyncio.gather(*(box.parcel(notification(f"{n}.png", n)) for n in range(8)))
    for seed, parcel in enumerate(made):
        assert (pixels(a_picture(seed))[:30, :30] == pixels(parcel.body)[:30, :30]).all()


async def test_a_picture_that_is_gone_is_done(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "edge.stages.objects")
    assert await box.redact(notification("none.png")) is None
    assert box.count("edge_objects_gone_total") == 1
    assert "none.png" in caplog.text
    assert not box.count("edge_pictures_rejected_total", reason="gone")


async def test_a_picture_that_was_written_over_leaves_it_to_the_newer_notification(
    box: Box, rgw: Rgw, bucket: str
) -> None:
    old = put(rgw, bucket, "a.png", a_picture(1))
    new = put(rgw, bucket, "a.png", a_picture(2))
    assert await box.redact(notification("a.png", 1, etag=old)) is None
    assert box.count("edge_objects_gone_total") == 1
    parcel = await box.parcel(notification("a.png", 2, etag=new))
    assert (pixels(parcel.body)[:30, :30] == pixels(a_picture(2))[:30, :30]).all()


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("zero_byte.jpg", "not_a_picture"),
        ("text_named_jpg.jpg", "not_a_picture"),
        ("photo.heic", "unsupported_format"),
        ("header_lies_65500.jpg", "too_many_pixels"),
        ("header_lies_65535.png", "too_many_pixels"),
        ("bomb_16000x12000_rgb.png", "too_many_pixels"),
        ("bomb_40000x40000_1bit.png", "too_many_pixels"),
        ("truncated.png", "damaged"),
        ("truncated_header.jpg", "damaged"),
        ("zero_height.jpg", "damaged"),
        ("video_truncated.mp4", "not_a_picture"),
    ],
)
async def test_a_poisoned_picture_is_refused_for_its_own_reason(
    box: Box, rgw: Rgw, bucket: str, file: str, reason: str
) -> None:
    put(rgw, bucket, "a.jpg", shared(f"data/odd/{file}").read_bytes())
    with pytest.raises(Rejected) as caught:
        await box.redact(notification("a.jpg"))
    assert caught.value.reason == reason
    assert box.count("edge_pictures_rejected_total", reason=reason) == 1


async def test_an_object_beyond_the_limit_is_refused(box: Box, rgw: Rgw, bucket: str) -> None:
    put(rgw, bucket, "a.jpg", bytes(2**20 + 1))
    with pytest.raises(Rejected) as caught:
        await box.redact(notification("a.jpg"))
    assert caught.value.reason == "too_large"


async def test_a_sweep_is_spared_what_can_never_be_redacted(
    box: Box, rgw: Rgw, bucket: str
) -> None:
    given_up: list[str] = []

    async def give_up(event: str) -> None:
        given_up.append(event)

    box.redact.given_up = give_up
    put(rgw, bucket, "a.jpg", b"no picture")
    assert await box.redact(notification("a.jpg", etag="e9f4a28bd8a4cd4ad0dc7ea7d1d9a7b5")) is None
    etag = rgw.client().stat_object(bucket_name=bucket, object_name="a.jpg").etag
    with pytest.raises(Rejected):
        await box.redact(notification("a.jpg", etag=etag))
    listed = ObjectRef(bucket="frames", key="a.jpg", etag=etag or "")
    assert given_up == [event_id("in", listed)]
    put(rgw, bucket, "large.jpg", bytes(2**20 + 1))
    with pytest.raises(Rejected, match="large"):
        await box.redact(notification("large.jpg"))
    assert len(given_up) == 1, "another limit would let it in"


async def test_a_picture_that_cannot_be_shown_to_be_safe_is_withheld(
    box: Box, rgw: Rgw, bucket: str
) -> None:
    put(rgw, bucket, "a.png", a_picture())

    def cannot_tell() -> None:
        raise Withheld("it cannot tell", reason="cannot_judge")

    box.path.engine.instead = cannot_tell
    with pytest.raises(Withheld):
        await box.redact(notification("a.png"))
    assert box.count("edge_pictures_withheld_total", reason="cannot_judge") == 1


# -- without one


async def test_its_own_work_is_left_alone_and_never_fetched(odd: Box, odd_s3: OddS3) -> None:
    assert await odd.redact(notification("redacted/a.png")) is None
    assert not odd_s3.seen


async def test_a_bucket_that_no_source_reads_is_refused(odd: Box, odd_s3: OddS3) -> None:
    with pytest.raises(Rejected) as caught:
        await odd.redact(notification("a.png", bucket="unknown"))
    assert caught.value.reason == "unknown_bucket"
    assert not odd_s3.seen


@pytest.mark.parametrize(("status", "reason"), [(403, "refused"), (503, "unreachable")])
async def test_a_server_that_refuses_or_fails_is_asked_again_later(
    odd: Box, odd_s3: OddS3, status: int, reason: str
) -> None:
    odd_s3.answer = lambda *_: Answer(status, "Odd")
    with pytest.raises(PartFailed) as caught:
        await odd.redact(notification("a.png"))
    assert caught.value.reason == reason
    odd_s3.answer = lambda *_: Answer(200, body=a_picture())
    await odd.parcel(notification("a.png"))


@pytest.mark.parametrize(
    "time", ["", "yesterday", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "\ud800"]
)
async def test_a_time_that_is_none_is_now(odd: Box, odd_s3: OddS3, time: str) -> None:
    odd_s3.answer = lambda *_: Answer(200, body=a_picture())
    parcel = await odd.parcel(notification("a.png", time=time))
    assert abs(datetime.now(UTC) - parcel.taken_at) < timedelta(minutes=1)


async def test_a_time_without_a_zone_is_utc(odd: Box, odd_s3: OddS3) -> None:
    odd_s3.answer = lambda *_: Answer(200, body=a_picture())
    parcel = await odd.parcel(notification("a.png", time="2026-01-02T03:04:05"))
    assert parcel.taken_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_the_same_content_under_the_same_key_is_one_picture_whoever_told_of_it() -> None:
    ref = ObjectRef(bucket="frames", key="a.png", etag="1F")
    one, other = notification("a.png", 1), notification("a.png", 2)
    same = ObjectRef(bucket="frames", key="a.png", etag='"1f"', version="v", size=5)
    assert event_id("in", ref, one) == event_id("in", same, other) == event_id("in", ref)
    assert event_id("in", ref) != event_id("out", ref)
    assert event_id("in", ref) != event_id("in", replace(ref, etag="2f"))
    assert event_id("in", ref) != event_id("in", replace(ref, key="b.png"))


def test_without_an_etag_source_and_id_of_the_notification_name_it() -> None:
    ref = ObjectRef(bucket="frames", key="a.png")
    ids = {
        event_id("in", ref, Event(id=name, source=source, type="t", data=None))
        for source, name in [("a", "bc"), ("ab", "c"), ("b", "bc"), ("a", "b")]
    }
    assert len(ids) == 4


async def test_an_engine_that_breaks_is_told_of_and_a_server_that_fails_is_not(
    odd: Box, odd_s3: OddS3
) -> None:
    told: list[PartFailed] = []
    handler = RedactObject(
        odd.path.redact,
        odd.path.metrics,
        origin="/site/node",
        object_of=object_of,
        bucket_of=lambda _: ("in", odd.objects.get),
        is_ours=lambda _: False,
        broke=told.append,
    )
    odd_s3.answer = lambda *_: Answer(503, "SlowDown")
    with pytest.raises(PartFailed):
        await handler(notification("a.png"))
    assert not told

    def breaks() -> None:
        raise PartFailed("it broke", reason="engine")

    odd.path.engine.instead = breaks
    odd_s3.answer = lambda *_: Answer(200, body=a_picture())
    with pytest.raises(PartFailed):
        await handler(notification("a.png"))
    assert [error.reason for error in told] == ["engine"]
    for _ in range(MOST_FAILURES - 2):
        with pytest.raises(PartFailed):
            await handler(notification("a.png"))
    with pytest.raises(Withheld, match="it broke"):
        await handler(notification("a.png"))
