"""Amazon's forms over real sockets: S3 tells SNS or EventBridge, which post to the real hook."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from edge.config.secret import Secret
from edge.config.sources import BucketConfig
from edge.errors import PartFailed, Rejected
from edge.frame import ObjectRef
from edge.ops.metrics import counts_by
from edge.sources.buckets.hook import MALFORMED, S3Hook
from edge.sources.buckets.objects import BucketObjects
from edge.sources.buckets.records import object_of
from edge.sources.buckets.rule import BucketRule
from tests.servers.minio_listen import until
from tests.servers.moto import ACCESS_KEY, REGION, SECRET_KEY, Moto, moto
from tests.sources.buckets.life import Journal, Life
from tests.sources.buckets.notifications import sns
from tests.web.conftest import Open, Site, open_site
from tests.web.parts import FakeBox

__all__ = ["moto", "open_site"]

KEYS = [
    "cam 1/a+b/hallé%20&100%.jpg",
    "a%2Bb.JPG",
    "日本/" + "ü" * 440 + ".png",
    "a?b#c;'\"<>.webp",
]
TOKEN = "token-of-aws"


async def open_for(open_site: Open, bucket: str) -> Site:
    box = FakeBox()
    rule = BucketRule(removals=True)
    box.hook = S3Hook(
        box.intake, {bucket: rule}.get, tokens=frozenset({TOKEN}), metrics=box.metrics
    )
    return await open_site(box)


def config(moto: Moto, bucket: str, **other: Any) -> BucketConfig:
    return BucketConfig(
        kind="bucket",
        endpoint=moto.endpoint,
        bucket=bucket,
        region=REGION,
        access_key=Secret(ACCESS_KEY),
        secret_key=Secret(SECRET_KEY),
        **other,
    )


async def test_what_s3_tells_sns_arrives_under_its_own_key(moto: Moto, open_site: Open) -> None:
    bucket = moto.make_bucket()
    site = await open_for(open_site, bucket)
    address = site.at(f"/hooks/s3?token={TOKEN}")
    # S3 sends a test event first, which is nothing
    await asyncio.to_thread(moto.push_through_sns, bucket, address)
    for key in (*KEYS, "no picture.txt"):
        await asyncio.to_thread(moto.put, bucket, key)
    await asyncio.to_thread(moto.s3.delete_object, Bucket=bucket, Key=KEYS[0])
    taken = site.box.intake.taken
    await until(lambda: len(taken) == len(KEYS) + 1)
    assert [object_of(event).key for event in taken] == [*KEYS, KEYS[0]]
    assert [event.subject for event in taken[:4]] == KEYS
    assert taken[0].source == f"aws:s3.{REGION}.{bucket}"
    assert taken[-1].type == "com.amazonaws.s3.ObjectRemoved:Delete"
    assert len({event.id for event in taken}) == len(taken)
    counts = counts_by(site.box.metrics.notifications, "outcome")
    assert counts == {"accepted": len(KEYS) + 1, "unwanted": 1}


async def test_what_s3_tells_event_bridge_arrives_under_its_own_key(
    moto: Moto, open_site: Open
) -> None:
    bucket = moto.make_bucket()
    site = await open_for(open_site, bucket)
    queue = await asyncio.to_thread(moto.queue_of_event_bridge, bucket)
    for key in KEYS:
        await asyncio.to_thread(moto.put, bucket, key)
    await asyncio.to_thread(moto.s3.delete_object, Bucket=bucket, Key=KEYS[0])
    bodies = await asyncio.to_thread(moto.received, queue)
    for body in bodies:
        where = site.at(f"/hooks/s3?token={TOKEN}")
        async with site.client.post(where, data=body) as answer:
            assert answer.status == 204
    taken = site.box.intake.taken
    assert sorted(object_of(event).key for event in taken) == sorted([*KEYS, KEYS[0]])
    kinds = [event.type.removeprefix("com.amazonaws.s3.").partition(":")[0] for event in taken]
    assert sorted(kinds) == ["ObjectCreated"] * len(KEYS) + ["ObjectRemoved"]
    made = [object_of(event) for event in taken if "Created" in event.type]
    assert {(one.size, len(one.etag)) for one in made} == {(1, 32)}


async def test_a_subscription_is_not_confirmed_by_itself_but_shown(
    moto: Moto, open_site: Open
) -> None:
    """Moto asks for no confirmation; a real SNS does, as text/plain like all that it sends."""
    site = await open_for(open_site, "frames")
    asks = sns("You have chosen to subscribe", "SubscriptionConfirmation")
    address = f"{moto.endpoint}/?Action=ConfirmSubscription&Token=1"
    asks = asks[:-1] + f', "SubscribeURL": "{address}"}}'.encode()
    kind = {"Content-Type": "text/plain; charset=UTF-8"}
    where = site.at(f"/hooks/s3?token={TOKEN}")
    async with site.client.post(where, data=asks, headers=kind) as answer:
        assert answer.status == 204
    (event,) = site.box.intake.taken
    assert event.type == MALFORMED
    assert "SNS asks" in str(event.extensions["why"])


async def test_objects_of_amazon_are_fetched_and_swept_once(moto: Moto) -> None:
    bucket = moto.make_bucket()
    for key in (*KEYS, "no picture.txt"):
        await asyncio.to_thread(moto.put, bucket, key, key.encode())
    await asyncio.to_thread(
        moto.s3.put_bucket_versioning,
        Bucket=bucket,
        VersioningConfiguration={"Status": "Enabled"},
    )
    journal, settings = Journal(), config(moto, bucket)
    objects = BucketObjects(settings)
    life = Life(settings, objects, journal)
    await until(lambda: life.count("sweeps") == 1)
    await life.end()
    assert sorted(journal.keys) == sorted(KEYS)
    for event in journal.events:
        fetched = await objects.get(object_of(event))
        assert fetched.body == fetched.ref.key.encode()
        assert fetched.ref.etag == object_of(event).etag
    await asyncio.to_thread(moto.put, bucket, KEYS[0], b"another")
    before = next(object_of(one) for one in journal.events if one.subject == KEYS[0])
    with pytest.raises(Rejected) as refused:
        await objects.get(before)
    assert refused.value.reason == "replaced"
    newer = await objects.get(ObjectRef(bucket=bucket, key=KEYS[0]))
    assert newer.body == b"another"
    assert newer.ref.version
    await objects.close()


async def test_a_bucket_of_amazon_that_is_not_there_is_named(moto: Moto) -> None:
    objects = BucketObjects(config(moto, "edge-nowhere"))
    with pytest.raises(PartFailed) as failed:
        await objects.get(ObjectRef(bucket="edge-nowhere", key="a.jpg"))
    assert failed.value.reason == "no_bucket"
    await objects.close()
