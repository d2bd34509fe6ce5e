from __future__ import annotations

import socket

import pytest

from edge.config.web import WebConfig
from edge.errors import Fatal, PartFailed
from edge.web.server import WebServer
from tests.web.conftest import Open
from tests.web.parts import FakeBox


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "box.example", ""])
async def test_it_never_opens_to_the_network_without_a_token(host: str) -> None:
    with pytest.raises(Fatal, match="no token") as caught:
        await WebServer(WebConfig(host=host, port=0), FakeBox()).start()
    assert "token" in caught.value.hint


async def test_an_empty_token_is_no_token() -> None:
    with pytest.raises(Fatal, match="no token"):
        await WebServer(WebConfig(host="0.0.0.0", port=0, token=""), FakeBox()).start()


async def test_with_a_token_it_opens_and_goes_by_the_address_it_is_called_at(
    open_site: Open,
) -> None:
    site = await open_site(host="0.0.0.0", token="t0ken")
    port = site.url.rstrip("/").rpartition(":")[2]
    async with site.client.get(f"http://127.0.0.2:{port}/healthz") as answer:
        assert answer.status == 200
    async with site.client.get(
        f"http://127.0.0.2:{port}/healthz", headers={"Host": "rebound.example"}
    ) as answer:
        assert answer.status == 421


async def test_a_port_that_is_taken_is_a_part_that_failed_with_a_hint() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PartFailed, match="another program") as caught:
            await WebServer(WebConfig(port=port), FakeBox()).start()
    assert caught.value.reason == "address_in_use"
    assert "port" in caught.value.hint


async def test_an_address_that_this_machine_does_not_have_is_fatal() -> None:
    with pytest.raises(Fatal, match="cannot listen"):
        await WebServer(WebConfig(host="192.0.2.1", port=0, token="t"), FakeBox()).start()


async def test_stopping_twice_is_stopping_once() -> None:
    server = WebServer(WebConfig(port=0), FakeBox())
    port = int((await server.start()).rstrip("/").rpartition(":")[2])
    await server.stop()
    await server.stop()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5)


async def test_it_can_listen_on_ipv6(open_site: Open) -> None:
    site = await open_site(host="::1")
    async with site.client.get(site.at("/healthz")) as answer:
        assert answer.status == 200
