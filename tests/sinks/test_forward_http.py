from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
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

from edge.config.handlers import ForwardConfig
from edge.config.secret import Secret
from edge.errors import EdgeError, Fatal, Rejected, TryLater
from edge.sinks.forward_http import HttpForward, from_environment
from tests.places import free_port
from tests.servers.http_camera import make_certificate
from tests.servers.odd_sink import OddSink, answer, odd_sink, saying
from tests.sinks.forwarding import TRACE, config, event, forward

__all__ = ["odd_sink"]


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
