from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from edge.web import live, streams
from tests.web.conftest import Open, Site
from tests.web.parts import parcel, seeing


async def next_part(stream: aiohttp.StreamReader) -> bytes:
    """Read one part of a multipart stream."""
    length = 0
    async with asyncio.timeout(30):
        while (line := (await stream.readline()).strip()) or not length:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return await stream.readexactly(length)


async def other_than(seen: bytes, stream: aiohttp.StreamReader) -> bytes:
    """Read parts until one shows another picture: before a pause the last one comes twice."""
    while (shown := await next_part(stream)) == seen:
        pass
    return shown


async def until_viewers(site: Site, number: int) -> None:
    async with asyncio.timeout(30):
        while site.box.metrics.viewers._value.get() != number:  # noqa: ASYNC110 (a gauge)
            await asyncio.sleep(0.02)


async def test_a_preview_shows_each_redacted_picture_as_it_is_made(site: Site) -> None:
    first, second = parcel(1), parcel(2)
    await site.box.show(first)
    async with site.client.get(site.at("/live/gate.mjpg")) as answer:
        assert answer.headers["Content-Type"] == "multipart/x-mixed-replace; boundary=picture"
        assert await next_part(answer.content) == first.body
        await site.box.show(second)
        assert await other_than(first.body, answer.content) == second.body


async def test_the_last_picture_before_a_pause_is_sent_twice_so_that_browsers_draw_it(
    site: Site,
) -> None:
    await site.box.show(parcel(1))
    async with site.client.get(site.at("/live/gate.mjpg")) as answer:
        assert await next_part(answer.content) == await next_part(answer.content)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(answer.content.readexactly(100), 3 * live.PAUSE)


async def test_a_preview_skips_what_a_viewer_has_missed(site: Site) -> None:
    async with site.client.get(site.at("/live/gate.mjpg")) as answer:
        for number in range(30):
            await site.box.show(parcel(number, body=b"picture %d" % number))
        seen = [await next_part(answer.content)]
        while seen[-1] != b"picture 29":
            seen.append(await next_part(answer.content))
    assert len(set(seen)) <= 3


async def test_a_preview_does_not_show_more_pictures_a_second_than_it_may(site: Site) -> None:
    async with site.client.get(site.at("/live/gate.mjpg")) as answer:
        began, seen = asyncio.get_running_loop().time(), b""
        for number in range(4):
            await site.box.show(parcel(number, body=b"x%d" % number))
            seen = await other_than(seen, answer.content)
        assert asyncio.get_running_loop().time() - began >= 3 / live.MOST_FPS - 0.05


async def test_only_so_many_may_watch_and_a_place_is_free_again_at_once(open_site: Open) -> None:
    site = await open_site(max_viewers=1)
    await site.box.show(parcel(1))
    async with site.client.get(site.at("/live/gate.mjpg")) as answer:
        await next_part(answer.content)
        assert site.box.metrics.viewers._value.get() == 1
        async with site.client.get(site.at("/live/gate.mjpg")) as second:
            assert second.status == 503
            assert (await second.json())["error"]["code"] == "too_many_viewers"
            assert "Retry-After" in second.headers
        answer.close()
    await until_viewers(site, 0)
    async with site.client.get(site.at("/live/gate.mjpg")) as answer:
        assert answer.status == 200


async def test_no_preview_at_all_where_nobody_may_watch(open_site: Open) -> None:
    site = await open_site(max_viewers=0)
    async with site.client.get(site.at("/live/gate.mjpg")) as answer:
        assert answer.status == 503


async def test_a_viewer_that_does_not_read_is_let_go(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "PATIENCE", 0.3)
    port = int(site.url.rstrip("/").rpartition(":")[2])
    _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    writer.write(b"GET /live/gate.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await until_viewers(site, 1)
    number = 0
    async with asyncio.timeout(20):
        while site.box.metrics.viewers._value.get():
            number += 1
            await site.box.show(parcel(number, body=bytes(4 * 2**20)))
            await asyncio.sleep(0.05)
    writer.close()
    assert number > 1


async def test_the_latest_picture_says_when_it_was_taken(site: Site) -> None:
    shown = parcel(1)
    await site.box.show(shown)
    async with site.client.get(site.at("/live/gate/latest")) as answer:
        assert await answer.read() == shown.body
        assert answer.headers["X-Taken-At"] == shown.taken_at.isoformat(timespec="milliseconds")
        assert answer.headers["Cache-Control"] == "private, no-cache"
        tag = answer.headers["ETag"]
    async with site.client.get(
        site.at("/live/gate/latest"), headers={"If-None-Match": tag}
    ) as answer:
        assert answer.status == 304


async def test_a_source_without_a_picture_has_words_instead(site: Site) -> None:
    async with site.client.get(site.at("/live/gate/latest")) as answer:
        assert answer.status == 404
        assert (await answer.json())["error"]["code"] == "no_picture"


@pytest.mark.parametrize("path", ["/live/nobody.mjpg", "/live/nobody/latest", "/live/..%2f/latest"])
async def test_a_source_that_is_not_there_is_404(site: Site, path: str) -> None:
    async with site.client.get(site.at(path)) as answer:
        assert answer.status == 404


async def test_a_source_may_have_any_name(site: Site) -> None:
    name = "Tor 3/östlich <b>"
    site.box.facts["seeing"] = [seeing(name)]
    shown = parcel(1, name)
    await site.box.show(shown)
    async with site.client.get(site.at("/")) as answer:
        text = await answer.text()
    assert "<b>" not in text
    address = text.partition('data-still="')[2].partition('"')[0]
    async with site.client.get(f"{site.url.rstrip('/')}{address}") as answer:
        assert await answer.read() == shown.body


async def test_the_stream_tells_the_state_once_a_second(site: Site) -> None:
    states: list[dict[str, Any]] = []
    async with site.client.get(site.at("/v1/stream")) as answer:
        assert answer.content_type == "text/event-stream"
        async with asyncio.timeout(30):
            while len(states) < 2:
                line = await answer.content.readline()
                if line.startswith(b"data: "):
                    states.append(json.loads(line[6:]))
                    site.box.facts["safe"]["blurring"] = False
    assert [state["overall"]["state"] for state in states] == ["ok", "failed"]


async def test_the_stream_of_the_page_carries_its_own_markup(site: Site) -> None:
    async with site.client.get(site.at("/v1/stream?page")) as answer, asyncio.timeout(30):
        while not (line := await answer.content.readline()).startswith(b"data: "):
            pass
    assert "Is it safe?" in json.loads(line[6:])["main"]


async def test_a_stop_ends_every_stream(site: Site) -> None:
    async with (
        site.client.get(site.at("/v1/stream")) as states,
        site.client.get(site.at("/live/gate.mjpg")) as pictures,
    ):
        async with asyncio.timeout(30):
            await site.server.stop()
        assert states.status == pictures.status == 200
