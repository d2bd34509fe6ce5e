from __future__ import annotations

import asyncio
import json
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cloudevents import json_format
from edge.errors import TryLater
from edge.ops.metrics import Metrics, counts_by
from edge.sources.buckets.hook import KEPT, MALFORMED, S3Hook
from edge.sources.buckets.records import object_of
from edge.sources.buckets.rule import BucketRule
from tests.places import shared
from tests.sources.buckets.notifications import aws, event_bridge, listen, minio, records, webhook
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


async def test_what_users_wrote_about_an_object_is_kept_nowhere(bus: MemoryBus) -> None:
    body = webhook(userMetadata={"X-Amz-Meta-Thumb": "a small copy"})
    assert await hook_of(bus).take(body) == 1
    assert b"small copy" not in (bus.taken[0].data or b"")


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


async def test_whoever_sweeps_is_told_what_is_on_disk_and_nothing_else(bus: MemoryBus) -> None:
    told: list[str] = []
    rule = BucketRule(removals=True)
    hook = S3Hook(bus, {"frames": rule}.get, noticed=lambda what: told.append(what.key))
    await hook.take(records(aws("a.jpg"), aws("b.txt"), aws("c.jpg", "ObjectRemoved:Delete")))
    assert told == ["a.jpg"]
    assert [event.subject for event in bus.taken] == ["a.jpg", "c.jpg"]
    bus.refuses = TryLater("full", reason="journal_full")
    with pytest.raises(TryLater):
        await hook.take(records(aws("d.jpg")))
    assert told == ["a.jpg"]


async def test_notifications_are_counted_by_what_became_of_them(bus: MemoryBus) -> None:
    metrics = Metrics()
    hook = S3Hook(bus, {"frames": BucketRule()}.get, metrics=metrics)
    for body in (records(aws("a.jpg"), aws("b.jpg"), aws("c.txt")), records(aws("a.jpg")), b"{no"):
        await hook.take(body)
    counts = counts_by(metrics.notifications, "outcome")
    assert counts == {"accepted": 2, "duplicate": 1, "unwanted": 1, "malformed": 1}


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("s3:ObjectRemoved:Delete", True),
        ("s3:ObjectRemoved:DeleteMarkerCreated", True),
        ("s3:ObjectRemoved:DeleteAllVersions", True),
        ("s3:ObjectRemoved:NoOP", False),
        ("s3:LifecycleExpiration:Delete", True),
        ("s3:ObjectAccessed:Get", False),
    ],
)
async def test_a_removal_is_wanted_where_the_rule_says_so(
    bus: MemoryBus, name: str, wanted: bool
) -> None:
    assert await hook_of(bus, frames=BucketRule(removals=True)).take(webhook(name=name)) == wanted
    outside = BucketRule(removals=True, prefix="other/")
    assert await hook_of(bus, frames=outside).take(webhook(name=name)) == 0


async def test_an_object_whose_time_is_up_is_gone_like_any_other(bus: MemoryBus) -> None:
    hook = hook_of(bus, frames=BucketRule(removals=True))
    for reason in ("DeleteObject", "Lifecycle Expiration"):
        body = json.dumps(event_bridge("Object Deleted", reason)).encode()
        assert await hook.take(body) == 1


async def test_a_subscription_that_waits_for_its_confirmation_says_where(bus: MemoryBus) -> None:
    """Of a body 1 KiB is kept, and the address of a real one ends beyond that."""
    address = f"https://sns.us-west-2.amazonaws.com/?Action=ConfirmSubscription&Token={'f' * 300}"
    body = {"Type": "SubscriptionConfirmation", "Token": "f" * 300, "Message": "m" * 700}
    await hook_of(bus).take(json.dumps({**body, "SubscribeURL": address}).encode())
    (event,) = bus.taken
    assert event.type == MALFORMED
    assert address in str(event.extensions["why"])
    for odd in ("http://x/", 5, "https://x/\n\x1b[2J", None):
        await hook_of(bus).take(json.dumps({**body, "SubscribeURL": odd}).encode())
    assert {str(one.extensions["why"])[-4:] for one in bus.taken[1:]} == {"here"}
