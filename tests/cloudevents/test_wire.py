"""The codec behind a real HTTP server (aiohttp's), asked by curl and by hand on a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from edge.cloudevents import http, json_format, webhook
from edge.cloudevents.faults import Malformed
from edge.cloudevents.http import Mode
from edge.event import WireEvent
from tests.cloudevents.events import an_event, document
from tests.places import free_port, need


class Receiver:
    """Takes events on ``/``, and answers with the first of them (``?echo=binary``)."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.events: list[WireEvent] = []
        self.modes: list[Mode] = []

    async def post(self, request: web.Request) -> web.Response:
        try:
            mode, events = http.decode(request.headers, await request.read())
        except Malformed as error:
            status = 415 if error.reason == "unsupported_media_type" else 400
            return web.Response(status=status, text=str(error))
        self.modes.append(mode)
        self.events += events
        if request.query.get("echo"):
            headers, body = http.encode_binary(events[0])
            return web.Response(headers=headers, body=body)
        return web.Response(status=202)

    async def options(self, request: web.Request) -> web.Response:
        return web.Response(headers=webhook.answer(request.headers))


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/", receiver.post)
    app.router.add_route("OPTIONS", "/", receiver.options)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", receiver.port).start()
    yield receiver
    await runner.cleanup()


async def _curl(receiver: Receiver, *words: str, path: str = "") -> tuple[int, str]:
    """Return the status and what came before it, headers included."""
    command = [need("curl", "curl"), "-sSi", "-m", "10", "-w", "\n%{http_code}", *words]
    done = await asyncio.create_subprocess_exec(*command, receiver.url + path, stdout=-1, stderr=-1)
    out, faults = await done.communicate()
    assert done.returncode == 0, faults.decode()
    text, _, status = out.decode().rpartition("\n")
    return int(status), text


def _headers(**other: str) -> list[str]:
    found = {"specversion": "1.0", "id": "1", "source": "/a", "type": "t"} | other
    return [word for name, value in found.items() for word in ("-H", f"CE-{name}: {value}")]


async def test_curl_sends_an_event_in_binary_mode(receiver: Receiver, tmp_path: Path) -> None:
    picture = bytes(range(256)) * 300
    (tmp_path / "picture").write_bytes(picture)
    words = _headers(subject="Euro%20%E2%82%AC", quoted='"a \\"b\\""', bare="hello world")
    words += ["-H", "Content-Type: image/png", "--data-binary", f"@{tmp_path / 'picture'}"]
    assert (await _curl(receiver, *words))[0] == 202
    extensions = {"quoted": 'a "b"', "bare": "hello world"}
    assert receiver.events == [
        an_event(picture, subject="Euro €", datacontenttype="image/png", extensions=extensions)
    ]


@pytest.mark.parametrize(
    ("kind", "body", "count"),
    [
        ("application/cloudevents+json", document("1.00"), 1),
        ("application/cloudevents-batch+json", b"[]", 0),
        ("application/cloudevents-batch+json", b"[" + document() + b"," + document() + b"]", 2),
    ],
)
async def test_curl_sends_structured_and_batch(
    receiver: Receiver, kind: str, body: bytes, count: int
) -> None:
    words = ["-H", f"Content-Type: {kind}", "--data-binary", body.decode()]
    assert (await _curl(receiver, *words))[0] == 202
    assert len(receiver.events) == count


@pytest.mark.parametrize(
    ("words", "status", "named"),
    [
        (["-d", "{}"], 400, "no event"),
        ([*_headers(), "-H", "ce-id: 2", "-d", "{}"], 400, "ce-id: expected one"),
        ([*_headers(), "-H", "Content-Type;", "-d", "{}"], 400, "datacontenttype"),
        ([*_headers(subject="é"), "-d", "{}"], 400, "ce-subject"),
        (["-H", "Content-Type: application/cloudevents+avro", "-d", "x"], 415, "content-type"),
    ],
)
async def test_curl_is_told_what_was_wrong(
    receiver: Receiver, words: list[str], status: int, named: str
) -> None:
    assert (await _curl(receiver, *words))[0] == status
    assert named in (await _curl(receiver, *words))[1]
    assert receiver.events == []


async def test_curl_gets_an_event_as_the_answer(receiver: Receiver) -> None:
    words = [*_headers(subject="%22%25%E2%82%AC"), "-H", "Content-Type: text/plain", "-d", "hi"]
    _, text = await _curl(receiver, *words, path="?echo=binary")
    assert "\r\nce-subject: %22%25%E2%82%AC\r\n" in text
    assert text.endswith("\r\n\r\nhi")


async def test_curl_shakes_hands(receiver: Receiver) -> None:
    words = ["-X", "OPTIONS", "-H", "WebHook-Request-Origin: a.example.com"]
    status, text = await _curl(receiver, *words, "-H", "WebHook-Request-Rate: 120")
    assert status == 200
    assert "WebHook-Allowed-Origin: a.example.com\r\nWebHook-Allowed-Rate: 120\r\n" in text


async def test_bytes_on_the_socket_are_what_they_are(receiver: Receiver) -> None:
    """What no client library would send: raw bytes in headers, names in any case, odd spaces."""
    good = b"cE-ID:1\r\nCe-Source:\t/a \t\r\nce-type: t\r\nCE-SPECVERSION: 1.0\r\n"
    for more, status in (
        (b"", b"202"),
        (b"ce-ext: \r\n", b"202"),
        (b"ce-ext: \xc3\xa9\r\n", b"400"),
        (b"ce-ext: \xe9\r\n", b"400"),
        (b"ce-id: 1\r\n", b"400"),
        (b"ce-my_ext: 1\r\n", b"400"),
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
        head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n"
        writer.write(head + good + more + b"\r\n")
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        assert answer.split()[1] == status, answer
    assert receiver.events == [an_event(), an_event(extensions={"ext": ""})]


async def test_aiohttp_sends_and_takes_what_we_write(receiver: Receiver) -> None:
    event = an_event(
        b'{"a": 1.00}',
        subject='Euro € "q" 5%',
        time="2026-01-31T12:00:00.123456789Z",
        datacontenttype="application/json",
        extensions={"flag": "true"},
    )
    async with aiohttp.ClientSession() as session:
        for write in (http.encode_binary, http.encode_structured):
            headers, body = write(event)
            async with session.post(
                receiver.url, params={"echo": "binary"}, headers=headers, data=body
            ) as answer:
                assert http.carries_event(answer.headers)
                assert http.decode_one(answer.headers, await answer.read()) == event
        headers, body = http.encode_batch([event, an_event()])
        async with session.post(receiver.url, headers=headers, data=body) as answer:
            assert not http.carries_event(answer.headers)
    assert receiver.events == [event, event, event, an_event()]
    assert receiver.modes == [Mode.BINARY, Mode.STRUCTURED, Mode.BATCH]


async def test_an_event_of_64_kib_and_more_arrives(receiver: Receiver) -> None:
    event = an_event(json.dumps("x" * 500_000).encode(), datacontenttype="application/json")
    async with aiohttp.ClientSession() as session:
        message = http.encode_structured(event)
        async with session.post(receiver.url, headers=message.headers, data=message.body) as answer:
            assert answer.status == 202
    assert receiver.events == [event]
    assert message.body == json_format.encode(event)
