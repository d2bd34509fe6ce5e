from __future__ import annotations

import asyncio
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cloudevents import json_format
from edge.errors import TryLater
from edge.sources.buckets.hook import KEPT, MALFORMED, S3Hook
from edge.sources.buckets.records import object_of
from edge.sources.buckets.rule import BucketRule
from tests.places import shared
from tests.sources.buckets.notifications import aws, listen, minio, records, webhook
from tests.web.traffic_parts import MemoryBus


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus()


def hook_of(bus: MemoryBus, **rules: BucketRule) -> S3Hook:
    return S3Hook(bus, (rules or {"frames": BucketRule()}).get)


async def test_pictures_are_journalled_and_counted(bus: MemoryBus) -> None:
    body = records(minio("a.jpg"), aws("b.JPEG"), aws("c.png"))
    assert await hook_of(bus).take(body) == 3
    assert [object_of(event).key for event in bus.taken] == ["a.jpg", "b.JPEG", "c.png"]


async def test_a_redelivery_counts_and_is_kept_once(bus: MemoryBus) -> None:
    hook = hook_of(bus)
    assert [await hook.take(webhook()), await hook.take(listen())] == [1, 1]
    assert len(bus.taken) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \n",
        b'{"Records":null}',
        b'{"Event":"s3:TestEvent"}',
        webhook("a.txt"),
        webhook("a.jpg.part"),
        webhook(name="s3:ObjectRemoved:Delete"),
        webhook(name="s3:ObjectCreated:PutTagging"),
        webhook(name="s3:ObjectCreated:PutRetention"),
        webhook(name="s3:ObjectTagging:Put"),
        webhook(name="s3:ObjectAccessed:Get"),
        webhook(name="s3:ObjectCreated:Post", size=0),
        webhook(name="s3:ObjectCreated:Post", size=None),
        webhook().replace(b"frames", b"others"),
    ],
)
async def test_what_is_not_wanted_is_passed_over(bus: MemoryBus, body: bytes) -> None:
    assert await hook_of(bus).take(body) == 0
    assert bus.taken == []


@pytest.mark.parametrize("name", ["Put", "Post", "Copy", "CompleteMultipartUpload"])
async def test_every_way_to_bring_a_picture_is_wanted(bus: MemoryBus, name: str) -> None:
    assert await hook_of(bus).take(webhook(name=f"s3:ObjectCreated:{name}")) == 1


async def test_only_keys_of_the_prefix_and_suffixes_are_wanted(bus: MemoryBus) -> None:
    hook = hook_of(bus, frames=BucketRule(prefix="in/", suffixes=(".TIF",)))
    keys = ("in/a.tif", "in/a.jpg", "out/a.tif", "IN/a.tif")
    assert await hook.take(records(*map(minio, keys))) == 1
    assert bus.taken[0].subject == "in/a.tif"
    hook = hook_of(bus, frames=BucketRule(suffixes=()))
    assert await hook.take(webhook("whatever")) == 1


async def test_a_change_feed_without_sizes_is_believed(bus: MemoryBus) -> None:
    body = (shared("samples/rgw") / "pull-events.json").read_bytes()
    hook = S3Hook(bus, {"pull-6b002621": BucketRule()}.get)
    assert await hook.take(body) == 3


@pytest.mark.parametrize("body", [b"hello", b"\xff\x00", b'{"a": 1}', records(minio(""))])
async def test_a_body_that_nobody_can_read_becomes_one_event(bus: MemoryBus, body: bytes) -> None:
    hook = hook_of(bus)
    assert [await hook.take(body), await hook.take(body)] == [1, 1]
    (event,) = bus.taken
    kept = None if body == b"\xff\x00" else body
    assert (event.type, event.data) == (MALFORMED, kept), "what is no text may be a raw picture"
    assert event.extensions["reason"] == "malformed_notification"
    assert "expected" in str(event.extensions["why"])
    assert (event.datacontenttype == "application/json") == body.startswith(b"{")


async def test_a_large_unreadable_body_is_cut_and_a_larger_one_does_not_block(
    bus: MemoryBus,
) -> None:
    body = b"x" * (KEPT + 1)
    assert await hook_of(bus).take(body) == 1
    assert bus.taken[0].data == body[:-1]
    assert bus.taken[0].extensions["bytes"] == KEPT + 1
    bus.max_event = 1000
    assert await hook_of(bus).take(b"y" * 2000) == 0


async def test_a_raw_picture_that_a_camera_sends_here_is_kept_nowhere(bus: MemoryBus) -> None:
    picture = (shared("data/photos") / "beagle.jpg").read_bytes()
    assert await hook_of(bus).take(picture) == 1
    assert await hook_of(bus).take(b'{"image": "' + b64encode(picture) + b'"}') == 1
    raw, text = bus.taken
    assert raw.data is None
    assert len(text.data or b"") == KEPT


async def test_an_event_that_the_bus_never_takes_holds_up_nobody(bus: MemoryBus) -> None:
    bus.max_event = 1000
    record = minio() | {"opaqueData": "x" * 1000}
    assert await hook_of(bus).take(records(record)) == 0
    assert bus.taken == []


async def test_a_full_journal_is_said(bus: MemoryBus) -> None:
    bus.refuses = TryLater("full", reason="journal_full")
    for body in (webhook(), b"junk"):
        with pytest.raises(TryLater):
            await hook_of(bus).take(body)
    assert bus.taken == []


@given(st.binary(min_size=1, max_size=60) | st.text(min_size=1, max_size=30).map(str.encode))
def test_whatever_was_sent_the_event_for_it_can_be_written(body: bytes) -> None:
    bus = MemoryBus()
    assert asyncio.run(hook_of(bus).take(body)) == bool(body.strip())
    for event in bus.taken:
        assert json_format.decode(json_format.encode_line(event)).attributes() == event.attributes()


async def test_a_thousand_pictures_in_one_body_are_taken(bus: MemoryBus) -> None:
    body = records(*(minio(f"{number}.jpg") for number in range(1000)))
    assert await hook_of(bus).take(body) == 1000
    assert len(bus.taken) == 1000
