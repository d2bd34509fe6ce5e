"""Promise 4 in small: the store goes away and comes back; nothing is lost or doubled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from minio import Minio

from tests.journeys.box import check_covered, pixels, until
from tests.journeys.conftest import MakeBox
from tests.places import shared
from tests.servers.rgw import Rgw


@pytest.mark.timeout(240)
def test_a_real_gateway_dies_in_mid_stream_and_gets_everything_in_order_when_it_is_back(
    make_box: MakeBox, rgw: Rgw, bucket: str
) -> None:
    box = make_box(
        '[sources.site]\nkind = "scene"\nfps = 8\nwidth = 640\nheight = 360\n'
        f'[outbox]\nretry_max = "2s"\n[store]\nkind = "s3"\nendpoint = "{rgw.endpoint}"\n'
        f'bucket = "{bucket}"\naccess_key = "{rgw.access_key}"\nsecret_key = "{rgw.secret_key}"\n'
        'timeout = "3s"\n'
    )
    client = rgw.client()
    uploads = sorted(shared("data/people-dev/images").iterdir())[:6]
    box.start()
    until("pictures are in the bucket", lambda: len(keys(client, bucket)) > 10)

    rgw.kill()
    jobs = [accepted(box.post("/v1/images", path.read_bytes())) for path in uploads]
    until("the page says that the store is shut", lambda: not box.status()["sending"]["up"])
    assert box.status()["sending"]["reason"]
    until("pictures pile up", lambda: box.status()["sending"]["waiting"] > 15)
    assert box.get("/readyz")[0] == 200, "a shut store is no reason to stop redacting"

    rgw.revive()
    until("the store takes parcels again", lambda: box.status()["sending"]["up"])
    box.post("/v1/commands/source.disable", b'{"name": "site"}')
    redacted = box.come_to_rest()
    stored = stored_messages(client, bucket)
    assert box.stop() == 0

    assert len(stored) == redacted
    assert len({one["id"] for one in stored}) == redacted
    # The order of writing, by the gateway's own clock, is the order of taking.
    written = sorted(stored, key=lambda one: (one["stored_at"], one["time"]))
    site = [one["time"] for one in written if one["data"]["source"] == "site"]
    assert site == sorted(site)
    for job, path in zip(jobs, uploads, strict=True):
        (facts,) = [one for one in stored if one["id"].startswith(job)]
        body = client.get_object(bucket_name=bucket, object_name=facts["data"]["picture"]["key"])
        check_covered(pixels(body.read()), pixels(path), facts)
        body.close()
        body.release_conn()


def accepted(reply: tuple[int, dict[str, Any]]) -> str:
    status, job = reply
    assert status == 202
    return str(job["id"])


def keys(client: Minio, bucket: str) -> list[str]:
    if not client.bucket_exists(bucket_name=bucket):
        return []
    found = client.list_objects(bucket_name=bucket, recursive=True)
    return sorted(str(one.object_name) for one in found if str(one.object_name).endswith(".jpg"))


def stored_messages(client: Minio, bucket: str) -> list[dict[str, Any]]:
    messages = []
    for one in client.list_objects(bucket_name=bucket, recursive=True):
        if str(one.object_name).endswith(".json"):
            reply = client.get_object(bucket_name=bucket, object_name=str(one.object_name))
            messages.append({**json.loads(reply.read()), "stored_at": one.last_modified})
            reply.close()
            reply.release_conn()
    return messages


def test_a_folder_that_vanishes_and_returns_holds_everything_up_and_then_drains(
    make_box: MakeBox, tmp_path: Path
) -> None:
    mount, store = tmp_path / "mount", tmp_path / "mount" / "store"
    mount.mkdir()
    box = make_box(
        '[sources.site]\nkind = "scene"\nfps = 5\nwidth = 320\nheight = 180\n'
        f'[outbox]\nretry_max = "500ms"\n[store]\nkind = "folder"\npath = "{store}"\n'
    )
    box.start()
    until("pictures are stored", lambda: box.metric("edge_parcels_stored_total") > 3)
    # A file where the folder was: what a lost mount or a tidy-minded person leaves.
    mount.rename(tmp_path / "away")
    mount.write_text("not a folder")
    until("the page says so", lambda: not box.status()["sending"]["up"])
    until("parcels wait", lambda: box.status()["sending"]["waiting"] > 5)
    mount.unlink()
    (tmp_path / "away").rename(mount)
    until("the store takes parcels again", lambda: box.status()["sending"]["up"])
    box.post("/v1/commands/source.disable", b'{"name": "site"}')
    redacted = box.come_to_rest()
    assert box.stop() == 0
    assert len(list(store.rglob("*.jpg"))) == len(list(store.rglob("*.json"))) == redacted
