"""Notifications of a real Ceph RGW: a topic that pushes to an address, for one bucket."""

from __future__ import annotations

import asyncio

from edge.sources.buckets.link import BucketLink
from edge.sources.buckets.sigv import Keys
from edge.sources.buckets.topics import Topics
from edge.sources.buckets.topics_xml import Notification, Topic
from tests.servers.rgw import Rgw


def push_to(rgw: Rgw, bucket: str, address: str, *, persistent: bool = False) -> None:
    """Have what is created in a bucket pushed to ``address``; only that, for RGW's sake."""

    async def work() -> None:
        link = BucketLink(rgw.endpoint, Keys(access_key=rgw.access_key, secret_key=rgw.secret_key))
        topics = Topics(link)
        topic = await topics.put(Topic(name=bucket, endpoint=address, persistent=persistent))
        wanted = Notification(id="edge", arn=topic.arn, events=("s3:ObjectCreated:*",))
        await topics.notify(bucket, wanted)
        await link.close()

    asyncio.run(work())
