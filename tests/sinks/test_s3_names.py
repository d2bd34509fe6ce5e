"""Names that are taken, metadata that goes along, and what is removed."""

from __future__ import annotations

import asyncio
import io

import pytest
from minio.error import S3Error
from minio.versioningconfig import VersioningConfig

from edge.sinks.s3_link import Condition
from tests.parts import make_parcel
from tests.servers.odd_s3 import PLAIN, STORED, Answer, OddS3
from tests.servers.rgw import Rgw
from tests.sinks.s3_stores import Make, make, odd_store, refusal

__all__ = ["make"]


async def test_metadata_that_may_go_along_is_on_both_objects_and_changes_nothing_else(
    make: Make, rgw: Rgw, bucket: str
) -> None:
    store = make()
    await store.open()
    said = {
        "camera": "Kran ü\n7 50%",
        "content-type": "text/html",
        "x-amz-acl": "public-read",
        "source": "liar",
        "Taken-At": "2020-01-01T00:00:00+00:00",
        "note": "n" * 3000,
        "last": "fits",
    }
    parcel = make_parcel(key="gate/1.jpg", message={"id": "1", "data": {"metadata": said}})
    await store.put(parcel)
    for ending, content_type in ((".jpg", "image/jpeg"), (".json", "application/json")):
        found = rgw.client().stat_object(bucket_name=bucket, object_name=f"gate/1{ending}")
        assert found.content_type == content_type
        headers = {name.lower(): value for name, value in (found.metadata or {}).items()}
        own = {
            name.removeprefix("x-amz-meta-"): value
            for name, value in headers.items()
            if name.startswith("x-amz-meta-")
        }
        assert own.pop("taken-at") == parcel.taken_at.isoformat()
        assert own.pop("source") == "gate"
        assert len(own.pop("sha256")) == 64
        assert own == {
            "camera": "Kran%20%C3%BC%0A7%2050%25",
            "content-type": "text/html",
            "x-amz-acl": "public-read",
            "last": "fits",
        }


async def test_what_is_replaced_is_replaced_under_a_condition_that_the_gateway_heeds(
    make: Make,
) -> None:
    store = make(overwrite=True)
    await store.open()
    parcel = make_parcel(body=b"first")
    await store.put(parcel)
    found = store._found(parcel.key)
    assert found is not None
    with store._link.under(Condition("If-Match", str(found.etag))):
        store._write(parcel.key, b"second", "image/jpeg", {})
    with (
        store._link.under(Condition("If-Match", str(found.etag))),
        pytest.raises(S3Error, match="PreconditionFailed"),
    ):
        store._write(parcel.key, b"third", "image/jpeg", {})
    assert await store.get(parcel.key) == b"second"


@pytest.mark.parametrize("state", ["Enabled", "Suspended"])
async def test_an_erasure_takes_every_version_and_every_mark_of_deletion(
    make: Make, rgw: Rgw, bucket: str, state: str
) -> None:
    client = rgw.client()

    def put(name: str) -> None:
        client.put_object(bucket_name=bucket, object_name=name, data=io.BytesIO(b"x"), length=1)

    client.make_bucket(bucket_name=bucket)
    put("a.jpg")  # before there were versions
    client.set_bucket_versioning(bucket_name=bucket, config=VersioningConfig(status="Enabled"))
    for name in ("a.jpg", "a.json", "a.jpg.bak"):
        put(name)
        client.remove_object(bucket_name=bucket, object_name=name)
        put(name)
    client.set_bucket_versioning(bucket_name=bucket, config=VersioningConfig(status=state))
    put("a.jpg")
    store = make()
    await store.open()
    await store.remove("a.jpg")
    left = client.list_objects(bucket_name=bucket, recursive=True, include_version=True)
    assert sorted(str(one.object_name) for one in left) == ["a.jpg.bak"] * 3


async def test_a_long_list_of_other_names_is_not_read_to_its_end(odd_s3: OddS3) -> None:
    def page(*names: str, truncated: bool) -> Answer:
        rows = "".join(
            f"<Version><Key>{name}</Key><VersionId>null</VersionId>"
            "<LastModified>2026-11-20T00:00:00.000Z</LastModified></Version>"
            for name in names
        )
        more = "<NextKeyMarker>a.jpg.0</NextKeyMarker><NextVersionIdMarker>1</NextVersionIdMarker>"
        body = (
            f"<ListVersionsResult><Name>frames</Name><Prefix>a.jpg</Prefix>{rows}"
            f"<IsTruncated>{str(truncated).lower()}</IsTruncated>{more if truncated else ''}"
            "</ListVersionsResult>"
        )
        return Answer(200, body=body.encode())

    def answer(method: str, path: str, _headers: dict[str, str]) -> Answer:
        if method == "DELETE":
            return Answer(204, body=b"")
        if "prefix=a.json" in path:
            return page(truncated=False)
        if "prefix=a.jpg" in path:
            first = not removed and "key-marker" not in path
            return page(*["a.jpg"] * first, *["a.jpg.0"] * 999, truncated=True)
        return PLAIN

    removed = 0
    odd_s3.answer = answer
    store = odd_store(odd_s3)
    await store.open()
    work = asyncio.create_task(store.remove("a.jpg"), name="remove")
    async with asyncio.timeout(30):
        while not removed:
            removed = sum(method == "DELETE" for method, _, _ in odd_s3.seen)
            await asyncio.sleep(0.01)
        await work
    assert len(odd_s3.seen) < 12
    await store.close()


async def test_a_server_without_versions_removes_what_there_is(odd_s3: OddS3) -> None:
    there = {"/frames/gate/1.jpg"}

    def answer(method: str, path: str, _headers: dict[str, str]) -> Answer:
        if "versions" in path:
            return Answer(501, "NotImplemented")
        if method == "HEAD":
            dated = {"Last-Modified": "Fri, 20 Nov 2026 13:14:27 GMT"}
            return Answer(200, headers=dated) if path in there else Answer(404)
        if method == "DELETE":
            there.discard(path)
            return Answer(204, body=b"")
        return PLAIN

    odd_s3.answer = answer
    store = odd_store(odd_s3)
    await store.open()
    await store.remove("gate/1.jpg")
    assert not there
    assert [path for method, path, _ in odd_s3.seen if method == "DELETE"] == ["/frames/gate/1.jpg"]
    await store.close()


async def test_what_may_not_be_removed_is_not_said_to_be(odd_s3: OddS3) -> None:
    odd_s3.answer = lambda _method, path, _headers: (
        Answer(403, "AccessDenied") if "prefix=" in path else PLAIN
    )
    store = odd_store(odd_s3)
    await store.open()
    error = await refusal(store.remove("gate/1.jpg"))
    assert "s3:DeleteObjectVersion" in error.hint
    assert error.reason == "store_shut"
    await store.close()


async def test_a_server_that_writes_etags_in_a_way_of_its_own_is_written_to_all_the_same(
    odd_s3: OddS3,
) -> None:
    conditions: list[str] = []

    def answer(method: str, _path: str, headers: dict[str, str]) -> Answer:
        if method == "HEAD":
            there = {"ETag": '"W-0"', "Last-Modified": "Fri, 20 Nov 2026 13:14:27 GMT"}
            return Answer(200, headers=there)
        if method != "PUT":
            return PLAIN
        asked = [name for name in ("if-match", "if-none-match") if name in headers]
        conditions.extend(asked or ["none"])
        return Answer(412, "PreconditionFailed") if asked else STORED

    odd_s3.answer = answer
    store = odd_store(odd_s3, overwrite=True)
    await store.open()
    await store.put(make_parcel())
    assert conditions == ["if-none-match", "if-match", "none"] * 2
    await store.close()
