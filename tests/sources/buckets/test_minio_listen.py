"""Listening to MinIO, against a stand-in that does what MinIO's source says, and what breaks it."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import PartFailed
from edge.sources.buckets.link import BucketLink
from edge.sources.buckets.minio_listen import CREATED, MOST_LINE, MinioListen, lines
from edge.sources.buckets.records import read
from edge.sources.buckets.sigv import Keys
from tests.places import free_port
from tests.servers.minio_listen import (
    ACCESS_KEY,
    PING,
    SECRET_KEY,
    FakeMinio,
    chunk,
    event,
    minio,
    until,
)

__all__ = ["minio"]

KEYS = Keys(access_key=ACCESS_KEY, secret_key=SECRET_KEY)


@dataclass
class Ear:
    """Listens in a task; what it heard, and how it ended."""

    task: asyncio.Task[None]
    heard: list[str] = field(default_factory=list)
    #: events that came, and the moments at which it was up
    ups: int = 0

    async def end(self) -> PartFailed:
        done, _ = await asyncio.wait([self.task], timeout=10)
        assert done, "it goes on"
        error = self.task.exception()
        assert isinstance(error, PartFailed)
        return error

    async def hears(self, count: int) -> list[str]:
        await until(lambda: len(self.heard) >= count)
        return self.heard


Listen = Callable[..., Ear]


@pytest.fixture
async def listen(minio: FakeMinio) -> AsyncIterator[Listen]:
    made: list[tuple[BucketLink, Ear]] = []

    def begin(
        keys: Keys = KEYS,
        bucket: str = "frames",
        prefix: str = "",
        endpoint: str = "",
        ping: int = 1,
    ) -> Ear:
        link = BucketLink(endpoint or minio.endpoint, keys)
        source = MinioListen(link, bucket, prefix=prefix, ping=ping)

        async def take(line: bytes) -> None:
            ear.heard += [one.subject for one in read(line, keys="plain")]

        def up() -> None:
            ear.ups += 1

        ear = Ear(asyncio.create_task(source.run(take, up), name="ear"))
        made.append((link, ear))
        return ear

    yield begin
    for link, ear in made:
        ear.task.cancel()
        await asyncio.wait([ear.task])
        await link.close()


async def test_events_come_with_their_keys_as_they_are(minio: FakeMinio, listen: Listen) -> None:
    ear = listen()
    await minio.listened()
    keys = ["in/a.jpg", "cam 1/hallé+lobby%20.jpg", "日本/" + "x" * 900 + ".png"]
    minio.put(*keys)
    assert await ear.hears(3) == keys
    assert ear.ups == 1


async def test_it_asks_for_what_makes_an_object_by_name(minio: FakeMinio, listen: Listen) -> None:
    listen(prefix="cam 1/")
    await minio.listened()
    (query,) = minio.asked
    assert [value for name, value in query if name == "events"] == sorted(CREATED)
    assert ("ping", "1") in query
    assert ("prefix", "cam 1/") in query
    assert minio.headers["accept-encoding"] == "identity"


async def test_a_star_in_the_prefix_is_no_wildcard(minio: FakeMinio, listen: Listen) -> None:
    listen(prefix="cam/*2")
    await minio.listened()
    assert ("prefix", "cam/") in minio.asked[0]


async def test_it_is_up_with_the_first_ping(minio: FakeMinio, listen: Listen) -> None:
    ear = listen()
    await minio.listened()
    await until(lambda: ear.ups == 1)
    assert not ear.heard


async def test_blanks_pings_and_events_in_pieces_are_told_apart(
    minio: FakeMinio, listen: Listen
) -> None:
    ear = listen()
    listener = await minio.listened()
    wire = b"  " + PING + b" " + event("a.jpg") + b"\r\n" + PING + event("b.jpg")
    for at in range(0, len(wire), 37):
        listener.send(wire[at : at + 37])
        await asyncio.sleep(0)
    assert await ear.hears(2) == ["a.jpg", "b.jpg"]


async def test_the_next_line_waits_for_the_one_before(minio: FakeMinio) -> None:
    link = BucketLink(minio.endpoint, KEYS)
    gate, begun = asyncio.Event(), 0

    async def take(_: bytes) -> None:
        nonlocal begun
        begun += 1
        await gate.wait()

    task = asyncio.create_task(MinioListen(link, "frames").run(take, lambda: None), name="slow")
    await minio.listened()
    minio.put("a.jpg", "b.jpg")
    await asyncio.sleep(0.2)
    assert begun == 1
    gate.set()
    await until(lambda: begun == 2)
    task.cancel()
    await asyncio.wait([task])
    await link.close()


async def test_the_end_of_a_stream_is_no_silence(minio: FakeMinio, listen: Listen) -> None:
    ear = listen()
    listener = await minio.listened()
    listener.send(event("a.jpg"))
    listener.raw(b"0\r\n\r\n")
    assert (await ear.end()).reason == "ended"
    assert ear.heard == ["a.jpg"]


async def test_a_line_that_is_cut_off_is_not_taken(minio: FakeMinio, listen: Listen) -> None:
    ear = listen()
    listener = await minio.listened()
    listener.send(event("a.jpg"))
    listener.raw(b"50\r\n" + event("b.jpg")[:40])
    listener.writer.close()
    assert (await ear.end()).reason == "cut"
    assert ear.heard == ["a.jpg"]


async def test_half_a_line_at_the_end_of_a_whole_answer_is_not_taken(
    minio: FakeMinio, listen: Listen
) -> None:
    ear = listen()
    listener = await minio.listened()
    listener.raw(chunk(event("b.jpg")[:-1]) + b"0\r\n\r\n")
    assert (await ear.end()).reason == "ended"
    assert ear.heard == []


async def test_a_reset_ends_it(minio: FakeMinio, listen: Listen) -> None:
    ear = listen()
    listener = await minio.listened()
    minio.put("a.jpg")
    await ear.hears(1)
    listener.reset()
    assert (await ear.end()).reason == "cut"


async def test_three_pings_of_silence_end_it(minio: FakeMinio, listen: Listen) -> None:
    minio.pings = False
    ear = listen()
    await minio.listened()
    minio.put("a.jpg")
    await ear.hears(1)
    began = asyncio.get_running_loop().time()
    assert (await ear.end()).reason == "silent"
    assert asyncio.get_running_loop().time() - began > 2.5


async def test_a_server_that_accepts_and_says_nothing_is_lost(
    minio: FakeMinio, listen: Listen
) -> None:
    minio.pings = False  # nor does the head come: it leaves with the first byte
    ear = listen()
    assert (await ear.end()).reason == "silent"
    assert ear.ups == 0, "nobody knows whether it listened"


async def test_an_old_server_s_blanks_keep_it_alive_and_take_no_memory(
    minio: FakeMinio, listen: Listen
) -> None:
    ear = listen()
    listener = await minio.listened()
    for _ in range(3 * MOST_LINE // 65536):  # each half second, for ten days
        listener.send(b" " * 65536)
        await listener.writer.drain()
    listener.send(event("a.jpg"))
    assert await ear.hears(1) == ["a.jpg"]


async def test_events_of_one_line_all_come(minio: FakeMinio, listen: Listen) -> None:
    ear = listen()
    listener = await minio.listened()
    one, other = (json.loads(event(key))["Records"] for key in ("a.jpg", "b.jpg"))
    listener.send(json.dumps({"Records": [*one, *other]}).encode() + b"\n")
    assert await ear.hears(2) == ["a.jpg", "b.jpg"]


async def test_a_content_type_may_have_parameters(minio: FakeMinio, listen: Listen) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\n"
    body = event("a.jpg")
    minio.instead = head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    ear = listen()
    assert (await ear.end()).reason == "ended"
    assert ear.heard == ["a.jpg"]


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (400, "InvalidArgument", "bad_request"),
        (403, "AccessDenied", "denied"),
        (404, "NoSuchBucket", "no_bucket"),
        (503, "SlowDown", "refused"),
        (301, "PermanentRedirect", "refused"),
    ],
)
async def test_refusals_are_told_apart(
    minio: FakeMinio, listen: Listen, status: int, code: str, reason: str
) -> None:
    minio.refuse(status, code)
    error = await listen().end()
    assert (error.reason, error.status) == (reason, status)
    assert code in str(error)
    assert error.hint


async def test_a_wrong_key_is_refused_and_not_shown(listen: Listen) -> None:
    error = await listen(keys=Keys(access_key=ACCESS_KEY, secret_key="wr0ng")).end()
    assert error.reason == "denied"
    assert "wr0ng" not in str(error) + error.hint


async def test_another_bucket_is_missing(listen: Listen) -> None:
    assert (await listen(bucket="nothing-here").end()).reason == "no_bucket"


async def test_a_listing_is_no_stream(minio: FakeMinio, listen: Listen) -> None:
    body = b"<?xml version='1.0'?><ListBucketResult><Name>frames</Name></ListBucketResult>"
    minio.instead = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n%s"
        % (len(body), body)
    )
    error = await listen().end()
    assert error.reason == "not_minio"
    assert "pull" in error.hint


async def test_a_compressed_stream_is_refused_in_words(minio: FakeMinio, listen: Listen) -> None:
    minio.instead = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n" + chunk(gzip.compress(event("a.jpg")))
    )
    error = await listen().end()
    assert error.reason == "encoded"
    assert "proxy" in error.hint


async def test_a_giant_line_ends_it(minio: FakeMinio, listen: Listen) -> None:
    ear = listen()
    listener = await minio.listened()
    for _ in range(40):
        listener.send(b"x" * (MOST_LINE // 32))
    assert (await ear.end()).reason == "line_too_long"


async def test_what_is_no_http_is_said_so(minio: FakeMinio, listen: Listen) -> None:
    minio.instead = b"SSH-2.0-OpenSSH_9.2\r\n"
    assert (await listen().end()).reason == "cut"


async def test_nobody_there_is_unreachable(listen: Listen) -> None:
    error = await listen(endpoint=f"http://127.0.0.1:{free_port()}").end()
    assert error.reason == "unreachable"


@pytest.mark.parametrize(
    "endpoint",
    ["", "minio:9000", "ftp://h", "http://", "http://u:pw@h", "http://h/x", "http://h:0"],
)
def test_an_endpoint_that_cannot_be_one_is_refused(endpoint: str) -> None:
    with pytest.raises(PartFailed) as caught:
        BucketLink(endpoint, KEYS)
    assert caught.value.reason == "bad_endpoint"
    assert "pw" not in str(caught.value)


@given(
    parts=st.lists(st.binary(max_size=12).map(lambda raw: raw.replace(b"\n", b"."))),
    sizes=st.lists(st.integers(1, 9), min_size=1),
)
def test_lines_do_not_depend_on_how_they_were_cut(parts: list[bytes], sizes: list[int]) -> None:
    wire = b"".join(part + b"\n" for part in parts)

    async def pieces() -> AsyncIterator[bytes]:
        at = turn = 0
        while at < len(wire):
            size = sizes[turn % len(sizes)]
            yield wire[at : at + size]
            at, turn = at + size, turn + 1

    async def cut() -> list[bytes]:
        return [line async for line in lines(pieces(), "here", most=64)]

    assert asyncio.run(cut()) == [part.strip() for part in parts]
