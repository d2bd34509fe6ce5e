from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from minio.error import S3Error
from minio.versioningconfig import VersioningConfig

from edge.config.secret import Secret
from edge.config.store import S3StoreConfig
from edge.errors import Fatal, PartFailed, Rejected
from edge.sinks.keys import MOST_READ_BYTES
from edge.sinks.s3 import S3Store
from edge.sinks.s3_link import Condition
from tests.parts import make_parcel
from tests.places import free_port
from tests.servers.odd_s3 import PLAIN, STORED, Answer, OddS3
from tests.servers.rgw import KMS_KEY, Rgw

Make = Callable[..., S3Store]


@pytest.fixture
async def make(rgw: Rgw, bucket: str) -> AsyncIterator[Make]:
    """Return a maker of stores on the gateway; arguments change the configuration."""
    stores: list[S3Store] = []

    def make_store(**other: Any) -> S3Store:
        values: dict[str, Any] = {
            "endpoint": rgw.endpoint,
            "bucket": bucket,
            "access_key": Secret(rgw.access_key),
            "secret_key": Secret(rgw.secret_key),
            "timeout": "5s",
        }
        stores.append(S3Store(S3StoreConfig(kind="s3", **{**values, **other})))
        return stores[-1]

    yield make_store
    for store in stores:
        await store.close()


def odd_store(server: OddS3, **other: Any) -> S3Store:
    config = S3StoreConfig(
        kind="s3",
        endpoint=server.endpoint,
        bucket="frames",
        access_key=Secret("AKEXAMPLE"),
        secret_key=Secret("very-secret"),
        **{"timeout": "5s", **other},
    )
    return S3Store(config)


async def refusal(work: Any) -> PartFailed:
    with pytest.raises(PartFailed) as shut:
        await work
    assert shut.value.hint
    assert "secret" not in str(shut.value).replace("secret key", "")
    return shut.value


# -- a real gateway


async def test_an_object_says_what_it_is_and_nothing_more(
    make: Make, rgw: Rgw, bucket: str
) -> None:
    store = make(prefix="site/box/")
    await store.open()
    parcel = make_parcel(source="Tor Süd", key="gate/1.jpg")
    await store.put(parcel)
    client = rgw.client()
    for ending, content_type in ((".jpg", "image/jpeg"), (".json", "application/json")):
        found = client.stat_object(bucket_name=bucket, object_name=f"site/box/gate/1{ending}")
        assert found.content_type == content_type
        headers = found.metadata or {}
        own = {name.lower(): value for name, value in headers.items() if "-meta-" in name.lower()}
        assert sorted(own) == ["x-amz-meta-sha256", "x-amz-meta-source", "x-amz-meta-taken-at"]
        assert own["x-amz-meta-source"] == "Tor%20S%C3%BCd"
        assert own["x-amz-meta-taken-at"] == parcel.taken_at.isoformat()


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
    async with asyncio.timeout(10):
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


async def test_a_versioned_bucket_keeps_one_version_of_a_parcel(
    make: Make, rgw: Rgw, bucket: str
) -> None:
    client = rgw.client()
    client.make_bucket(bucket_name=bucket)
    client.set_bucket_versioning(bucket_name=bucket, config=VersioningConfig(status="Enabled"))
    store = make()
    await store.open()
    for _ in range(3):
        await store.put(make_parcel())
    found = list(client.list_objects(bucket_name=bucket, recursive=True, include_version=True))
    assert len(found) == 2


async def test_a_picture_of_many_megabytes_is_one_object(make: Make, rgw: Rgw, bucket: str) -> None:
    store = make()
    await store.open()
    body = bytes(range(256)) * 4 * 1024 * 12
    for _ in range(2):
        await store.put(make_parcel(body=body))
    found = rgw.client().stat_object(bucket_name=bucket, object_name=make_parcel().key)
    assert found.size == len(body)
    assert "-" not in (found.etag or "-")  # no multipart upload


async def test_an_object_that_others_made_is_the_same_if_its_content_is(
    make: Make, rgw: Rgw, bucket: str
) -> None:
    store = make()
    await store.open()
    parcel = make_parcel()
    rgw.client().put_object(
        bucket_name=bucket,
        object_name=parcel.key,
        data=io.BytesIO(parcel.body),
        length=len(parcel.body),
    )
    await store.put(parcel)
    found = [item.object_name for item in rgw.client().list_objects(bucket, recursive=True)]
    assert found == [parcel.key, parcel.key.replace(".jpg", ".json")]


async def test_a_wrong_key_and_a_wrong_secret_are_told_apart(make: Make) -> None:
    unknown = await refusal(make(access_key=Secret("nobody")).open())
    assert "access key" in str(unknown)
    wrong = await refusal(make(secret_key=Secret("wrong-secret")).open())
    assert "secret key is wrong" in str(wrong)


async def test_a_bucket_of_another_account_is_said_to_be_that(
    make: Make, rgw: Rgw, bucket: str
) -> None:
    rgw.client().make_bucket(bucket_name=bucket)
    access, secret = rgw.add_user(bucket.replace("-", ""))
    error = await refusal(make(access_key=Secret(access), secret_key=Secret(secret)).open())
    assert "another account" in str(error)


async def test_a_bucket_that_is_deleted_shuts_the_door_until_it_is_made_again(
    make: Make, rgw: Rgw, bucket: str
) -> None:
    store = make()
    await store.open()
    rgw.client().remove_bucket(bucket_name=bucket)
    assert "bucket" in str(await refusal(store.put(make_parcel())))
    await store.open()
    await store.put(make_parcel())


async def test_a_key_that_is_too_long_is_refused_for_itself(make: Make) -> None:
    store = make()
    await store.open()
    with pytest.raises(Rejected, match="InvalidObjectName"):
        await store.put(make_parcel(key="x" * 1100))
    await store.put(make_parcel())


async def test_encryption_by_kms_is_asked_for_and_got(make: Make, rgw: Rgw, bucket: str) -> None:
    store = make(sse="sse-kms", sse_key_id=KMS_KEY)
    await store.open()
    for _ in range(2):
        await store.put(make_parcel())
    found = rgw.client().stat_object(bucket_name=bucket, object_name=make_parcel().key)
    assert (found.metadata or {})["x-amz-server-side-encryption"] == "aws:kms"


async def test_a_missing_kms_key_shuts_the_door_and_kills_no_parcel(make: Make) -> None:
    store = make(sse="sse-kms", sse_key_id="nobody-has-it")
    await store.open()
    assert "sse" in (await refusal(store.put(make_parcel()))).hint


async def test_encryption_that_the_server_ignores_shuts_the_door(make: Make) -> None:
    store = make(sse="sse-s3")  # RGW 16.2 says 200 and stores in plain
    await store.open()
    for _ in range(2):
        assert (await refusal(store.put(make_parcel()))).reason == "not_encrypted"


async def test_a_gateway_that_hangs_shuts_the_door_in_time(make: Make, rgw: Rgw) -> None:
    store = make(timeout="300ms")
    await store.open()
    rgw.freeze()
    error = await refusal(asyncio.wait_for(store.put(make_parcel()), 5))
    assert "store.timeout" in str(error)
    rgw.thaw()
    await store.put(make_parcel())


# -- doors that are not there


async def test_a_refused_connection_says_so() -> None:
    class Nobody:
        endpoint = f"http://127.0.0.1:{free_port()}"

    store = odd_store(Nobody())  # type: ignore[arg-type]
    assert "cannot be reached (Connection refused)" in str(await refusal(store.open()))


async def test_a_bucket_in_the_hosts_name_is_asked_for_there(odd_s3: OddS3) -> None:
    store = odd_store(odd_s3, path_style=False)  # frames.127.0.0.1 is no host
    error = await refusal(store.open())
    assert "nobody knows" in str(error)
    assert "path_style" in error.hint


@pytest.mark.parametrize("endpoint", ["127.0.0.1:9000", "ftp://host", "http://", "http://h/path"])
async def test_an_endpoint_that_cannot_be_one_is_fatal(odd_s3: OddS3, endpoint: str) -> None:
    odd_s3.endpoint = endpoint
    with pytest.raises(Fatal) as fatal:
        await odd_store(odd_s3).open()
    assert "endpoint" in str(fatal.value)
    assert fatal.value.hint


async def test_credentials_in_the_endpoint_are_refused_and_not_shown(odd_s3: OddS3) -> None:
    odd_s3.endpoint = "http://me:very-secret@host:9000"
    store = odd_store(odd_s3)
    assert "very-secret" not in str(store.describe())
    with pytest.raises(Fatal) as fatal:
        await store.open()
    assert "very-secret" not in str(fatal.value) + fatal.value.hint


# -- a server on its bad days


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(503, "SlowDown"), "overloaded"),
        (Answer(500, "InternalError"), "fault of its own"),
        (Answer(403, "QuotaExceeded"), "quota"),
        (Answer(400, "AuthorizationHeaderMalformed"), "region"),
        (Answer(429, "TooManyRequests"), "overloaded"),
        (Answer(502, headers={"Content-Type": "text/html"}, body=b"<html>"), "not answer like"),
        (Answer(0), "cut the connection"),
    ],
)
async def test_a_bad_day_shuts_the_door(odd_s3: OddS3, answer: Answer, words: str) -> None:
    odd_s3.answer = lambda method, *_: PLAIN if method == "GET" else answer
    store = odd_store(odd_s3)
    await store.open()
    assert words in str(await refusal(store.put(make_parcel())))
    assert len(odd_s3.seen) == 2  # one to open, one to put: nothing is tried again behind our back
    await store.close()


async def test_a_clock_that_is_off_is_told_by_how_much(odd_s3: OddS3) -> None:
    odd_s3.answer = lambda *_: Answer(
        403, "RequestTimeTooSkewed", headers={"Date": "Fri, 20 Nov 2020 13:14:27 GMT"}
    )
    error = await refusal(odd_store(odd_s3).open())
    assert "s ahead of the store's" in str(error)
    assert "NTP" in error.hint


@pytest.mark.parametrize(
    "answer",
    [
        Answer(400, "EntityTooLarge"),
        Answer(413, headers={"Content-Type": "text/html"}, body=b"<html>"),
    ],
)
async def test_an_object_that_the_server_will_never_take_is_refused(
    odd_s3: OddS3, answer: Answer
) -> None:
    odd_s3.answer = lambda method, *_: PLAIN if method == "GET" else answer
    store = odd_store(odd_s3)
    await store.open()
    with pytest.raises(Rejected) as refused:
        await store.put(make_parcel())
    assert refused.value.reason == "store_refused"
    await store.close()


async def test_a_server_that_knows_no_conditions_is_looked_at_first(odd_s3: OddS3) -> None:
    def answer(method: str, _path: str, headers: dict[str, str]) -> Answer:
        if method == "GET":
            return PLAIN
        if method == "HEAD":
            return Answer(404)
        return Answer(501, "NotImplemented") if "if-none-match" in headers else STORED

    odd_s3.answer = answer
    store = odd_store(odd_s3)
    await store.open()
    await store.put(make_parcel())
    await store.put(make_parcel(2))
    methods = " ".join(method for method, _, _ in odd_s3.seen)
    assert methods == "GET PUT HEAD PUT HEAD PUT HEAD PUT HEAD PUT"
    await store.close()


async def test_a_certificate_is_checked_against_the_ca_file(odd_https: tuple[OddS3, Path]) -> None:
    server, certificate = odd_https
    server.answer = lambda method, *_: PLAIN if method == "GET" else STORED
    error = await refusal(odd_store(server).open())
    assert "certificate" in str(error)
    store = odd_store(server, ca_file=str(certificate))
    await store.open()
    await store.put(make_parcel())
    await store.close()


async def test_a_ca_file_that_is_missing_is_fatal(odd_https: tuple[OddS3, Path]) -> None:
    with pytest.raises(Fatal, match="ca_file"):
        await odd_store(odd_https[0], ca_file="nowhere.pem").open()


# -- reading back


async def test_a_picture_is_read_below_the_prefix_only(make: Make) -> None:
    store, other = make(prefix="site/box/"), make(prefix="site/other/")
    await store.open()
    await other.open()
    parcel = make_parcel()
    await store.put(parcel)
    assert await store.get(parcel.key) == parcel.body
    for key in (parcel.key, f"../box/{parcel.key}"):
        with pytest.raises(Rejected):
            await other.get(key)


async def test_before_it_is_open_nothing_is_read(make: Make) -> None:
    assert "not open" in str(await refusal(make().get("gate/1.jpg")))


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(200, headers={"Content-Encoding": "gzip"}, body=b"no gzip"), ""),
        (Answer(200, headers={"Content-Type": "text/html"}, body=bytes(100)), ""),
        (Answer(200, body=bytes(MOST_READ_BYTES + 1)), "too_large"),
        (Answer(404, "NoSuchKey"), "gone"),
        (Answer(404, "NoSuchBucket"), "store_shut"),
        (Answer(403, "AccessDenied"), "store_shut"),
        (Answer(503, "SlowDown"), "store_shut"),
        (Answer(302, headers={"Location": "http://127.0.0.1:9/"}, body=b""), "store_shut"),
        (Answer(0), "store_shut"),
    ],
)
async def test_what_a_server_answers_to_a_get(odd_s3: OddS3, answer: Answer, says: str) -> None:
    odd_s3.answer = lambda _method, path, _headers: answer if "jpg" in path else PLAIN
    store = odd_store(odd_s3)
    await store.open()
    reason = ""
    try:
        assert await store.get("gate/1.jpg") == answer.body
    except (PartFailed, Rejected) as error:
        reason = error.reason
    assert reason == says
    await store.close()
