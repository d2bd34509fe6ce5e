"""Notifications of a real Ceph RGW: a topic that pushes to an address, for one bucket."""

from __future__ import annotations

import hashlib
import re
import urllib.request
from datetime import UTC, datetime
from urllib.parse import urlencode

from minio.notificationconfig import NotificationConfig, TopicConfig

from edge.sources.buckets.sigv import Keys, Request, sign_v4
from tests.servers.rgw import Rgw


def push_to(rgw: Rgw, bucket: str, address: str, **attributes: str) -> None:
    """Have what is created in a bucket pushed to ``address``; only that, for RGW's sake."""
    arn = _topic(rgw, bucket, {"push-endpoint": address, **attributes})
    wanted = TopicConfig(topic=arn, events=["s3:ObjectCreated:*"], config_id="edge")
    rgw.client().set_bucket_notification(
        bucket_name=bucket, config=NotificationConfig(topic_config_list=[wanted])
    )


def _topic(rgw: Rgw, name: str, attributes: dict[str, str]) -> str:
    form = {"Action": "CreateTopic", "Name": name}
    for number, (key, value) in enumerate(attributes.items(), 1):
        form[f"Attributes.entry.{number}.key"] = key
        form[f"Attributes.entry.{number}.value"] = value
    body = urlencode(form).encode()
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    asked = Request(method="POST", host=rgw.endpoint.removeprefix("http://"), headers=kind)
    keys = Keys(access_key=rgw.access_key, secret_key=rgw.secret_key)
    signed = sign_v4(asked, keys, datetime.now(UTC), payload=hashlib.sha256(body).hexdigest())
    sent = urllib.request.Request(f"{rgw.endpoint}/", body, {**kind, **signed}, method="POST")
    with urllib.request.urlopen(sent, timeout=30) as answer:
        found = re.search(r"<TopicArn>([^<]+)<", answer.read().decode())
    assert found
    return found[1]
