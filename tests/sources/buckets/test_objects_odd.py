"""Objects of a bucket on servers that misbehave."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from edge.errors import PartFailed, Rejected
from edge.frame import ObjectRef
from edge.sources.buckets.objects import BucketObjects
from tests.parts import until
from tests.places import free_port
from tests.servers.odd_s3 import Answer, OddS3
from tests.sources.buckets.test_objects import BODY, Make, made, pages, reader, refused

__all__ = ["made"]


@pytest.fixture
def odd(made: list[BucketObjects], odd_s3: OddS3) -> Make:
    """Return a maker of readers of the odd server."""

    def make_one(**other: Any) -> BucketObjects:
        made.append(reader(odd_s3.endpoint, **other))
        return made[-1]

    return make_one


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        (Answer(403, "AccessDenied"), PartFailed, "refused"),
        (Answer(403, "RequestTimeTooSkewed"), PartFailed, "refused"),
        (Answer(403, "InvalidObjectState"), Rejected, "archived"),
        (Answer(403, body=b"<html>", headers={"Content-Type": "text/html"}), PartFailed, "refused"),
        (Answer(301, "PermanentRedirect"), PartFailed, "refused"),
        (Answer(302, headers={"Location": "http://127.0.0.1:1/"}), PartFailed, "refused"),
        (Answer(400, "AuthorizationHeaderMalformed"), PartFailed, "refused"),
        (Answer(400, "InvalidArgument"), Rejected, "object_refused"),
        (Answer(404, "NoSuchKey"), Rejected, "gone"),
        (Answer(404, "NoSuchVersion"), Rejected, "gone"),
        (Answer(404, "NoSuchBucket"), PartFailed, "no_bucket"),
        (Answer(405, "MethodNotAllowed"), PartFailed, "unreachable"),
        (
            Answer(405, "MethodNotAllowed", headers={"x-amz-delete-marker": "true"}),
            Rejected,
            "gone",
        ),
        # a proxy's 404 says nothing about the object
        (
            Answer(404, body=b"no", headers={"Content-Type": "text/plain"}),
            PartFailed,
            "unreachable",
        ),
        (Answer(404, body=b"\xff\xfe", headers={"Content-Type": "x/y"}), PartFailed, "unreachable"),
        (Answer(404, body=b""), PartFailed, "unreachable"),
        (Answer(404, body=b"<Error><Code>NoSuchKey"), PartFailed, "unreachable"),
        (Answer(404, body=b"<Nothing/>"), PartFailed, "unreachable"),
        (Answer(429, "SlowDown"), PartFailed, "unreachable"),
        (Answer(500, "InternalError"), PartFailed, "unreachable"),
        (Answer(503, "SlowDown"), PartFailed, "unreachable"),
        (
            Answer(502, body=b"<html>", headers={"Content-Type": "text/html"}),
            PartFailed,
            "unreachable",
        ),
        (Answer(204, body=b""), Rejected, "replaced"),
        (Answer(0), PartFailed, "unreachable"),
    ],
    ids=lambda value: f"{value.status} {value.code}" if isinstance(value, Answer) else None,
)
async def test_an_answer_is_what_it_means(
    odd: Make, odd_s3: OddS3, answer: Answer, kind: type[Rejected], reason: str
) -> None:
    odd_s3.answer = lambda *_: answer
    await refused(odd().get(ObjectRef(bucket="frames", key="a.jpg", etag="1")), kind, reason)
    assert len(odd_s3.seen) == 1  # nothing is tried again here


@pytest.mark.parametrize("key", ["", " ", "a/../b.jpg", "./a.jpg", "x" * 1025, "half \ud800.jpg"])
async def test_a_key_that_cannot_be_asked_for_is_refused_before_a_request(
    odd: Make, odd_s3: OddS3, key: str
) -> None:
    await refused(odd().get(ObjectRef(bucket="frames", key=key)), Rejected, "bad_key")
    await refused(
        odd().get(ObjectRef(bucket="frames", key="a", version="\udfff")), Rejected, "bad_key"
    )
    assert not odd_s3.seen


async def test_an_answer_that_is_compressed_is_not_unpacked(odd: Make, odd_s3: OddS3) -> None:
    odd_s3.answer = lambda *_: Answer(200, headers={"Content-Encoding": "gzip"}, body=b"\x1f\x8b")
    assert (await odd().get(ObjectRef(bucket="frames", key="a.jpg"))).body == b"\x1f\x8b"
    assert odd_s3.seen[0][2]["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    "body",
    [b"", b"<", b"<a/>", b"\xff", b"<ListBucketResult><Contents/></ListBucketResult>",
     b"<ListBucketResult><Name>frames</Name><Contents><Key>a.jpg</Key><Size>x</Size></Contents></ListBucketResult>",
     b"<ListBucketResult><Name>frames</Name><IsTruncated>true</IsTruncated></ListBucketResult>"],
)  # fmt: skip
async def test_a_listing_that_makes_no_sense_is_an_error_or_empty(
    odd: Make, odd_s3: OddS3, body: bytes
) -> None:
    # the last of them says for ever that there is more
    odd_s3.answer = lambda *_: (
        Answer(200, body=body) if len(odd_s3.seen) < 4 else Answer(503, "SlowDown")
    )
    try:
        found = await pages(odd())
    except PartFailed as error:
        assert error.reason == "unreachable"  # noqa: PT017
    else:
        assert not any(found)


def listing(*keys: str, more: bool) -> Answer:
    contents = "".join(
        f"<Contents><Key>{key}</Key><Size>1</Size><ETag>&quot;1&quot;</ETag>"
        "<LastModified>2026-01-02T03:04:05.678Z</LastModified></Contents>"
        for key in keys
    )
    head = f"<Name>frames</Name><IsTruncated>{str(more).lower()}</IsTruncated>"
    if more and keys:
        head += f"<NextContinuationToken>{keys[-1]}</NextContinuationToken>"
    return Answer(200, body=f"<ListBucketResult>{head}{contents}</ListBucketResult>".encode())


@pytest.mark.parametrize("at_once", [1000, 300])
async def test_a_long_listing_comes_in_pages(odd: Make, odd_s3: OddS3, at_once: int) -> None:
    there = [f"{number:05}.jpg" for number in range(2345)]

    def answer(_: str, path: str, __: dict[str, str]) -> Answer:
        asked = parse_qs(urlsplit(path).query)
        after = (asked.get("continuation-token") or asked.get("start-after") or [""])[0]
        left = [key for key in there if key > after]
        return listing(*left[:at_once], more=len(left) > at_once)

    odd_s3.answer = answer
    found = await pages(odd())
    assert [one.key for page in found for one in page] == there
    assert [len(page) for page in found] == [1000, 1000, 345]
    rest = await pages(odd(), after="01999.jpg")
    assert [len(page) for page in rest] == [345]


async def test_a_server_that_lists_the_same_page_for_ever_is_found_out(
    odd: Make, odd_s3: OddS3
) -> None:
    keys = [f"{number:04}.jpg" for number in range(1000)]
    odd_s3.answer = lambda *_: listing(*keys, more=True)
    with pytest.raises(PartFailed, match="does not go on"):
        await pages(odd())
    assert len(odd_s3.seen) == 2


async def test_closing_ends_a_listing_that_would_never_end(odd: Make, odd_s3: OddS3) -> None:
    odd_s3.answer = lambda *_: listing(more=True)
    objects = odd()
    task = asyncio.create_task(pages(objects), name="listing")
    await until(lambda: len(odd_s3.seen) >= 3)
    await objects.close()
    with pytest.raises(PartFailed):
        await asyncio.wait_for(task, 5)
    await refused(objects.get(ObjectRef(bucket="frames", key="a")), PartFailed, "unreachable")


class Raw:
    """Accepts one connection after another and lets ``talk`` write to it, until it is closed."""

    def __init__(self, talk: Callable[[socket.socket], None]) -> None:
        self._talk = talk
        self._server = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self.sent = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="raw server")
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                try:
                    self._talk(connection)
                except OSError:
                    continue

    def close(self) -> None:
        self._ended.set()
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(10)


@pytest.fixture
def raw() -> Iterator[Callable[[Callable[[socket.socket], None]], Raw]]:
    servers: list[Raw] = []

    def start(talk: Callable[[socket.socket], None]) -> Raw:
        servers.append(Raw(talk))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


StartRaw = Callable[[Callable[[socket.socket], None]], Raw]


async def test_a_gigabyte_is_refused_by_what_its_header_says(
    raw: StartRaw, made: list[BucketObjects]
) -> None:
    sent: list[int] = []

    def talk(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
        while True:
            connection.sendall(bytes(65536))
            sent.append(65536)

    made.append(reader(raw(talk).endpoint))
    ref = ObjectRef(bucket="frames", key="a.jpg", size=10)
    error = await refused(made[0].get(ref), Rejected, "too_large")
    assert "1073741824" in str(error)
    assert sum(sent) < 32 * 2**20  # what fits into the sockets' buffers


async def test_a_body_without_a_length_is_read_up_to_the_limit(
    raw: StartRaw, made: list[BucketObjects]
) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while True:
            connection.sendall(bytes(65536))

    made.append(reader(raw(talk).endpoint, max_object="1MiB"))
    await refused(made[0].get(ObjectRef(bucket="frames", key="a")), Rejected, "too_large")


@pytest.mark.parametrize("head", [b"200 OK", b"500 Odd"])
async def test_a_body_that_drips_is_given_up(
    raw: StartRaw, made: list[BucketObjects], head: bytes
) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 " + head + b"\r\nContent-Length: 1000\r\n\r\n")
        while True:
            connection.sendall(b"x")
            time.sleep(0.02)

    made.append(reader(raw(talk).endpoint, timeout="100ms"))
    began = time.monotonic()
    await refused(made[0].get(ObjectRef(bucket="frames", key="a")), PartFailed, "unreachable")
    assert 0.9 < time.monotonic() - began < 10


async def test_a_body_that_ends_early_is_no_object(
    raw: StartRaw, made: list[BucketObjects]
) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")

    made.append(reader(raw(talk).endpoint))
    await refused(made[0].get(ObjectRef(bucket="frames", key="a")), PartFailed, "unreachable")


async def test_an_error_without_end_takes_no_memory(
    raw: StartRaw, made: list[BucketObjects]
) -> None:
    sent: list[int] = []

    def talk(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 404 No\r\nContent-Type: application/xml\r\n\r\n<Error>")
        while True:
            sent.append(connection.send(b" " * 65536))

    made.append(reader(raw(talk).endpoint))
    await refused(made[0].get(ObjectRef(bucket="frames", key="a")), PartFailed, "unreachable")
    assert sum(sent) < 32 * 2**20  # the limit, and what fits into the sockets' buffers


async def test_a_server_that_is_not_there_is_unreachable(made: list[BucketObjects]) -> None:
    made.append(reader(f"http://127.0.0.1:{free_port()}"))
    ref = ObjectRef(bucket="frames", key="a")
    assert (await refused(made[0].get(ref), PartFailed, "unreachable")).hint


async def test_https_is_trusted_by_the_source_s_own_authority(
    odd_https: tuple[OddS3, Path], made: list[BucketObjects], tmp_path: Path
) -> None:
    server, authority = odd_https
    server.answer = lambda *_: Answer(200, body=BODY)
    ref = ObjectRef(bucket="frames", key="a.jpg")
    made.append(reader(server.endpoint, ca_file=str(authority)))
    assert (await made[0].get(ref)).body == BODY
    made.append(reader(server.endpoint))
    assert "ca_file" in (await refused(made[1].get(ref), PartFailed, "unreachable")).hint
    made.append(reader(server.endpoint, ca_file=str(tmp_path / "none.pem")))
    await refused(made[2].get(ref), PartFailed, "unreachable")
