"""Commands at the web side: what comes with them, and the local socket."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from pathlib import Path

import aiohttp
import pytest

from edge.web.commands import MOST_WAIT_S
from edge.web.local import LocalServer
from tests.web.conftest import Site
from tests.web.parts import FakeBox


@pytest.mark.parametrize(
    ("prefer", "wait"), [("wait=3", 3), ("respond-async, wait=0", 0), ("", 10), ("wait=9999", 60)]
)
async def test_id_and_patience_come_along(site: Site, prefer: str, wait: float) -> None:
    headers = {"Idempotency-Key": "k-1", "Prefer": prefer}
    where = site.at("/v1/commands/ping")
    async with site.client.post(where, json={}, headers=headers) as answer:
        assert answer.status == 200
    (sender,) = site.box.senders
    assert (sender.channel, sender.id, sender.who) == ("http", "k-1", "127.0.0.1")
    assert sender.wait == wait <= MOST_WAIT_S


async def test_what_goes_on_says_where_to_ask(site: Site) -> None:
    site.box.reply |= {"status": "accepted", "id": "a/b"}
    async with site.client.post(site.at("/v1/commands/model.pull"), json={}) as answer:
        assert (answer.status, answer.headers["Location"]) == (202, "/v1/commands/a%2Fb")
    async with site.client.get(site.at("/v1/commands/known")) as answer:
        assert answer.status == 202
    async with site.client.get(site.at("/v1/commands/nobody")) as answer:
        assert answer.status == 404


async def test_what_expired_is_gone(site: Site) -> None:
    site.box.reply |= {"status": "expired", "message": "it expired"}
    async with site.client.post(site.at("/v1/commands/ping"), json={}) as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (410, "expired")


@pytest.mark.parametrize("depth", [1, 12])
async def test_the_local_socket_is_its_owners_alone_however_long_its_path(
    tmp_path: Path, depth: int
) -> None:
    path = tmp_path.joinpath(*["a-long-directory"] * depth, "control.sock")
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as left, _at(path.parent):
        left.bind(path.name)  # what a kill -9 leaves behind
    box = FakeBox()
    server = LocalServer(path, box)
    await server.start()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with _at(path.parent):
        connector = aiohttp.UnixConnector(path.name)
        async with aiohttp.ClientSession(connector=connector) as client:
            async with client.post("http://box/v1/commands/ping", json={}) as answer:
                assert answer.status == 200
            async with client.get("http://box/v1/status") as answer:
                assert (answer.status, "error" in await answer.json()) == (404, True)
            async with client.post("http://box/v1/commands/ping", data=b"{") as answer:
                assert answer.status == 400
    assert [(one.channel, one.who) for one in box.senders] == [("local", f"uid {os.getuid()}")]
    await server.stop()
    await server.stop()
    assert not path.exists()


async def test_a_box_without_a_place_for_its_socket_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    server = LocalServer(tmp_path / "file" / "control.sock", FakeBox())
    await server.start()
    assert "edge ctl does not work" in caplog.text
    await asyncio.wait_for(server.stop(), 5)


class _at:  # noqa: N801 (used as a word)
    """Work in a directory, for paths that are too long."""

    def __init__(self, place: Path) -> None:
        self._place, self._before = place, Path.cwd()

    def __enter__(self) -> None:
        os.chdir(self._place)

    def __exit__(self, *_: object) -> None:
        os.chdir(self._before)
