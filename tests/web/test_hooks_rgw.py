"""A real Ceph RGW pushes to a real server."""

from __future__ import annotations

import asyncio
import io
import time

from edge.errors import TryLater
from edge.sources.buckets.hook import S3Hook
from edge.sources.buckets.records import object_of
from edge.sources.buckets.rule import BucketRule
from tests.servers.rgw import Rgw, bucket, rgw
from tests.servers.rgw_topics import push_to
from tests.web.conftest import Open, Site
from tests.web.parts import FakeBox

__all__ = ["bucket", "rgw"]

TOKEN = "T0ken+/é"
BODY = b"x" * 160
KEYS = [
    "plain.jpg",
    "cam 1/a+b/hallé%20&100%.jpg",
    "日本/" + "ü" * 440 + ".JPG",
    "a%2Bb.jpg",
    "a?b#c;d=e'\"<&>.png",
    "line\nbreak.jpg",
]


async def open_for(open_site: Open, bucket: str) -> Site:
    box = FakeBox()
    box.hook = S3Hook(box.intake, {bucket: BucketRule()}.get, tokens=frozenset({TOKEN}))
    return await open_site(box)


def put(rgw: Rgw, bucket: str, *keys: str) -> float:
    """Put small objects, and return the seconds that the slowest one took."""
    client, longest = rgw.client(), 0.0
    for key in keys:
        began = time.perf_counter()
        client.put_object(
            bucket_name=bucket, object_name=key, data=io.BytesIO(BODY), length=len(BODY)
        )
        longest = max(longest, time.perf_counter() - began)
    return longest


async def test_every_picture_arrives_under_its_own_key(
    rgw: Rgw, bucket: str, open_site: Open
) -> None:
    site = await open_for(open_site, bucket)
    await asyncio.to_thread(rgw.client().make_bucket, bucket_name=bucket)
    address = site.at("/hooks/s3?token=T0ken%2B%2F%C3%A9")
    await asyncio.to_thread(push_to, rgw, bucket, address)
    await asyncio.to_thread(put, rgw, bucket, *KEYS, "no picture.txt", KEYS[0])
    taken = site.box.intake.taken
    found = [object_of(event) for event in taken]
    assert [one.key for one in found] == [*KEYS, KEYS[0]]
    assert {(one.bucket, one.size) for one in found} == {(bucket, len(BODY))}
    assert len({event.id for event in taken}) == len(KEYS) + 1


async def test_a_box_that_cannot_take_more_slows_uploads_a_little_and_fails_none(
    rgw: Rgw, bucket: str, open_site: Open
) -> None:
    site = await open_for(open_site, bucket)
    await asyncio.to_thread(rgw.client().make_bucket, bucket_name=bucket)
    address = site.at("/hooks/s3?token=T0ken%2B%2F%C3%A9")
    await asyncio.to_thread(push_to, rgw, bucket, address)
    site.box.intake.refuses = TryLater("full", reason="journal_full")
    assert 1.0 <= await asyncio.to_thread(put, rgw, bucket, "lost.jpg") < 5.0
    site.box.intake.refuses = None
    await asyncio.to_thread(put, rgw, bucket, "kept.jpg")
    # a plain topic tries once: the sweep finds what it lost
    assert [event.subject for event in site.box.intake.taken] == ["kept.jpg"]
