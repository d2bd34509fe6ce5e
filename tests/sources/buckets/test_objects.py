"""Objects of a bucket on a real gateway."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from minio.commonconfig import CopySource
from minio.versioningconfig import VersioningConfig

from edge.config.secret import Secret
from edge.config.sources import BucketConfig
from edge.errors import PartFailed, Rejected
from edge.frame import ObjectRef
from edge.sources.buckets.objects import BucketObjects, Listed
from tests.servers.rgw import Rgw

Make = Callable[..., BucketObjects]
BODY = b"\xff\xd8 a picture " * 50


@pytest.fixture
async def made() -> AsyncIterator[list[BucketObjects]]:
    opened: list[BucketObjects] = []
    yield opened
    for one in opened:
        await one.close()


@pytest.fixture
def make(made: list[BucketObjects], bucket: str, rgw: Rgw) -> Make:
    """Return a maker of readers of a bucket on the gateway, which is there."""
    rgw.client().make_bucket(bucket_name=bucket)

    def make_one(**other: Any) -> BucketObjects:
        keys = {"access_key": Secret(rgw.access_key), "secret_key": Secret(rgw.secret_key)}
        made.append(reader(rgw.endpoint, **{"bucket": bucket, **keys, **other}))
        return made[-1]

    return make_one


def reader(endpoint: str, **other: Any) -> BucketObjects:
    values = {
        "bucket": "frames",
        "access_key": Secret("AKEXAMPLE"),
        "secret_key": Secret("very-secret"),
        "timeout": "5s",
    }
    return BucketObjects(BucketConfig(kind="bucket", endpoint=endpoint, **{**values, **other}))


def put(rgw: Rgw, bucket: str, key: str, body: bytes = BODY) -> Any:
    return rgw.client().put_object(
        bucket_name=bucket, object_name=key, data=io.BytesIO(body), length=len(body)
    )


async def refused(work: Any, kind: type[PartFailed | Rejected], reason: str) -> Any:
    with pytest.raises(kind) as caught:
        await work
    assert caught.value.reason == reason, str(caught.value)
    assert "very-secret" not in str(caught.value) + caught.value.hint
    return caught.value


KEYS = [
    "plain.jpg",
    "a b/c  d.jpg",
    "a+b%20c%2Fd&e=f?g#h.jpg",
    "höhe/日本/🎥 ~!@$^*()[]{}|\\'\"<>.jpg",
    "a//b///c.jpg",
    "/leading.jpg",
    "trailing/",
    "%41.jpg",
    "line\nbreak\tand\x7f.jpg",
    "ü" * 300 + "/" + "k" * 295 + ".jpg",
]


async def test_every_key_is_fetched_by_the_name_that_it_has(
    make: Make, rgw: Rgw, bucket: str
) -> None:
    objects = make()
    assert len(KEYS[-1].encode()) == 900
    for key in KEYS:
        body = BODY + key.encode()
        etag = put(rgw, bucket, key, body).etag
        assert (await objects.get(ObjectRef(bucket=bucket, key=key, etag=etag))).body == body


async def test_many_are_fetched_at_once(make: Make, rgw: Rgw, bucket: str) -> None:
    objects = make()
    for number in range(12):
        put(rgw, bucket, f"{number}.jpg", BODY * (number + 1))
    refs = [ObjectRef(bucket=bucket, key=f"{number}.jpg") for number in range(12)]
    bodies = [one.body for one in await asyncio.gather(*map(objects.get, refs))]
    assert [len(body) // len(BODY) for body in bodies] == list(range(1, 13))


async def test_an_object_that_was_deleted_is_gone(make: Make, bucket: str) -> None:
    ref = ObjectRef(bucket=bucket, key="a.jpg")
    await refused(make().get(ref), Rejected, "gone")


async def test_an_object_that_was_written_over_is_replaced(
    make: Make, rgw: Rgw, bucket: str
) -> None:
    objects = make()
    old = put(rgw, bucket, "a.jpg").etag
    new = put(rgw, bucket, "a.jpg", b"other").etag
    await refused(
        objects.get(ObjectRef(bucket=bucket, key="a.jpg", etag=old)), Rejected, "replaced"
    )
    null = ObjectRef(bucket=bucket, key="a.jpg", etag=old, version="null")
    await refused(objects.get(null), Rejected, "replaced")
    quoted = ObjectRef(bucket=bucket, key="a.jpg", etag=f'"{new.upper()}"')
    assert (await objects.get(quoted)).body == b"other"


async def test_a_version_is_fetched_even_when_there_is_a_newer_one(
    make: Make, rgw: Rgw, bucket: str
) -> None:
    objects, client = make(), rgw.client()
    client.set_bucket_versioning(bucket_name=bucket, config=VersioningConfig("Enabled"))
    old = put(rgw, bucket, "a.jpg")
    new = put(rgw, bucket, "a.jpg", b"other")
    ref = ObjectRef(bucket=bucket, key="a.jpg", version=old.version_id, etag=old.etag)
    assert (await objects.get(ref)).body == BODY
    made_up = ObjectRef(bucket=bucket, key="a.jpg", version=old.version_id, etag="0" * 32)
    await refused(objects.get(made_up), Rejected, "replaced")
    client.remove_object(bucket_name=bucket, object_name="a.jpg")
    assert (await objects.get(ref)).body == BODY
    await refused(objects.get(ObjectRef(bucket=bucket, key="a.jpg")), Rejected, "gone")
    client.remove_object(bucket_name=bucket, object_name="a.jpg", version_id=old.version_id)
    await refused(objects.get(ref), Rejected, "gone")
    marker = next(
        one.version_id
        for one in client.list_objects(bucket_name=bucket, include_version=True)
        if one.is_delete_marker
    )
    erased = ObjectRef(bucket=bucket, key="a.jpg", version=marker or "")
    await refused(objects.get(erased), Rejected, "gone")
    assert new.version_id


async def test_a_copy_and_parts_put_together_are_fetched(make: Make, rgw: Rgw, bucket: str) -> None:
    objects, client = make(), rgw.client()
    body = BODY * 10_000  # in two parts of at least 5 MiB
    parts = client.put_object(
        bucket_name=bucket,
        object_name="parts.jpg",
        data=io.BytesIO(body),
        length=-1,
        part_size=5 * 2**20,
    )
    etag = parts.etag or client.stat_object(bucket_name=bucket, object_name="parts.jpg").etag or ""
    assert "-" in etag
    assert (await objects.get(ObjectRef(bucket=bucket, key="parts.jpg", etag=etag))).body == body
    source = CopySource(bucket_name=bucket, object_name="parts.jpg")
    client.copy_object(bucket_name=bucket, object_name="copy.jpg", source=source)
    assert (await objects.get(ObjectRef(bucket=bucket, key="copy.jpg"))).body == body


async def test_an_object_of_just_the_limit_is_fetched_and_one_more_byte_is_too_many(
    make: Make, rgw: Rgw, bucket: str
) -> None:
    objects = make(max_object="1MiB")
    put(rgw, bucket, "fits.jpg", bytes(2**20))
    put(rgw, bucket, "over.jpg", bytes(2**20 + 1))
    assert len((await objects.get(ObjectRef(bucket=bucket, key="fits.jpg"))).body) == 2**20
    lies = ObjectRef(bucket=bucket, key="over.jpg", size=5)
    error = await refused(objects.get(lies), Rejected, "too_large")
    assert str(2**20 + 1) in str(error)
    put(rgw, bucket, "empty.jpg", b"")
    assert (await objects.get(ObjectRef(bucket=bucket, key="empty.jpg"))).body == b""


async def test_a_missing_bucket_loses_nothing(make: Make) -> None:
    objects = make(bucket="there-is-none")
    ref = ObjectRef(bucket="there-is-none", key="a.jpg")
    await refused(objects.get(ref), PartFailed, "no_bucket")
    await refused(pages(objects), PartFailed, "no_bucket")


async def test_wrong_keys_and_foreign_buckets_are_refused(
    make: Make, rgw: Rgw, bucket: str
) -> None:
    put(rgw, bucket, "a.jpg")
    ref = ObjectRef(bucket=bucket, key="a.jpg")
    await refused(make(secret_key=Secret("very-secret")).get(ref), PartFailed, "refused")
    await refused(make(access_key=Secret("nobody")).get(ref), PartFailed, "refused")
    access, secret = rgw.add_user(f"u{bucket[-8:]}")
    stranger = make(access_key=Secret(access), secret_key=Secret(secret))
    error = await refused(stranger.get(ref), PartFailed, "refused")
    assert error.status == 403
    await refused(pages(stranger), PartFailed, "refused")


async def test_a_gateway_that_hangs_or_is_dead_is_unreachable_until_it_is_back(
    make: Make, rgw: Rgw, bucket: str
) -> None:
    objects = make(timeout="500ms")
    put(rgw, bucket, "a.jpg")
    ref = ObjectRef(bucket=bucket, key="a.jpg")
    assert (await objects.get(ref)).body == BODY
    rgw.freeze()
    began = time.monotonic()
    await refused(objects.get(ref), PartFailed, "unreachable")
    assert time.monotonic() - began < 10
    rgw.kill()
    error = await refused(objects.get(ref), PartFailed, "unreachable")
    assert error.hint
    rgw.revive()
    assert (await objects.get(ref)).body == BODY


async def pages(objects: BucketObjects, after: str = "") -> list[list[Listed]]:
    return [list(page) async for page in objects.list(after)]


async def test_a_listing_has_what_is_wanted_in_the_order_of_the_keys(
    make: Make, rgw: Rgw, bucket: str
) -> None:
    wanted = sorted((f"in/{key}" for key in KEYS if key.endswith(".jpg")), key=str.encode)
    for key in [*wanted, "in/notes.txt", "in/a.jpg.json", "out/b.jpg"]:
        put(rgw, bucket, key[-900:] if len(key) > 900 else key)
    objects = make(prefix="in/")
    (page,) = await pages(objects)
    assert [one.key for one in page] == wanted
    assert {one.size for one in page} == {len(BODY)}
    assert all(one.modified and one.modified.tzinfo for one in page)
    for one in page:
        ref = ObjectRef(bucket=bucket, key=one.key, etag=one.etag, version=one.version)
        assert (await objects.get(ref)).body == BODY
    for at, key in enumerate(wanted):
        rest = [one.key for page in await pages(objects, after=key) for one in page]
        assert rest == wanted[at + 1 :]
