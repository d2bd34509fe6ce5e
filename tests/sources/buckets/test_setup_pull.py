"""The pubsub zone of a real Ceph is set up, looked at and cleared."""

from __future__ import annotations

import asyncio
import io
import secrets
from collections.abc import Sequence
from functools import partial

import pytest

from edge.config.sources import BucketConfig
from edge.errors import PartFailed
from edge.sources.buckets.link import BucketLink
from edge.sources.buckets.rgw_pull import Pulled, RgwPull
from edge.sources.buckets.setup import Finding, Wanted
from edge.sources.buckets.setup_pull import PullSetup, PullZone
from tests.servers.rgw_pubsub import RgwPubsub, pubsub

__all__ = ["pubsub"]


def wanted(pubsub: RgwPubsub, bucket: str, *, dry: bool = False) -> Wanted:
    config = BucketConfig.model_validate(
        {
            "kind": "bucket",
            "endpoint": pubsub.endpoint,
            "pull_endpoint": pubsub.pubsub,
            "via": "pull",
            "subscription": f"sub-{bucket}",
            "bucket": bucket,
            "access_key": pubsub.keys.access_key,
            "secret_key": pubsub.keys.secret_key,
        }
    )
    return Wanted(name="yard", config=config, dry=dry)


async def first_event(pubsub: RgwPubsub, link: BucketLink, bucket: str, key: str) -> bytes:
    """Put an object, and return the first event that the source's subscription brings."""
    put = partial(pubsub.client().put_object, bucket_name=bucket, object_name=key)
    await asyncio.to_thread(put, data=io.BytesIO(b"x"), length=1)
    came: asyncio.Queue[Pulled] = asyncio.Queue()

    async def take(page: Sequence[Pulled]) -> None:
        for one in page:
            came.put_nowait(one)

    pulling = RgwPull(link, f"sub-{bucket}").run(take, lambda: None)
    task = asyncio.create_task(pulling, name="pull")
    first = await asyncio.wait_for(came.get(), 60)
    task.cancel()
    return first.body


def states(findings: list[Finding]) -> dict[str, str]:
    return {one.what: one.state for one in findings}


async def test_what_is_set_up_brings_events_and_can_be_removed(pubsub: RgwPubsub) -> None:
    bucket = f"edge-{secrets.token_hex(5)}"
    await asyncio.to_thread(pubsub.client().make_bucket, bucket_name=bucket)
    link = BucketLink(pubsub.pubsub, pubsub.keys)
    setup = PullSetup(link, wanted(pubsub, bucket))
    assert states(await setup.check()) == {"subscription": "fail"}
    three = ("topic", "notification", "subscription")
    dry = PullSetup(link, wanted(pubsub, bucket, dry=True))
    assert states(await dry.ensure()) == dict.fromkeys(three, "would")
    assert states(await setup.check()) == {"subscription": "fail"}, "nothing was made"
    assert states(await setup.ensure()) == dict.fromkeys(three, "made")
    assert states(await setup.ensure()) == dict.fromkeys(three, "ok")
    assert states(await setup.check()) == {"subscription": "ok", "notification": "ok"}

    await asyncio.sleep(0.5)  # rgw-dev's repair of the zone takes 0.1 s
    assert b"a.jpg" in await first_event(pubsub, link, bucket, "a.jpg")
    zone = PullZone(link)
    await zone.put(f"/subscriptions/theirs-{bucket}", topic=f"edge-{bucket}-yard")
    found = states(await setup.remove())
    assert found == {"notification": "removed", "subscription": "removed", "topic": "note"}
    await zone.remove(f"/subscriptions/theirs-{bucket}")
    assert states(await setup.remove()) == {"topic": "removed"}
    assert states(await setup.remove()) == {"subscription": "ok"}, "nothing is left"
    await link.close()


async def test_a_missing_notification_or_bucket_is_named(
    pubsub: RgwPubsub,
) -> None:
    bucket = f"edge-{secrets.token_hex(5)}"
    await asyncio.to_thread(pubsub.client().make_bucket, bucket_name=bucket)
    link = BucketLink(pubsub.pubsub, pubsub.keys)
    setup, zone = PullSetup(link, wanted(pubsub, bucket)), PullZone(link)
    await setup.ensure()
    await zone.remove(f"/notifications/bucket/{bucket}", topic=f"edge-{bucket}-yard")
    assert states(await setup.check()) == {"subscription": "ok", "notification": "fail"}
    await zone.put(
        f"/notifications/bucket/{bucket}", topic=f"edge-{bucket}-yard", events="OBJECT_DELETE"
    )
    assert states(await setup.check()) == {"subscription": "ok", "notification": "fail"}
    assert states(await setup.ensure())["notification"] == "made"
    assert states(await setup.check()) == {"subscription": "ok", "notification": "ok"}
    with pytest.raises(PartFailed, match="NoSuchKey") as raised:
        await zone.notifications("edge-nobodys-bucket")
    assert raised.value.reason == "no_bucket"
    await link.close()


async def test_the_stores_own_gateway_is_not_taken_for_the_zone(pubsub: RgwPubsub) -> None:
    link = BucketLink(pubsub.endpoint, pubsub.keys)
    with pytest.raises(PartFailed, match="NoSuchBucket") as raised:
        await PullSetup(link, wanted(pubsub, "edge-any")).ensure()
    assert raised.value.reason == "no_zone"
    assert "pull_endpoint" in raised.value.hint
    await link.close()
