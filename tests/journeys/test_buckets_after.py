"""What becomes of an original once its redacted picture is stored, and what its removal erases."""

from __future__ import annotations

import io
import json
import urllib.parse
from pathlib import Path
from typing import Any

from minio.commonconfig import ENABLED
from minio.error import S3Error
from minio.versioningconfig import VersioningConfig

from tests.journeys.box import BoxProcess, until
from tests.journeys.conftest import MakeBox
from tests.places import shared
from tests.servers.rgw import Rgw
from tests.servers.rgw_topics import push_to

TOKEN = "a-token-of-the-test"


def config(rgw: Rgw, bucket: str, more: str, every: str = "3s") -> str:
    """A bucket that is told of by a hook, and swept; the store is another bucket."""
    keys = f'access_key = "{rgw.access_key}"\nsecret_key = "{rgw.secret_key}"\n'
    return (
        f'[sources.yard]\nkind = "bucket"\nendpoint = "{rgw.endpoint}"\nbucket = "{bucket}"\n'
        f'sweep_every = "{every}"\ntoken = "{TOKEN}"\n{more}\n{keys}'
        f'[store]\nkind = "s3"\nendpoint = "{rgw.endpoint}"\nbucket = "{bucket}-out"\n{keys}'
    )


def files(count: int) -> list[Path]:
    return sorted(shared("data/people-dev/images").iterdir())[:count]


def put(rgw: Rgw, bucket: str, key: str, file: Path | bytes) -> None:
    body = file if isinstance(file, bytes) else file.read_bytes()
    rgw.client().put_object(
        bucket_name=bucket, object_name=key, data=io.BytesIO(body), length=len(body)
    )


def keys(rgw: Rgw, bucket: str) -> set[str]:
    client = rgw.client()
    if not client.bucket_exists(bucket_name=bucket):
        return set()
    return {str(one.object_name) for one in client.list_objects(bucket_name=bucket, recursive=True)}


def stored(rgw: Rgw, bucket: str) -> dict[str, str]:
    """Return the key of each redacted picture by the key of its original."""
    found = {}
    for name in keys(rgw, f"{bucket}-out"):
        if name.endswith(".json"):
            message = message_at(rgw, bucket, name)
            if message:
                found[message["subject"]] = message["data"]["picture"]["key"]
    return found


def message_at(rgw: Rgw, bucket: str, name: str) -> dict[str, Any]:
    """Return a message of the store; nothing where it was erased meanwhile."""
    try:
        answer = rgw.client().get_object(bucket_name=f"{bucket}-out", object_name=name)
    except S3Error as error:
        if error.code != "NoSuchKey":
            raise
        return {}
    with answer:
        message: dict[str, Any] = json.loads(answer.read())
    return message


def whole(rgw: Rgw, bucket: str) -> dict[str, str]:
    """Return the same at rest: there is nothing else than pictures with their messages."""
    found = stored(rgw, bucket)
    names = {name for key in found.values() for name in (key, key.rpartition(".")[0] + ".json")}
    assert keys(rgw, f"{bucket}-out") == names
    return found


def removed(
    box: BoxProcess, bucket: str, key: str, version: str = "", kind: str = "Delete"
) -> None:
    """Tell of a removal as Ceph does; its own notification of one kills it with a multi-delete."""
    record = {
        "eventVersion": "2.2",
        "eventSource": "ceph:s3",
        "awsRegion": "",
        "eventTime": "2026-11-20T10:36:59.106025Z",
        "eventName": f"ObjectRemoved:{kind}",
        "s3": {"bucket": {"name": bucket}, "object": {"key": key, "versionId": version}},
        "eventId": f"removal of {key} {version}",
    }
    path = f"/hooks/s3?token={urllib.parse.quote(TOKEN)}"
    status, _ = box.post_raw(path, json.dumps({"Records": [record]}).encode())
    assert 200 <= status < 300


def letters(box: BoxProcess) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(box.get("/v1/dlq")[1])["letters"]
    return found


def test_originals_are_deleted_once_the_store_has_them_though_the_box_is_killed(
    make_box: MakeBox, rgw: Rgw, bucket: str
) -> None:
    client = rgw.client()
    client.make_bucket(bucket_name=bucket)
    box = make_box(config(rgw, bucket, 'after = "delete_source"'))
    box.start()
    push_to(rgw, bucket, f"http://127.0.0.1:{box.port}/hooks/s3?token={TOKEN}")
    wanted = {f"cam 1/ä+{number}%.jpg": file for number, file in enumerate(files(10))}
    for key, file in list(wanted.items())[:5]:
        put(rgw, bucket, key, file)
    until("one is deleted", lambda: len(keys(rgw, bucket)) < 5)
    box.kill()
    for key, file in list(wanted.items())[5:]:
        put(rgw, bucket, key, file)
    put(rgw, bucket, "broken.jpg", b"\xff\xd8 no picture at all")
    box.start()
    until("only what is no picture is left", lambda: keys(rgw, bucket) == {"broken.jpg"})
    box.come_to_rest()
    assert set(whole(rgw, bucket)) == set(wanted)
    assert [letter["reason"] for letter in letters(box)] == ["damaged"]

    # the same picture again: it makes no second one, and yet must not stay
    put(rgw, bucket, min(wanted), wanted[min(wanted)])
    until("it is deleted again", lambda: keys(rgw, bucket) == {"broken.jpg"})
    assert set(stored(rgw, bucket)) == set(wanted)
    assert box.stop() == 0


def test_an_original_that_was_written_over_meanwhile_is_not_deleted(
    make_box: MakeBox, rgw: Rgw, bucket: str
) -> None:
    first, second = files(2)
    client = rgw.client()
    client.make_bucket(bucket_name=bucket)
    put(rgw, bucket, "a.jpg", first)
    box = make_box(config(rgw, bucket, 'after = "delete_source"', every="1h"))
    nowhere = box.config.read_text().replace(
        f'[store]\nkind = "s3"\nendpoint = "{rgw.endpoint}"',
        '[store]\nkind = "s3"\nendpoint = "http://127.0.0.1:9"',
    )
    box.config.write_text(nowhere)
    box.start()
    until("it waits for a store", lambda: box.status()["sending"]["waiting"] == 1)
    assert keys(rgw, bucket) == {"a.jpg"}, "the store is shut: the original stays"
    put(rgw, bucket, "a.jpg", second)
    assert box.stop() == 0
    box.write(config(rgw, bucket, 'after = "delete_source"\nsweep_since = "2999-01-01"'))
    box.start()
    until("it is stored", lambda: set(stored(rgw, bucket)) == {"a.jpg"})
    until("it was looked at", lambda: box.metric("edge_originals_total") == 1)
    assert 'outcome="replaced"' in box.get("/metrics")[1].decode()
    assert keys(rgw, bucket) == {"a.jpg"}


def test_of_a_bucket_with_versions_that_version_is_deleted_and_tags_are_added(
    make_box: MakeBox, rgw: Rgw, bucket: str
) -> None:
    first, second = files(2)
    client = rgw.client()
    client.make_bucket(bucket_name=bucket)
    client.set_bucket_versioning(bucket_name=bucket, config=VersioningConfig(ENABLED))
    box = make_box(config(rgw, bucket, 'after = "delete_source"'))
    box.start()
    put(rgw, bucket, "a.jpg", first)
    until("it is deleted", lambda: box.metric("edge_originals_total") == 1)
    left = list(client.list_objects(bucket_name=bucket, include_version=True, recursive=True))
    assert left == [], "no marker, no version"

    box.write(config(rgw, bucket, 'after = "tag"'))
    box.reload()
    put(rgw, bucket, "b.jpg", second)
    until("it is tagged", lambda: client.get_object_tags(bucket_name=bucket, object_name="b.jpg"))
    tags = client.get_object_tags(bucket_name=bucket, object_name="b.jpg")
    name = stored(rgw, bucket)["b.jpg"].rpartition(".")[0] + ".json"
    message = message_at(rgw, bucket, name)
    assert tags is not None
    assert dict(tags) == {"edge-redacted": message["data"]["policy"]}


def test_a_removal_that_is_told_or_found_erases_exactly_what_was_made_of_it(
    make_box: MakeBox, rgw: Rgw, bucket: str
) -> None:
    client = rgw.client()
    client.make_bucket(bucket_name=bucket)
    box = make_box(config(rgw, bucket, 'when_removed = "erase"'))
    names = [f"{number}.jpg" for number in range(6)]
    for name, file in zip(names, files(6), strict=True):
        put(rgw, bucket, name, file)
    box.start()
    until("they are stored", lambda: set(stored(rgw, bucket)) == set(names))

    removed(box, bucket, "0.jpg")  # it is not so: the original is there
    client.remove_object(bucket_name=bucket, object_name="1.jpg")
    removed(box, bucket, "1.jpg")
    client.remove_object(bucket_name=bucket, object_name="2.jpg")  # nobody tells
    until("two are erased", lambda: set(stored(rgw, bucket)) == {names[0], *names[3:]})

    client.remove_object(bucket_name=bucket, object_name="3.jpg")
    box.kill()
    client.remove_object(bucket_name=bucket, object_name="4.jpg")
    box.start()
    until("two more are", lambda: set(stored(rgw, bucket)) == {names[0], names[5]})
    assert keys(rgw, bucket) == {names[0], names[5]}
    box.come_to_rest()
    until("messages are gone, too", lambda: len(keys(rgw, f"{bucket}-out")) == 4)
    assert set(whole(rgw, bucket)) == {names[0], names[5]}
    assert letters(box) == []

    # the same content again is a new picture
    put(rgw, bucket, "1.jpg", files(2)[1])
    until("it is redacted again", lambda: "1.jpg" in stored(rgw, bucket))
    client.remove_object(bucket_name=bucket, object_name="1.jpg")
    until("and erased again", lambda: "1.jpg" not in stored(rgw, bucket))
    assert box.stop() == 0


def test_what_still_waits_for_a_shut_store_is_erased_too(
    make_box: MakeBox, rgw: Rgw, bucket: str
) -> None:
    client = rgw.client()
    client.make_bucket(bucket_name=bucket)
    names = [f"{number}.jpg" for number in range(8)]
    for name, file in zip(names, files(8), strict=True):
        put(rgw, bucket, name, file)
    right = config(rgw, bucket, 'when_removed = "erase"')
    box = make_box(right)
    box.config.write_text(
        box.config.read_text().replace(
            f'[store]\nkind = "s3"\nendpoint = "{rgw.endpoint}"',
            '[store]\nkind = "s3"\nendpoint = "http://127.0.0.1:9"',
        )
    )
    box.start()
    until("they wait", lambda: box.status()["sending"]["waiting"] == 8)
    for name in names:
        client.remove_object(bucket_name=bucket, object_name=name)
        removed(box, bucket, name)
    # as many as outbox.parallel may be on their way to the store at any time
    until("the others are taken out", lambda: box.status()["sending"]["waiting"] == 4)
    box.kill()
    box.write(right)
    box.start()
    until("all are erased", lambda: box.metric("edge_pictures_erased_total") == 8)
    until("nothing waits", lambda: box.status()["sending"]["waiting"] == 0)
    until("nothing is left", lambda: not keys(rgw, f"{bucket}-out"))
    assert box.stop() == 0
