"""Pictures land in a bucket of a real Ceph RGW; redacted ones land in another, each once."""

from __future__ import annotations

import io
import json
from pathlib import Path

from tests.journeys.box import check_covered, pixels, until
from tests.journeys.conftest import MakeBox
from tests.places import shared
from tests.servers.rgw import Rgw
from tests.servers.rgw_topics import push_to

TOKEN = "a-token-of-the-test"


def config(rgw: Rgw, bucket: str, token: str = TOKEN) -> str:
    """A bucket that is told of by a hook, and swept; the store is another bucket."""
    keys = f'access_key = "{rgw.access_key}"\nsecret_key = "{rgw.secret_key}"\n'
    return (
        f'[sources.yard]\nkind = "bucket"\nendpoint = "{rgw.endpoint}"\nbucket = "{bucket}"\n'
        f'sweep_every = "5s"\ntoken = "{token}"\n{keys}'
        f'[store]\nkind = "s3"\nendpoint = "{rgw.endpoint}"\nbucket = "{bucket}-out"\n{keys}'
    )


def put(rgw: Rgw, bucket: str, number: int, file: Path) -> str:
    body = file.read_bytes()
    key = f"cam 1/häll+{number}%.jpg"
    rgw.client().put_object(
        bucket_name=bucket, object_name=key, data=io.BytesIO(body), length=len(body)
    )
    return key


def stored(rgw: Rgw, bucket: str) -> dict[str, str]:
    """Return the key of each redacted picture by the key of its original."""
    client, found = rgw.client(), {}
    if not client.bucket_exists(bucket_name=f"{bucket}-out"):
        return {}
    names = [
        str(one.object_name)
        for one in client.list_objects(bucket_name=f"{bucket}-out", recursive=True)
    ]
    for name in names:
        if name.endswith(".json"):
            answer = client.get_object(bucket_name=f"{bucket}-out", object_name=name)
            message = json.loads(answer.read())
            answer.close()
            assert message["subject"] not in found, "redacted twice"
            found[message["subject"]] = message["data"]["picture"]["key"]
    pictures = {name for name in names if name.endswith(".jpg")}
    assert set(found.values()) <= pictures, "a message without its picture"
    return found


def test_each_picture_of_a_bucket_is_redacted_once_though_the_box_is_killed(
    make_box: MakeBox, rgw: Rgw, bucket: str
) -> None:
    files = sorted(shared("data/people-dev/images").iterdir())[:24]
    rgw.client().make_bucket(bucket_name=bucket)
    box = make_box(config(rgw, bucket))
    box.start()
    push_to(rgw, bucket, f"http://127.0.0.1:{box.port}/hooks/s3?token={TOKEN}")
    keys = {put(rgw, bucket, number, file): file for number, file in enumerate(files[:8])}
    until("the hook brings them", lambda: set(stored(rgw, bucket)) == set(keys))

    box.kill()  # what lands now is told to nobody: this gateway tries once
    keys |= {put(rgw, bucket, number, file): file for number, file in enumerate(files[8:16], 8)}
    box.start()
    until("the sweep finds them", lambda: set(stored(rgw, bucket)) == set(keys))

    keys |= {put(rgw, bucket, number, file): file for number, file in enumerate(files[16:], 16)}
    box.kill()
    box.start()
    until("nothing is missing", lambda: set(stored(rgw, bucket)) == set(keys))
    box.come_to_rest()
    found = stored(rgw, bucket)
    assert set(found) == set(keys)
    names = rgw.client().list_objects(bucket_name=f"{bucket}-out", recursive=True)
    assert len(list(names)) == 2 * len(keys), "a picture and its message each"
    assert box.metric("edge_bus_dead_letters") == 0

    for subject, key in found.items():
        answer = rgw.client().get_object(bucket_name=f"{bucket}-out", object_name=key)
        redacted = pixels(answer.read())
        answer.close()
        told = rgw.client().get_object(
            bucket_name=f"{bucket}-out", object_name=key.rpartition(".")[0] + ".json"
        )
        check_covered(redacted, pixels(keys[subject]), json.loads(told.read()))
        told.close()
    assert TOKEN not in box.log.read_text()
    assert box.stop() == 0


def test_a_notification_that_nobody_can_read_is_answered_and_set_aside(
    make_box: MakeBox, rgw: Rgw, bucket: str
) -> None:
    rgw.client().make_bucket(bucket_name=bucket)
    box = make_box(config(rgw, bucket))
    box.start()
    status, _ = box.post_raw(f"/hooks/s3?token={TOKEN}", b"{ no json")
    assert 200 <= status < 300
    until("it is a dead letter", lambda: box.metric("edge_bus_dead_letters") == 1)
    (letter,) = json.loads(box.get("/v1/dlq")[1])["letters"]
    assert letter["reason"] == "malformed_notification"
    assert box.post_raw("/hooks/s3?token=wrong", b"{}")[0] in (401, 403)


def test_a_bucket_that_is_added_while_the_box_runs_is_read_at_once(
    make_box: MakeBox, rgw: Rgw, bucket: str
) -> None:
    rgw.client().make_bucket(bucket_name=bucket)
    key = put(rgw, bucket, 1, min(shared("data/people-dev/images").iterdir()))
    whole = config(rgw, bucket)
    source, store = whole.split("[store]")
    box = make_box(f"[store]{store}")
    box.start()
    box.write(f"{source}[store]{store}")
    box.reload()
    until("it is swept", lambda: set(stored(rgw, bucket)) == {key})
    facts = json.loads(box.get("/v1/sources")[1])["sources"]
    assert [(one["kind"], one["state"]) for one in facts] == [("bucket", "streaming")]
