from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.http import (
    HTTPMessage,
    from_http_event,
    to_binary_event,
    to_structured_event,
)
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from edge.config.handlers import ForwardConfig
from edge.config.secret import Secret
from edge.errors import EdgeError, Fatal, PartFailed, Rejected, TryLater
from edge.event import Event, WireEvent
from edge.sinks.forward_answer import KEPT, LONGEST_WAIT, MOST_ANSWER, seconds_of
from edge.sinks.forward_http import HttpForward, from_environment
from tests.places import free_port
from tests.servers.http_camera import make_certificate
from tests.servers.odd_sink import OddSink, answer, odd_sink, saying

__all__ = ["odd_sink"]

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def config(uri: str, **changes: Any) -> ForwardConfig:
    return ForwardConfig.model_validate({"kind": "forward", "uri": uri, **changes})


def event(**changes: Any) -> WireEvent:
    given = {
        "id": "7",
        "source": "/site/box/gate",
        "type": "io.edge.picture.redacted.v1",
        "subject": 'gate 1/a"b%é漢.jpg',
        "time": "2026-01-01T12:00:00.123456Z",
        "datacontenttype": "application/json",
        "data": b'{"people": [1.5, "\xc3\xa9"]}',
        "extensions": {"traceparent": TRACE, "tracestate": "a=b,c=d", "seq": 5, "live": True},
    }
    return Event(**{**given, **changes})


@contextlib.asynccontextmanager
async def forward(uri: str, **changes: Any) -> AsyncIterator[HttpForward]:
    handler = HttpForward(config(uri, **changes))
    try:
        yield handler
    finally:
        await handler.close()


async def refused(sink: OddSink, kind: type[EdgeError], **changes: Any) -> Any:
    """Forward an event that is not taken; return the error."""
    async with forward(sink.url, **changes) as handler:
        with pytest.raises(kind) as caught:
            await handler(event())
    assert type(caught.value) is kind
    return caught.value


class Sdk:
    """A sink made with aiohttp and the CloudEvents SDK: nothing of it is this house's."""

    def __init__(self) -> None:
        self.events: list[BaseCloudEvent] = []
        self.headers: list[Any] = []
        self.reply: Callable[[BaseCloudEvent], HTTPMessage] | None = None

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.headers.append(request.headers)
        plain = {name.lower(): value for name, value in request.headers.items()}
        found = from_http_event(HTTPMessage(plain, body))
        self.events.append(found)
        if self.reply is None:
            return web.Response(status=202)
        message = self.reply(found)
        return web.Response(body=message.body, headers=message.headers)

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        app = web.Application()
        app.router.add_post("/sink", self.handle)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        port = free_port()
        await web.TCPSite(self._runner, "127.0.0.1", port, ssl_context=tls).start()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/sink"

    async def stop(self) -> None:
        await self._runner.cleanup()


@pytest.fixture
async def sdk() -> AsyncIterator[Sdk]:
    sink = Sdk()
    await sink.start()
    yield sink
    await sink.stop()


# -- a sink that nobody here wrote


@pytest.mark.parametrize("mode", ["binary", "structured"])
async def test_the_sdk_reads_what_is_sent(sdk: Sdk, mode: str) -> None:
    async with forward(sdk.url, mode=mode, extensions={"site": "north é"}) as handler:
        assert await handler(event()) is None
    found = sdk.events[0]
    assert found.get_id() == "7"
    assert found.get_source() == "/site/box/gate"
    assert found.get_subject() == 'gate 1/a"b%é漢.jpg'
    assert found.get_time() == datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
    assert found.get_data() == {"people": [1.5, "é"]}
    assert found.get_extension("traceparent") == TRACE
    assert found.get_extension("site") == "north é"
    assert str(found.get_extension("seq")) == "5"


async def test_headers_say_what_binary_mode_wants(sdk: Sdk) -> None:
    headers = {"X-Api-Key": "k1"}
    async with forward(sdk.url, headers=headers) as handler:
        await handler(event(extensions={"traceparent": TRACE, "knativebrokerttl": 9}))
    sent = sdk.headers[0]
    assert sent["ce-traceparent"] == TRACE
    assert "traceparent" not in sent
    assert sent["Prefer"] == "reply"
    assert sent["X-Api-Key"] == "k1"
    assert sent["Content-Type"] == "application/json"
    assert "ce-knativebrokerttl" not in sent


async def test_bytes_and_no_data_travel_as_they_are(sdk: Sdk) -> None:
    picture = bytes(range(256))
    async with forward(sdk.url) as handler:
        await handler(event(data=picture, datacontenttype="image/jpeg"))
        await handler(event(data=None, datacontenttype=""))
    assert sdk.events[0].get_data() == picture
    assert sdk.events[1].get_data() in (None, b"")
    assert "Content-Type" not in sdk.headers[1]


@pytest.mark.parametrize("write", [to_binary_event, to_structured_event])
async def test_a_reply_of_the_sdk_comes_back(
    sdk: Sdk, write: Callable[[BaseCloudEvent], HTTPMessage]
) -> None:
    def made(found: BaseCloudEvent) -> HTTPMessage:
        attributes = {
            "id": f"reply-{found.get_id()}",
            "source": "/sdk",
            "type": "com.example.reply",
            "specversion": "1.0",
            "time": datetime(2026, 1, 1, tzinfo=UTC),
            "datacontenttype": "application/json",
            "note": 'é "quoted" 100%',
        }
        return write(CloudEvent(attributes, {"seen": found.get_data()}))

    sdk.reply = made
    async with forward(sdk.url) as handler:
        reply = await handler(event())
    assert reply is not None
    assert (reply.id, reply.source, reply.type) == ("reply-7", "/sdk", "com.example.reply")
    assert reply.extensions["note"] == 'é "quoted" 100%'
    assert json.loads(reply.data or b"") == {"seen": {"people": [1.5, "é"]}}


async def test_many_events_share_few_connections(odd_sink: OddSink) -> None:
    async def slowly(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.02)
        writer.write(answer("202 Accepted"))

    odd_sink.play = slowly
    handler = HttpForward(config(odd_sink.url), connections=5)
    await asyncio.gather(*[handler(event(id=str(number))) for number in range(50)])
    await handler.close()
    assert len(odd_sink.seen) == 50
    assert 2 <= odd_sink.most_open <= 5


# -- what answers mean


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_a_success_without_a_body_is_done(odd_sink: OddSink, status: int) -> None:
    odd_sink.play = saying(answer(f"{status} Fine"))
    async with forward(odd_sink.url) as handler:
        assert await handler(event()) is None


@pytest.mark.parametrize("status", [201, 202, 203, 299])
async def test_only_200_may_be_a_reply(odd_sink: OddSink, status: int) -> None:
    reply = {"ce_specversion": "1.0", "ce_id": "1", "ce_source": "/a", "ce_type": "t"}
    odd_sink.play = saying(answer(f"{status} Fine", b"{}", **reply))
    async with forward(odd_sink.url) as handler:
        assert await handler(event()) is None
    odd_sink.play = saying(answer("200 Fine", b"{}", **reply))
    async with forward(odd_sink.url) as handler:
        assert (await handler(event())) is not None


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *[(status, TryLater) for status in (404, 408, 409, 429, 500, 502, 503, 504, 599)],
        *[(status, Rejected) for status in (101, 300, 301, 304, 307, 308, 400, 401, 403, 405)],
        *[(status, Rejected) for status in (406, 411, 413, 415, 418, 422, 431, 451, 499, 600, 999)],
        (410, PartFailed),
    ],
)
async def test_the_status_decides(odd_sink: OddSink, status: int, kind: type[EdgeError]) -> None:
    # 304 has no body
    odd_sink.play = saying(answer(f"{status} No", b"words" if status not in {101, 304} else b""))
    error = await refused(odd_sink, kind)
    assert error.status == status
    assert error.answer == (b"words" if status not in {101, 304} else b"")
    assert error.reason == ("gone" if status == 410 else f"status_{status}")
    assert str(status) in str(error)
    assert odd_sink.host in str(error)
    assert getattr(error, "after", 0.0) == 0.0


@pytest.mark.parametrize(
    ("headers", "body", "words"),
    [
        ({}, b"thanks", "no CloudEvent"),
        ({"content_type": "application/json"}, b'{"specversion": "1.0"}', "no CloudEvent"),
        ({"content_type": "application/cloudevents+json"}, b"{", "JSON"),
        ({"content_type": "application/cloudevents+json"}, b"", ""),
        ({"content_type": "application/cloudevents-batch+json"}, b"[]", "batch"),
        ({"content_type": "application/cloudevents+avro"}, b"x", "avro"),
        ({"ce_specversion": "1.0", "ce_id": "1", "ce_type": "t"}, b"", "source"),
        ({"ce_specversion": "9.0", "ce_id": "1", "ce_type": "t", "ce_source": "a"}, b"", "9.0"),
        ({"content_encoding": "gzip"}, b"\x1f\x8b", "compressed"),
    ],
)
async def test_200_with_something_else_is_tried_again(
    odd_sink: OddSink, headers: dict[str, str], body: bytes, words: str
) -> None:
    odd_sink.play = saying(answer("200 OK", body, **headers))
    error = await refused(odd_sink, TryLater)
    assert (error.reason, error.status, error.answer) == ("bad_reply", 200, body)
    assert words in str(error)


async def test_a_sink_of_dead_letters_is_asked_for_no_reply(odd_sink: OddSink) -> None:
    odd_sink.play = saying(answer("200 OK", b"thanks"))
    handler = HttpForward(config(odd_sink.url), replies=False)
    assert await handler(event()) is None
    await handler.close()
    assert b"prefer" not in odd_sink.seen[0].lower()


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_says_when(odd_sink: OddSink, status: int) -> None:
    odd_sink.play = saying(answer(f"{status} No", retry_after="120"))
    assert (await refused(odd_sink, TryLater)).after == 120
    later = format_datetime(datetime.fromtimestamp(time.time() + 60, UTC), usegmt=True)
    odd_sink.play = saying(answer(f"{status} No", retry_after=later))
    assert 50 < (await refused(odd_sink, TryLater)).after <= 60


async def test_retry_after_counts_with_429_and_503_only(odd_sink: OddSink) -> None:
    odd_sink.play = saying(answer("500 No", retry_after="120"))
    assert (await refused(odd_sink, TryLater)).after == 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        (" 7 ", 7),
        ("9" * 5000, LONGEST_WAIT),
        ("-1", 0),
        ("1.5", 0),
        ("٣", 0),
        ("", 0),
        ("soon", 0),
        ("Thu, 01 Jan 1970 00:16:41 GMT", 1),
        ("Thursday, 01-Jan-70 00:16:41 GMT", 1),
        ("Thu Jan  1 00:16:41 1970", 1),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_WAIT),
        ("Fri, 99 Dec 9999 23:59:59 GMT", 0),
    ],
)
def test_every_form_of_retry_after_is_read(text: str, seconds: float) -> None:
    assert seconds_of(text, 1000.0) == seconds


@given(st.text(max_size=40))
def test_no_retry_after_breaks_it(text: str) -> None:
    assert 0 <= seconds_of(text, 1000.0) <= LONGEST_WAIT


async def test_the_beginning_of_a_refusal_is_kept(odd_sink: OddSink) -> None:
    odd_sink.play = saying(answer("400 No", b"x" * 10_000_000))
    started = time.monotonic()
    error = await refused(odd_sink, Rejected)
    assert error.answer == b"x" * KEPT
    assert time.monotonic() - started < 2


# -- odd sinks


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
        async with asyncio.timeout(2):
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


# -- secrets, TLS, and what is refused before anything is sent


@pytest.mark.parametrize(("status", "kind"), [(400, Rejected), (500, TryLater), (200, TryLater)])
async def test_no_credential_comes_out_again(
    odd_sink: OddSink, caplog: pytest.LogCaptureFixture, status: int, kind: type[EdgeError]
) -> None:
    caplog.set_level(logging.DEBUG)
    uri = f"http://joe:s%2Fecret@{odd_sink.host}/sink?code=qwertz"

    async def echo(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(f"{status} So", odd_sink.seen[-1] + b"s/ecret qwertz"))

    odd_sink.play = echo
    async with forward(uri, headers={"x-key": "topsecret"}) as handler:
        with pytest.raises(kind) as caught:
            await handler(event())
    assert b"authorization: Basic am9lOnMvZWNyZXQ=" in odd_sink.seen[0]
    assert b"POST /sink?code=qwertz " in odd_sink.seen[0]
    assert b"joe" not in odd_sink.seen[0]
    shown = (
        f"{caught.value}{caught.value.answer!r}{handler.where}{caplog.text}{vars(handler)['where']}"
    )
    for secret in ("joe", "ecret", "am9l", "topsecret", "qwertz"):
        assert secret not in shown
    assert handler.where == f"http://{odd_sink.host}/sink?…"
    assert b"POST /sink" in caught.value.answer


async def test_no_credential_comes_out_where_nobody_answers() -> None:
    port = free_port()
    async with forward(f"http://joe:secret@127.0.0.1:{port}/") as handler:
        with pytest.raises(TryLater) as caught:
            await handler(event())
    shown = f"{caught.value} {caught.value.hint}"
    assert "joe" not in shown
    assert "secret" not in shown


async def test_no_proxy_or_netrc_of_the_environment_is_used(
    odd_sink: OddSink, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login joe password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    async with forward(odd_sink.url) as handler:
        assert await handler(event()) is None
    assert b"authorization" not in odd_sink.seen[0].lower()


async def test_a_cookie_is_not_kept(odd_sink: OddSink) -> None:
    odd_sink.play = saying(answer("202 Fine", set_cookie="a=b"))
    async with forward(odd_sink.url) as handler:
        await handler(event())
        await handler(event())
    assert b"cookie" not in odd_sink.seen[1].lower()


async def test_https_with_its_own_authority(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    sink = Sdk()
    await sink.start(tls)
    try:
        async with forward(sink.url, ca_file=str(certificate)) as handler:
            assert await handler(event()) is None
        assert sink.events[0].get_id() == "7"
        async with forward(sink.url) as handler:
            with pytest.raises(TryLater) as caught:
                await handler(event())
        assert (caught.value.reason, caught.value.status) == ("tls", 0)
        assert "ca_file" in caught.value.hint
        async with forward(
            sink.url.replace("127.0.0.1", "127.0.0.2"), ca_file=str(certificate)
        ) as handler:
            with pytest.raises(TryLater):
                await handler(event())
        async with forward(sink.url.replace("https", "http")) as handler:
            with pytest.raises(TryLater, match="no answer"):
                await handler(event())
    finally:
        await sink.stop()


async def test_an_event_that_cannot_be_written_is_rejected(odd_sink: OddSink) -> None:
    async with forward(odd_sink.url) as handler:
        with pytest.raises(Rejected, match="not allowed"):
            await handler(event(subject="a\r\nx: y"))
        with pytest.raises(TypeError, match="does not travel"):
            await handler(event(data=object()))
    assert odd_sink.seen == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"uri": ""}, "bad_uri"),
        ({"uri": "ftp://secret@a/"}, "bad_uri"),
        ({"uri": "http://"}, "bad_uri"),
        ({"uri": "http://a:secret/"}, "bad_uri"),
        ({"uri": "http://a:99999/"}, "bad_uri"),
        ({"uri": "http://joe:sec/ret@a/"}, "bad_uri"),
        ({"uri": "http://a/ secret"}, "bad_uri"),
        ({"uri": "http://a/\r\nsecret: x"}, "bad_uri"),
        ({"uri": "http://[secret/"}, "bad_uri"),
        ({"uri": "http://secret..a/"}, "bad_uri"),
        ({"uri": f"http://{'secret' * 20}/"}, "bad_uri"),
        ({"headers": {"ce-id": "secret"}}, "bad_header"),
        ({"headers": {"Content-Type": "secret"}}, "bad_header"),
        ({"headers": {"a b": "secret"}}, "bad_header"),
        ({"headers": {"a": "secret\r\nb: c"}}, "bad_header"),
        ({"headers": {"a": "secret", "A": "secret"}}, "bad_header"),
        ({"uri": "http://a:b@c/", "headers": {"Authorization": "secret"}}, "bad_header"),
        ({"extensions": {"Site": "x"}}, "bad_extension"),
        ({"extensions": {"id": "x"}}, "bad_extension"),
        ({"extensions": {"data": "x"}}, "bad_extension"),
        ({"extensions": {"site": "a\nb"}}, "bad_extension"),
        ({"uri": "https://a/", "ca_file": "/nowhere/ca.pem"}, "bad_ca_file"),
        ({"uri": "https://a/", "ca_file": __file__}, "bad_ca_file"),
    ],
)
def test_a_sink_that_cannot_be_is_refused_at_once(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(Fatal) as caught:
        HttpForward(config(**{"uri": "http://a/", **changes}))
    assert caught.value.reason == reason
    assert "secret" not in f"{caught.value}{caught.value.hint}"


# -- what a cluster says


def test_a_cluster_names_the_sink() -> None:
    overrides = json.dumps({"extensions": {"site": "north", "kind": "cctv"}})
    found = from_environment({"K_SINK": "http://broker/ns ", "K_CE_OVERRIDES": overrides})
    assert found == ForwardConfig(
        kind="forward",
        uri=Secret("http://broker/ns"),
        extensions={"site": "north", "kind": "cctv"},
    )
    assert from_environment({"K_CE_OVERRIDES": overrides}) is None
    assert from_environment({"K_SINK": ""}) is None


@pytest.mark.parametrize("text", ["", " ", "{}", '{"extensions": null}', '{"extensions": {}}'])
def test_a_cluster_may_override_nothing(text: str) -> None:
    found = from_environment({"K_SINK": "http://a/", "K_CE_OVERRIDES": text})
    assert found is not None
    assert found.extensions == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "expected a JSON object"),
        ("null", "expected a JSON object"),
        ('{"extensions": []}', "expected a JSON object"),
        ('{"extensions": {"a": 1}}', "extensions.a: expected text"),
        ('{"extensions": {"a": null}}', "extensions.a: expected text"),
    ],
)
def test_overrides_that_are_none_are_told(text: str, words: str) -> None:
    with pytest.raises(Fatal, match="K_CE_OVERRIDES") as caught:
        from_environment({"K_SINK": "http://a/", "K_CE_OVERRIDES": text})
    assert words in str(caught.value)
    assert '{"extensions":' in caught.value.hint
