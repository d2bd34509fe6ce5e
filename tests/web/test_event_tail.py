"""The tail: what passes the bus, as server-sent events."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from edge.web import events, streams
from tests.web.conftest import Site
from tests.web.traffic_parts import wire_event


async def next_event(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            line = await answer.content.readline()
            if line.startswith(b"data: "):
                found: dict[str, Any] = json.loads(line[6:])
                return found


async def tail(site: Site, **query: str) -> aiohttp.ClientResponse:
    return await site.client.get(site.at("/v1/events"), params=query)


async def test_what_passes_is_shown_to_whoever_watches(site: Site) -> None:
    async with await tail(site) as answer:
        assert answer.content_type == "text/event-stream"
        pretty = wire_event("a", data=b'{\n  "a": 1.00,\r\n\n"b": "x"}')
        await site.box.intake.accept([pretty, wire_event("b", data=b"\x00", datacontenttype="a/b")])
        first = await next_event(answer)
        assert first["id"] == "a"
        assert first["data"] == {"a": 1.0, "b": "x"}
        assert first["time"] == "2026-05-04T09:30:00.123456789Z"
        assert (await next_event(answer))["data_base64"] == "AA=="


@pytest.mark.parametrize(
    "query",
    [
        {"type": "io.edge."},
        {"source": "/site/gate"},
        {"subject": "wanted/"},
        {"filters": '[{"exact": {"type": "io.edge.b"}}]'},
        {"type": "io.", "filters": '[{"suffix": {"subject": "1"}}, {"prefix": {"id": "w"}}]'},
    ],
)
async def test_a_watcher_sees_only_what_fits(site: Site, query: dict[str, str]) -> None:
    async with await tail(site, **query) as answer:
        assert answer.status == 200
        wanted = wire_event("w1", type="io.edge.b", source="/site/gate", subject="wanted/1")
        await site.box.intake.accept([wire_event("no", type="x", subject="x"), wanted])
        assert (await next_event(answer))["id"] == "w1"


@pytest.mark.parametrize(
    "query",
    [
        "filters=[",
        "filters=7",
        "filters=%7B%7D",
        'filters=[{"cesql":"("}]',
        "filter=[]",
        "type=a&type=b",
        "filters=" + "[" * 2000,
    ],
)
async def test_a_bad_filter_is_refused_before_the_stream_begins(site: Site, query: str) -> None:
    async with site.client.get(site.at(f"/v1/events?{query}")) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]["code"] in ("bad_filter", "bad_request")
    assert site.box.traffic.watchers == {}


async def test_a_quiet_stream_gives_signs_of_life(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "TICK", 0.02)
    monkeypatch.setattr(events, "SIGN_OF_LIFE", 2)
    async with await tail(site) as answer, asyncio.timeout(30):
        for line in (b": events\n", b"\n", b":\n", b"\n", b":\n"):
            assert await answer.content.readline() == line


async def until(what: Any) -> None:
    async with asyncio.timeout(30):
        while not what():  # noqa: ASYNC110 (it waits for what others do)
            await asyncio.sleep(0.02)


async def test_a_watcher_that_leaves_is_forgotten(site: Site) -> None:
    async with await tail(site):
        assert len(site.box.traffic.watchers) == 1
    await until(lambda: not site.box.traffic.watchers)
    async with await tail(site) as answer:
        site.box.traffic.stop_watchers()
        assert b"data" not in await answer.read()
    assert site.box.traffic.watchers == {}


async def test_a_watcher_that_does_not_read_is_let_go(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "PATIENCE", 0.2)
    host, port = site.url.removeprefix("http://").rstrip("/").split(":")
    _reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await until(lambda: site.box.traffic.watchers)
    for number in range(60):
        await site.box.intake.accept([wire_event(f"{number}", data=b'"' + b"x" * 500_000 + b'"')])
        await asyncio.sleep(0.01)
    await until(lambda: not site.box.traffic.watchers)
    writer.close()
    assert len(site.box.traffic.taken) == 60


async def test_there_are_so_many_seats(site: Site) -> None:
    held = [await tail(site) for _ in range(events.MOST_TAILS)]
    async with await tail(site) as answer:
        assert answer.status == 503
        assert (await answer.json())["error"]["code"] == "too_many_viewers"
    for one in held:
        one.close()


async def test_the_box_that_stops_ends_the_streams(site: Site) -> None:
    async with await tail(site) as answer:
        async with asyncio.timeout(30):
            await site.server.stop()
            await answer.read()
    assert site.box.traffic.watchers == {}
