"""A bucket as a source, against real Ceph gateways."""

from __future__ import annotations

import asyncio
import io
import secrets
from contextlib import suppress

from edge.config.sources import BucketConfig
from edge.errors import PartFailed
from edge.sources.buckets.objects import BucketObjects
from edge.sources.buckets.records import object_of
from tests.servers.minio_listen import minio, until
from tests.servers.rgw import Rgw, bucket, rgw
from tests.servers.rgw_pubsub import RgwPubsub, pubsub
from tests.sources.buckets.life import Journal, Open, Shelf, journal, opened

ZONE_SECONDS = 60.0
"""A zone may wait 20 s before it looks for changes by itself."""

__all__ = ["bucket", "journal", "minio", "opened", "pubsub", "rgw"]


async def test_a_real_bucket_is_swept_once(
    rgw: Rgw, bucket: str, opened: Open, journal: Journal
) -> None:
    client = rgw.client()
    client.make_bucket(bucket_name=bucket)
    keys = ["cam 1/hallé&lobby+%20.jpg", "b.JPEG", "日本.png", "note.txt"]
    for key in keys:
        client.put_object(bucket_name=bucket, object_name=key, data=io.BytesIO(b"x"), length=1)
    settings = {
        "endpoint": rgw.endpoint,
        "bucket": bucket,
        "access_key": rgw.access_key,
        "secret_key": rgw.secret_key,
        "via": "hook",
    }
    config = BucketConfig.model_validate({"kind": "bucket", **settings})
    objects = BucketObjects(config)
    first = opened(objects, **settings)
    await until(lambda: first.count("sweeps") == 1)
    assert sorted(journal.keys) == sorted(keys[:3])
    second = opened(objects, **settings)
    await until(lambda: second.count("sweeps") == 1)
    assert second.count("duplicates") == 3  # a restart: the journal knows its events
    assert len(journal.keys) == 3
    await objects.close()


async def test_a_real_server_that_cannot_stream_is_named(
    rgw: Rgw, bucket: str, opened: Open
) -> None:
    rgw.client().make_bucket(bucket_name=bucket)
    life = opened(
        Shelf(),
        endpoint=rgw.endpoint,
        bucket=bucket,
        access_key=rgw.access_key,
        secret_key=rgw.secret_key,
    )
    await until(lambda: life.source.status().reason != "")
    status = life.source.status()
    assert status.state == "waiting"
    assert status.hint


async def test_every_event_of_a_real_zone_comes_by_pull_and_its_objects_are_known_to_a_sweep(
    pubsub: RgwPubsub, opened: Open, journal: Journal
) -> None:
    client, name = pubsub.client(), f"edge-{secrets.token_hex(5)}"
    client.make_bucket(bucket_name=name)
    settings = {
        "endpoint": pubsub.endpoint,
        "pull_endpoint": pubsub.pubsub,
        "subscription": await pubsub.subscribe(name),
        "bucket": name,
        "access_key": pubsub.keys.access_key,
        "secret_key": pubsub.keys.secret_key,
        "via": "pull",
    }
    keys = {f"{number}.jpg" for number in range(20)}
    for key in sorted(keys):
        client.put_object(bucket_name=name, object_name=key, data=io.BytesIO(b"x"), length=1)
    objects = BucketObjects(BucketConfig.model_validate({"kind": "bucket", **settings}))
    life = opened(objects, **settings, sweep_every="0s")
    with suppress(AssertionError):
        await until(lambda: len(journal.keys) == 20, 1)
    # late is not lost: the next change wakes the zone, else it looks by itself (see rgw_pull)
    client.put_object(bucket_name=name, object_name="nudge", data=io.BytesIO(b"x"), length=1)
    await until(lambda: len(journal.keys) == 20, ZONE_SECONDS)
    await asyncio.sleep(0.5)
    assert life.count("notified") == life.count("accepted") == 20, "each once, none lost to an ack"
    assert set(journal.keys) == keys
    await life.end()

    # a restart: what the pull brought had no ETag, what was fetched of it has the listing's
    fetched = [(await objects.get(object_of(one))).ref for one in journal.events]
    journal.done = {(ref.key, ref.etag) for ref in fetched}
    later = opened(objects, **settings)
    await until(lambda: later.count("sweeps") == 1)
    assert (later.count("swept"), len(journal.keys)) == (0, 20)
    await later.end()
    await objects.close()


async def test_a_real_zone_that_is_killed_and_its_sweep_bring_each_object_once(
    pubsub: RgwPubsub, opened: Open, journal: Journal
) -> None:
    client, name = pubsub.client(), f"edge-{secrets.token_hex(5)}"
    client.make_bucket(bucket_name=name)
    subscription = await pubsub.subscribe(name)
    settings = {
        "endpoint": pubsub.endpoint,
        "pull_endpoint": pubsub.pubsub,
        "subscription": subscription,
        "bucket": name,
        "access_key": pubsub.keys.access_key,
        "secret_key": pubsub.keys.secret_key,
        "via": "pull",
    }
    objects = BucketObjects(BucketConfig.model_validate({"kind": "bucket", **settings}))
    life = opened(objects, **settings)

    def put(key: str) -> None:
        client.put_object(bucket_name=name, object_name=key, data=io.BytesIO(b"x"), length=1)

    await asyncio.to_thread(put, "a.jpg")
    await until(lambda: journal.keys == ["a.jpg"], ZONE_SECONDS)
    await asyncio.to_thread(pubsub.kill)
    await until(lambda: life.source.status().state == "waiting")
    await asyncio.to_thread(put, "b.jpg")
    await asyncio.to_thread(pubsub.revive)
    await until(lambda: life.count("sweeps") >= 2)
    assert sorted(journal.keys) == ["a.jpg", "b.jpg"]
    await life.end()
    with suppress(PartFailed):
        await objects.close()
