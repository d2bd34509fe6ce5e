"""Originals of a real Ceph RGW: looked at, deleted, tagged, only while they are the same."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable

import pytest
from minio import Minio
from minio.commonconfig import ENABLED, Tags
from minio.versioningconfig import VersioningConfig

from edge.config.sources import BucketConfig
from edge.errors import PartFailed, Rejected
from edge.frame import ObjectRef
from edge.sources.buckets import objects_change
from edge.sources.buckets.objects import BucketObjects
from edge.sources.buckets.objects_change import Originals
from tests.servers.rgw import Rgw, bucket, rgw

__all__ = ["bucket", "rgw"]

Open = Callable[..., Originals]
KEY = "cam 1/hällo+%20&.jpg"


def put(client: Minio, name: str, body: bytes, key: str = KEY) -> ObjectRef:
    made = client.put_object(
        bucket_name=name, object_name=key, data=io.BytesIO(body), length=len(body)
    )
    return ObjectRef(bucket=name, key=key, etag=made.etag or "", version=made.version_id or "")


@pytest.fixture
async def opened(rgw: Rgw, bucket: str) -> AsyncIterator[Open]:
    made: list[BucketObjects] = []

    def begin(**other: str) -> Originals:
        values = {
            "kind": "bucket",
            "endpoint": rgw.endpoint,
            "bucket": bucket,
            "access_key": rgw.access_key,
            "secret_key": rgw.secret_key,
            "timeout": "5s",
        }
        made.append(BucketObjects(BucketConfig.model_validate({**values, **other})))
        return Originals(made[-1])

    yield begin
    for one in made:
        await one.close()


async def test_an_original_is_deleted_only_while_it_is_the_same(
    rgw: Rgw, bucket: str, opened: Open
) -> None:
    client, door = rgw.client(), opened()
    client.make_bucket(bucket_name=bucket)
    old = put(client, bucket, b"one")
    new = put(client, bucket, b"two")
    assert await door.delete(old) == "replaced"
    assert await door.delete(ObjectRef(bucket=bucket, key=KEY)) == "replaced", "no ETag, no doubt"
    assert await door.find(old) == ObjectRef(bucket=bucket, key=KEY, etag=new.etag)
    assert await door.delete(new) == "deleted"
    assert await door.delete(new) == "gone"
    assert await door.find(new) is None


async def test_an_object_that_is_written_over_after_the_look_stays(
    rgw: Rgw, bucket: str, opened: Open
) -> None:
    client, door = rgw.client(), opened()
    client.make_bucket(bucket_name=bucket)
    ref = put(client, bucket, b"one")
    done = await door._objects.ask(
        lambda s3, _: objects_change._delete(s3, ref, "2020-01-01T00:00:00.000Z"), KEY
    )
    assert done == "replaced"
    assert await door.find(ref) is not None


async def test_of_a_bucket_with_versions_that_version_goes(
    rgw: Rgw, bucket: str, opened: Open
) -> None:
    client, door = rgw.client(), opened()
    client.make_bucket(bucket_name=bucket)
    client.set_bucket_versioning(bucket_name=bucket, config=VersioningConfig(ENABLED))
    old, new = put(client, bucket, b"one"), put(client, bucket, b"two")
    assert old.version != new.version
    assert await door.tag(old, "edge-redacted", "p1") == "tagged"
    assert client.get_object_tags(bucket_name=bucket, object_name=KEY) is None
    assert await door.delete(old) == "deleted"
    assert await door.delete(old) == "gone"
    found = await door.find(ObjectRef(bucket=bucket, key=KEY))
    assert found == new
    client.remove_object(bucket_name=bucket, object_name=KEY)
    assert await door.find(ObjectRef(bucket=bucket, key=KEY)) is None, "hidden by a marker"
    assert await door.find(new) == new


async def test_a_tag_is_added_to_those_that_are_there(rgw: Rgw, bucket: str, opened: Open) -> None:
    client, door = rgw.client(), opened()
    client.make_bucket(bucket_name=bucket)
    ref = put(client, bucket, b"one")
    tags = Tags.new_object_tags()
    tags["zone"] = "lobby +1"
    client.set_object_tags(bucket_name=bucket, object_name=KEY, tags=tags)
    assert await door.tag(ref, "edge-redacted", "p1") == "tagged"
    assert await door.tag(ref, "edge-redacted", "p2") == "tagged"
    found = client.get_object_tags(bucket_name=bucket, object_name=KEY)
    assert dict(found or {}) == {"zone": "lobby +1", "edge-redacted": "p2"}
    for number in range(8):
        tags[f"t{number}"] = "x"
    tags["t8"] = "x"
    client.set_object_tags(bucket_name=bucket, object_name=KEY, tags=tags)
    assert await door.tag(ref, "edge-redacted", "p1") == "full"
    empty = put(client, bucket, b"", "empty.jpg")
    assert await door.tag(empty, "a", "b") == "replaced", "it is there, and no picture"
    assert await door.find(empty) is not None


async def test_what_a_server_forbids_names_the_permission(
    rgw: Rgw, bucket: str, opened: Open
) -> None:
    client = rgw.client()
    client.make_bucket(bucket_name=bucket)
    ref = put(client, bucket, b"one")
    access, secret = rgw.add_user(f"guest{bucket[-6:]}")
    policy = (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":'
        f'["arn:aws:iam:::user/guest{bucket[-6:]}"]}},"Action":["s3:GetObject","s3:ListBucket"],'
        f'"Resource":["arn:aws:s3:::{bucket}","arn:aws:s3:::{bucket}/*"]}}]}}'
    )
    client.set_bucket_policy(bucket_name=bucket, policy=policy)
    door = opened(access_key=access, secret_key=secret)
    assert await door.find(ref) is not None
    for work, permission in ((door.delete(ref), "DeleteObject"), (door.tag(ref, "a", "b"), "Tag")):
        with pytest.raises(Rejected) as caught:
            await work
        assert caught.value.reason == "forbidden"
        assert permission in caught.value.hint
        assert caught.value.status == 403


async def test_a_bucket_that_is_gone_is_no_object_that_is_gone(
    rgw: Rgw, bucket: str, opened: Open
) -> None:
    door, ref = opened(), ObjectRef(bucket=bucket, key=KEY, etag="e")
    for work in (door.find, door.delete):
        with pytest.raises(PartFailed) as caught:
            await work(ref)
        assert caught.value.reason == "no_bucket"
    rgw.client().make_bucket(bucket_name=bucket)
    assert await door.find(ref) is None
    rgw.kill()
    with pytest.raises(PartFailed) as caught:
        await door.find(ref)
    assert caught.value.reason == "unreachable"
    with pytest.raises(Rejected):
        await door.find(ObjectRef(bucket=bucket, key="a/../b"))
