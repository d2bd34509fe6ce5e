"""Why there is no link: told apart, with a hint, and never with a password."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import PartFailed
from edge.ops.mqtt_types import Login, MqttSettings, Tls, read_url
from tests.ops.mqtt_parts import running, settings_for, until
from tests.places import free_port
from tests.servers.certificates import Authority
from tests.servers.mosquitto import Mosquitto, idle_mosquitto, mosquitto

__all__ = ["idle_mosquitto", "mosquitto"]

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def secured(broker: Mosquitto, authority: Authority, name: str, **more: object) -> None:
    """Have the broker speak TLS with a certificate."""
    pair = authority.sign(name, **more)  # type: ignore[arg-type]
    broker.lines += [f"cafile {authority.ca}", f"certfile {pair.cert}", f"keyfile {pair.key}"]


async def met(settings: MqttSettings, login: Login | None = None) -> PartFailed:
    async with running(settings, login=lambda: login or Login()) as life:
        error = await life.fails()
        status = life.link.status()
        assert (status.code, status.reason) == (error.reason, str(error))
        assert status.hint
        assert settings.where in str(error)
        return error


@contextlib.asynccontextmanager
async def talking(talk: Talk) -> AsyncIterator[MqttSettings]:
    """Something that listens and is no broker."""
    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield MqttSettings(
            host="127.0.0.1",
            port=server.sockets[0].getsockname()[1],
            client_id="box",
            connect_timeout=1.0,
            first_wait=0.05,
        )


async def test_nobody_there() -> None:
    nobody = MqttSettings(host="127.0.0.1", port=free_port(), client_id="box")
    assert (await met(nobody)).reason == "refused"


async def test_a_name_that_is_not_known() -> None:
    nowhere = MqttSettings(host="broker.invalid", port=1883, client_id="box")
    assert (await met(nowhere)).reason == "dns"


async def test_a_listener_that_says_nothing() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()

    async with talking(talk) as settings:
        assert (await met(settings)).reason == "timeout"
        # in the middle of TLS, too
        error = await met(replace(settings, tls=Tls()))
        assert error.reason == "timeout"


async def test_a_web_server_is_no_broker() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        writer.close()

    async with talking(talk) as settings:
        assert (await met(settings)).reason in {"no_welcome", "protocol"}
        assert (await met(replace(settings, transport="websockets"))).reason == "no_websocket"
        assert (await met(replace(settings, tls=Tls()))).reason == "not_tls"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (0x86, "bad_login"),
        (0x87, "not_authorized"),
        (0x8A, "banned"),
        (0x97, "quota"),
        (0x9D, "moved"),
        (0xEE, "no_welcome"),
    ],
)
async def test_a_refusal_is_told_in_words(code: int, reason: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(bytes([0x20, 9, 0, code, 6, 31, 0, 3]) + b"why")
        writer.close()

    async with talking(talk) as settings:
        error = await met(replace(settings, version="5"))
        if reason != "no_welcome":
            assert (error.reason, error.status) == (reason, code)
            assert "why" in str(error)


async def test_the_brokers_goodbye_is_told_in_words() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"\x20\x03\x00\x00\x00" + b"\xe0\x02\x8e\x00")
        writer.close()

    async with talking(talk) as settings:
        error = await met(replace(settings, version="5"))
        assert error.reason == "taken_over"
        assert "client_id" in error.hint


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_a_wrong_password(idle_mosquitto: Mosquitto, version: str) -> None:
    idle_mosquitto.let_in(box="right")
    idle_mosquitto.start()
    settings = settings_for(idle_mosquitto, version=version)
    for login in (Login("box", "s3cret"), Login()):
        error = await met(settings, login)
        assert error.reason in {"not_authorized", "bad_login"}
        assert "s3cret" not in repr(error) + error.hint


async def works(settings: MqttSettings) -> None:
    async with running(settings) as life:
        life.link.subscribe("a", life.take)
        await life.up()
        # this mosquitto sends 4 KiB each 0.1 s through a WebSocket
        for size in (0, 10, 20_000):
            await life.link.deliver("a", bytes(size))
        await until(lambda: [len(one) for one in life.payloads] == [0, 10, 20_000])


async def test_tls_with_ones_own_authority_and_client_certificate(
    idle_mosquitto: Mosquitto, authority: Authority
) -> None:
    secured(idle_mosquitto, authority, "broker")
    idle_mosquitto.lines += ["require_certificate true", "use_identity_as_username true"]
    idle_mosquitto.start()
    box = authority.sign("box", "DNS:box")
    trusting = Tls(ca_file=str(authority.ca), server_name="localhost")
    known = replace(trusting, cert_file=str(box.cert), key_file=str(box.key))
    plain = settings_for(idle_mosquitto)
    await works(replace(plain, tls=known))
    error = await met(replace(plain, tls=trusting))
    assert (error.reason, "cert_file" in error.hint) == ("tls_client", True), error
    assert (await met(replace(plain, tls=Tls()))).reason == "tls_untrusted"
    wrong = replace(known, server_name="elsewhere.example")
    assert (await met(replace(plain, tls=wrong))).reason == "tls_wrong_host"
    bad = replace(known, cert_file=str(authority.ca.with_name("none.crt")))
    assert (await met(replace(plain, tls=bad))).reason == "bad_tls_file"
    error = await met(plain)
    assert error.reason == "no_welcome"
    assert "TLS" in error.hint


async def test_a_certificate_that_has_expired(
    idle_mosquitto: Mosquitto, authority: Authority
) -> None:
    secured(idle_mosquitto, authority, "old", days=-1)
    idle_mosquitto.start()
    tls = Tls(ca_file=str(authority.ca), server_name="localhost")
    error = await met(replace(settings_for(idle_mosquitto), tls=tls))
    assert error.reason == "tls_expired"
    assert "clock" in error.hint


async def test_tls_to_a_broker_that_speaks_none(mosquitto: Mosquitto) -> None:
    error = await met(replace(settings_for(mosquitto), tls=Tls()))
    assert error.reason in {"not_tls", "tls", "cut"}


async def test_web_sockets_with_and_without_tls(
    idle_mosquitto: Mosquitto, authority: Authority
) -> None:
    pair = authority.sign("web")
    ports = free_port(), free_port()
    idle_mosquitto.lines += [f"listener {ports[0]}", "protocol websockets"]
    idle_mosquitto.lines += [f"listener {ports[1]}", "protocol websockets"]
    idle_mosquitto.lines += [f"certfile {pair.cert}", f"keyfile {pair.key}"]
    idle_mosquitto.start()
    web = settings_for(idle_mosquitto, transport="websockets")
    await works(replace(web, port=ports[0]))
    tls = Tls(ca_file=str(authority.ca), server_name="localhost")
    await works(replace(web, port=ports[1], tls=tls))


async def test_a_proxy_lets_it_pass_or_says_why(mosquitto: Mosquitto) -> None:
    asked: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        if b"Basic bWU6cEB3" not in asked[-1]:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            writer.close()
            return
        theirs, ours = await asyncio.open_connection(mosquitto.host, mosquitto.port)
        writer.write(b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n")

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while piece := await source.read(4096):
                sink.write(piece)
            sink.close()

        await asyncio.gather(pump(reader, ours), pump(theirs, writer))

    async with talking(talk) as proxy:
        through = replace(
            settings_for(mosquitto),
            host="localhost",
            proxy=f"http://me:p%40w@127.0.0.1:{proxy.port}",
        )
        await works(through)
        assert asked[0].startswith(b"CONNECT localhost:%d HTTP/1.1\r\n" % mosquitto.port)
        error = await met(replace(through, proxy=f"http://127.0.0.1:{proxy.port}"))
        assert error.reason == "proxy"
        assert "407" in str(error)


@pytest.mark.parametrize(
    "url", ["", "h", "http://h", "mqtt://", "mqtt://h:0", "mqtt://h/x", "mqtt://u:hunter2@h:99999"]
)
def test_an_address_that_is_no_brokers_is_refused(url: str) -> None:
    with pytest.raises(PartFailed) as caught:
        read_url(url, client_id="box")
    assert caught.value.reason == "bad_broker"
    assert "hunter2" not in str(caught.value)


def test_an_address_is_read_whole() -> None:
    settings, login = read_url("wss://me:p%40w@[::1]/edge", client_id="box")
    assert (settings.host, settings.port, settings.path) == ("::1", 443, "/edge")
    assert (login.user, login.password) == ("me", "p@w")
    assert settings.tls
    assert settings.where == "wss://[::1]:443/edge"
    assert "p@w" not in repr((settings, login))


WELCOME = b"\x20\x03\x00\x00\x00"


@given(st.booleans(), st.lists(st.binary(max_size=40), max_size=6))
@settings(max_examples=60, deadline=None)
def test_whatever_a_broker_sends_the_link_lives_on(welcomed: bool, pieces: list[bytes]) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read(10)
            if welcomed:
                writer.write(WELCOME)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
        writer.close()

    async def main() -> None:
        wrong: list[object] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: wrong.append(context))
        async with talking(talk) as there, running(replace(there, version="5")) as life:
            life.link.subscribe("#", life.take)
            await life.fails()
            assert not life.task.done()
        assert not wrong

    asyncio.run(main())
