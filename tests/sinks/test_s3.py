from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest
from minio.versioningconfig import VersioningConfig

from edge.config.secret import Secret
from edge.errors import Fatal, PartFailed, Rejected
from edge.sinks.keys import MOST_READ_BYTES
from tests.parts import make_parcel
from tests.places import free_port
from tests.servers.odd_s3 import PLAIN, STORED, Answer, OddS3
from tests.servers.rgw import KMS_KEY, Rgw
from tests.sinks.s3_stores import Make, make, odd_store, refusal

__all__ = ["make"]

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
