from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from edge.errors import Rejected, TryLater
from edge.sinks.forward_answer import KEPT, MOST_ANSWER
from tests.places import free_port
from tests.servers.odd_sink import OddSink, answer, odd_sink, saying
from tests.sinks.forwarding import event, forward, refused

__all__ = ["odd_sink"]


async def test_redirects_are_never_followed(odd_sink: OddSink) -> None:
    odd_sink.play = saying(answer("307 Elsewhere", location=odd_sink.url))
    error = await refused(odd_sink, Rejected)
    assert error.status == 307
    assert "not followed" in error.hint
    assert odd_sink.connections == 1


async def test_nobody_there() -> None:
    async with forward(f"http://127.0.0.1:{free_port()}/x") as handler:
        with pytest.raises(TryLater, match="no answer") as caught:
            await handler(event())
    assert (caught.value.reason, caught.value.status) == ("unreachable", 0)


@pytest.mark.parametrize("host", ["nowhere.invalid", "[::1%25no]"])
async def test_a_host_that_is_none(host: str) -> None:
    async with forward(f"http://{host}/x") as handler:
        with pytest.raises(TryLater) as caught:
            await handler(event())
    assert (caught.value.reason, caught.value.status) == ("unreachable", 0)


async def nothing(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    pass


@pytest.mark.parametrize(
    "play",
    [
        nothing,
        saying(b"HTTP/1.1 20"),
        saying(b"SSH-2.0-OpenSSH_9\r\n\r\n"),
        saying(b"HTTP/1.1 abc No\r\n\r\n"),
        saying(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000_000),
        saying(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"),
        saying(b"\x00" * 100),
    ],
    ids=["closes", "half", "ssh", "status", "header", "length", "zeros"],
)
async def test_what_is_no_answer_is_tried_again(
    odd_sink: OddSink, play: Callable[..., Awaitable[None]]
) -> None:
    odd_sink.play = play
    error = await refused(odd_sink, TryLater)
    assert (error.reason, error.status) == ("no_answer", 0)
    assert "\n" not in str(error)
    assert len(str(error)) < 300


@pytest.mark.parametrize(
    "said",
    [
        answer("200 OK", b"x" * 10, content_length="1000"),
        answer("200 OK", b"zz\r\n", content_length="0", transfer_encoding="chunked"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
    ],
)
async def test_a_reply_that_breaks_off_is_tried_again(odd_sink: OddSink, said: bytes) -> None:
    odd_sink.play = saying(said)
    error = await refused(odd_sink, TryLater)
    assert error.reason in {"bad_reply", "no_answer"}


async def test_a_giant_reply_is_not_read_to_its_end(odd_sink: OddSink) -> None:
    written = 0

    async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
            written += 65536

    odd_sink.play = endless
    error = await refused(odd_sink, TryLater)
    assert (error.reason, error.status, len(error.answer)) == ("bad_reply", 200, KEPT)
    assert str(MOST_ANSWER) in str(error)
    # what the sockets hold comes on top
    assert written < MOST_ANSWER + 16 * 2**20


async def test_a_refusal_that_never_ends_is_a_refusal(
    odd_sink: OddSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.sinks.forward_http.REFUSAL_SECONDS", 0.2)
    odd_sink.play = saying(answer("503 No", b"busy", content_length="1000"), hang=True)
    error = await refused(odd_sink, TryLater)
    assert (error.status, error.answer) == (503, b"busy")
    odd_sink.play = saying(answer("202 Fine", b"x", content_length="1000"), hang=True)
    async with forward(odd_sink.url) as handler:
        assert await handler(event()) is None


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 200 OK\r\n", answer("200 OK", content_length="9")]
)
async def test_a_sink_that_hangs_is_left_when_the_caller_gives_up(
    odd_sink: OddSink, said: bytes
) -> None:
    odd_sink.play = saying(said, hang=True)
    async with forward(odd_sink.url) as handler:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await handler(event())
        async with asyncio.timeout(30):
            await odd_sink.idle.wait()
        odd_sink.play = saying(answer("202 Fine"))
        assert await handler(event()) is None


async def test_a_drip_of_headers_ends_with_the_callers_patience(odd_sink: OddSink) -> None:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X: y\r\n")
            await asyncio.sleep(0.01)

    odd_sink.play = drip
    async with forward(odd_sink.url) as handler:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await handler(event())


async def test_early_hints_are_no_answer(odd_sink: OddSink) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3 + b"HTTP/1.1 100 Continue\r\n\r\n"
    odd_sink.play = saying(hints + answer("202 Fine"))
    async with forward(odd_sink.url) as handler:
        assert await handler(event()) is None


async def test_a_connection_that_the_sink_closed_is_not_used_again(odd_sink: OddSink) -> None:
    odd_sink.play = saying(answer("202 Fine", connection="keep-alive"))
    async with forward(odd_sink.url) as handler:
        for _ in range(3):
            assert await handler(event()) is None
            await asyncio.sleep(0.02)
    assert odd_sink.connections == 3
