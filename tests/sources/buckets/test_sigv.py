"""Signatures against Amazon's published examples, minio-py's own signer and a real gateway."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from datetime import UTC, datetime
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from minio.credentials.credentials import Credentials
from minio.signer import sign_v4_s3

from edge.sources.buckets.sigv import (
    EMPTY_SHA256,
    Keys,
    Request,
    encode_path,
    encode_query,
    presign_v4,
    sign_v2,
    sign_v4,
)
from tests.servers.rgw import Rgw, bucket, rgw

__all__ = ["bucket", "rgw"]

AMAZON = Keys(
    access_key="AKIAIOSFODNN7EXAMPLE", secret_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)
HOST = "examplebucket.s3.amazonaws.com"
THEN = datetime(2013, 5, 24, tzinfo=UTC)
PUT_HASH = hashlib.sha256(b"Welcome to Amazon S3.").hexdigest()


@pytest.mark.parametrize(
    ("request_", "payload", "signature"),
    [
        (
            Request(host=HOST, path="/test.txt", headers={"Range": "bytes=0-9"}),
            EMPTY_SHA256,
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            Request(
                method="PUT",
                host=HOST,
                path="/test$file.text",
                headers={
                    "Date": "Fri, 24 May 2013 00:00:00 GMT",
                    "x-amz-storage-class": "REDUCED_REDUNDANCY",
                },
            ),
            PUT_HASH,
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            Request(host=HOST, query=[("lifecycle", "")]),
            EMPTY_SHA256,
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            Request(host=HOST, query=[("prefix", "J"), ("max-keys", "2")]),
            EMPTY_SHA256,
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
    ids=["get", "put", "lifecycle", "list"],
)
def test_version_4_signs_as_amazons_examples_do(
    request_: Request, payload: str, signature: str
) -> None:
    headers = sign_v4(request_, AMAZON, THEN, payload=payload)
    assert headers["Authorization"].endswith(f"Signature={signature}")
    assert (
        "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
        in (headers["Authorization"])
    )


def test_a_signed_address_is_amazons_example() -> None:
    query = presign_v4(Request(host=HOST, path="/test.txt"), AMAZON, THEN, expires=86400)
    expected = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    assert dict(query)["X-Amz-Signature"] == expected


@pytest.mark.parametrize(
    ("request_", "date", "signature"),
    [
        (
            Request(host="s3", path="/johnsmith/photos/puppy.jpg"),
            "Tue, 27 Mar 2007 19:36:42 +0000",
            "bWq2s1WEIj+Ydj0vQ697zp+IXMU=",
        ),
        (
            Request(
                method="PUT",
                host="s3",
                path="/johnsmith/photos/puppy.jpg",
                headers={"Content-Type": "image/jpeg"},
            ),
            "Tue, 27 Mar 2007 21:15:45 +0000",
            "MyyxeRY7whkBe+bq8fHCL/2kKUg=",
        ),
        (
            Request(host="s3", path="/johnsmith/", query=[("prefix", "photos"), ("max-keys", "5")]),
            "Tue, 27 Mar 2007 19:42:41 +0000",
            "htDYFYduRNen8P9ZfE/s9SuKy0U=",
        ),
        (
            Request(host="s3", path="/johnsmith/", query=[("acl", "")]),
            "Tue, 27 Mar 2007 19:44:46 +0000",
            "c2WLPFtWHVgbEmeEG93a4cG37dM=",
        ),
    ],
    ids=["get", "put", "list", "acl"],
)
def test_version_2_signs_as_amazons_examples_do(
    request_: Request, date: str, signature: str
) -> None:
    dated = Request(
        method=request_.method,
        host=request_.host,
        path=request_.path,
        query=request_.query,
        headers={**request_.headers, "Date": date},
    )
    headers = sign_v2(dated, AMAZON, THEN)
    assert headers == {"Date": date, "Authorization": f"AWS AKIAIOSFODNN7EXAMPLE:{signature}"}


def test_version_2_writes_the_date_as_http_does() -> None:
    headers = sign_v2(Request(host="s3"), AMAZON, THEN)
    assert headers["Date"] == "Fri, 24 May 2013 00:00:00 GMT"


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(pairs=st.lists(st.tuples(_TEXT.filter(bool), _TEXT), max_size=6))
def test_what_is_written_is_what_is_read(pairs: list[tuple[str, str]]) -> None:
    written = encode_query(pairs)
    assert sorted(parse_qsl(written, keep_blank_values=True)) == sorted(pairs)
    assert written.isascii()


@given(pairs=st.lists(st.tuples(st.sampled_from(["events", "a"]), _TEXT), max_size=5), path=_TEXT)
def test_version_4_agrees_with_minio_py(pairs: list[tuple[str, str]], path: str) -> None:
    from urllib.parse import urlsplit

    query = encode_query(pairs)
    url = urlsplit(f"http://h:9000{encode_path('/' + path)}?{query}")
    stamp = {"Host": "h:9000", "X-Amz-Date": "20130524T000000Z"}
    theirs = sign_v4_s3(
        method="GET",
        url=url,
        region="us-east-1",
        headers={**stamp, "X-Amz-Content-Sha256": EMPTY_SHA256},
        credentials=Credentials(AMAZON.access_key, AMAZON.secret_key),
        content_sha256=EMPTY_SHA256,
        date=THEN,
    )
    ours = sign_v4(Request(host="h:9000", path="/" + path, query=pairs), AMAZON, THEN)
    assert _signature(ours["Authorization"]) == _signature(str(theirs["Authorization"]))


def _signature(header: str) -> str:
    return header.rpartition("Signature=")[2]


def test_a_secret_key_does_not_print() -> None:
    assert "wJalr" not in repr(AMAZON)


def _ask(endpoint: str, request: Request, headers: dict[str, str]) -> int:
    url = f"{endpoint}{encode_path(request.path)}?{encode_query(request.query)}"
    asked = urllib.request.Request(url, headers=headers, method=request.method)
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:
            status: int = answer.status
    except urllib.error.HTTPError as error:
        return error.code
    return status


@pytest.mark.parametrize("sign", [sign_v4, sign_v2])
def test_a_real_gateway_takes_both_and_no_other(rgw: Rgw, bucket: str, sign: object) -> None:
    assert callable(sign)
    rgw.client().make_bucket(bucket_name=bucket)
    keys = Keys(access_key=rgw.access_key, secret_key=rgw.secret_key)
    asked = Request(
        host=rgw.endpoint.removeprefix("http://"),
        path=f"/{bucket}",
        query=[("prefix", "a b+c/%é"), ("max-keys", "3")],
    )
    now = datetime.now(UTC)
    assert _ask(rgw.endpoint, asked, sign(asked, keys, now)) == 200
    wrong = Keys(access_key=rgw.access_key, secret_key="wrong")
    assert _ask(rgw.endpoint, asked, sign(asked, wrong, now)) == 403


def test_a_real_gateway_takes_a_signed_address(rgw: Rgw, bucket: str) -> None:
    rgw.client().make_bucket(bucket_name=bucket)
    keys = Keys(access_key=rgw.access_key, secret_key=rgw.secret_key)
    asked = Request(host=rgw.endpoint.removeprefix("http://"), path=f"/{bucket}")
    query = presign_v4(asked, keys, datetime.now(UTC))
    signed = Request(host=asked.host, path=asked.path, query=query)
    assert _ask(rgw.endpoint, signed, {}) == 200
    assert (
        _ask(rgw.endpoint, Request(host=asked.host, path=asked.path, query=query[:-1]), {}) != 200
    )
