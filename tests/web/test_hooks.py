from __future__ import annotations

import asyncio
import base64
import gzip
import io
import logging
import socket
import time
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from edge.errors import TryLater
from edge.sources.buckets.hook import MALFORMED, S3Hook
from edge.sources.buckets.rule import BucketRule
from edge.web.hooks import MOST, MOST_PAUSES
from tests.places import need
from tests.sources.buckets.notifications import KEY, minio, records, webhook
from tests.web.conftest import Open, Site
from tests.web.parts import FakeBox

TOKEN = "s3cr+t/ é 'x"
PLAIN = "T0ken-of-gate"


def box_with(*tokens: str) -> FakeBox:
    box = FakeBox()
    box.hook = S3Hook(box.intake, {"frames": BucketRule()}.get, tokens=frozenset(tokens))
    return box


@pytest.fixture
async def open_hook(open_site: Open) -> Site:
    return await open_site(box_with(PLAIN, "other"))


async def post(site: Site, body: bytes | io.BytesIO = b"", query: str = "", **how: Any) -> int:
    body = body or webhook()
    async with site.client.post(site.at(f"/hooks/s3{query}"), data=body, **how) as answer:
        await answer.read()
        return answer.status


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


async def test_a_notification_is_on_disk_when_it_is_answered(open_hook: Site) -> None:
    began = time.perf_counter()
    assert await post(open_hook, query=f"?token={PLAIN}") == 204
    assert time.perf_counter() - began < 1.0
    assert [event.subject for event in open_hook.box.intake.taken] == [KEY]


@pytest.mark.parametrize(
    "shown",
    [
        f"Bearer {PLAIN}",
        f"bearer  {PLAIN}",
        PLAIN,
        f"Token {PLAIN}",
        basic("edge", PLAIN),
        basic("", PLAIN),
        "Bearer other",
    ],
)
async def test_a_token_is_taken_in_every_form_that_servers_send(
    open_hook: Site, shown: str
) -> None:
    assert await post(open_hook, headers={"Authorization": shown}) == 204


async def test_a_token_of_two_words_is_taken_as_it_is(open_site: Open) -> None:
    site = await open_site(box_with("Edge 123"))
    assert await post(site, headers={"Authorization": "Edge 123"}) == 204


async def test_a_token_in_the_address_may_have_any_character(open_site: Open) -> None:
    site = await open_site(box_with(TOKEN))
    url = site.at("/hooks/s3")
    async with site.client.post(url, params={"token": TOKEN}, data=webhook()) as answer:
        assert answer.status == 204


async def test_who_shows_no_token_is_turned_away_and_not_told_it(
    open_hook: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = [
        {},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic ???"},
        {"Authorization": basic(PLAIN, "wrong")},
        {"Authorization": f"Bearer {PLAIN[:-1]}"},
        {"Authorization": f"Bearer {PLAIN}x"},
    ]
    began = time.perf_counter()
    found = await asyncio.gather(*(post(open_hook, headers=one) for one in wrong))
    assert found == [401] * len(wrong)
    # a gateway that repeats at once is slowed down, and nobody waits for anybody else
    assert 1.0 <= time.perf_counter() - began < 5
    url = open_hook.at("/hooks/s3?token=WRONG-SECRET")
    async with open_hook.client.post(url, data=webhook()) as answer:
        text = await answer.text()
    assert answer.status == 401
    assert "?token=" in text
    assert PLAIN not in text
    assert "WRONG-SECRET" not in text + caplog.text
    assert open_hook.box.intake.taken == []


async def test_wrong_tokens_do_not_pile_up_nor_shut_out_the_right_one(open_hook: Site) -> None:
    async with aiohttp.TCPConnector(limit=0) as connector:
        many = aiohttp.ClientSession(connector=connector)
        began = time.perf_counter()
        url = open_hook.at("/hooks/s3?token=no")

        async def knock() -> tuple[int, float]:
            async with many.post(url, data=b"{}") as answer:
                return answer.status, time.perf_counter() - began

        knocks = [asyncio.ensure_future(knock()) for _ in range(MOST_PAUSES + 20)]
        await asyncio.sleep(0.5)
        assert await post(open_hook, query=f"?token={PLAIN}") == 204
        found = await asyncio.gather(*knocks)
        await many.close()
    assert {status for status, _ in found} == {401}
    assert sum(after < 1.0 for _, after in found) == 20


async def test_what_is_no_notification_is_accepted_and_kept(open_hook: Site) -> None:
    assert await post(open_hook, b"poison", query=f"?token={PLAIN}") == 204
    assert [event.type for event in open_hook.box.intake.taken] == [MALFORMED]


async def test_inability_is_said_slowly(open_hook: Site) -> None:
    open_hook.box.intake.refuses = TryLater("the journal is full", reason="journal_full")
    began = time.perf_counter()
    async with open_hook.client.post(
        open_hook.at(f"/hooks/s3?token={PLAIN}"), data=webhook()
    ) as answer:
        error = (await answer.json())["error"]
    assert (answer.status, error["code"]) == (503, "journal_full")
    assert 1.0 <= time.perf_counter() - began < 10
    open_hook.box.intake.refuses = None
    assert await post(open_hook, query=f"?token={PLAIN}") == 204


async def test_a_body_over_a_mebibyte_is_refused_before_it_is_read(open_hook: Site) -> None:
    assert await post(open_hook, io.BytesIO(b"x" * (MOST + 1)), query=f"?token={PLAIN}") == 413
    body = records(*(minio(f"{number}.jpg") for number in range(1000)))
    assert len(body) < MOST
    assert await post(open_hook, body, query=f"?token={PLAIN}") == 204
    assert len(open_hook.box.intake.taken) == 1000


async def test_a_body_may_be_packed_and_what_unpacks_to_much_is_refused(open_hook: Site) -> None:
    packed = {"Content-Encoding": "gzip", "Authorization": f"Bearer {PLAIN}"}
    assert await post(open_hook, gzip.compress(webhook()), headers=packed) == 204
    assert len(open_hook.box.intake.taken) == 1
    assert await post(open_hook, b"not packed", headers=packed) == 400
    assert await post(open_hook, gzip.compress(b" " * 50_000_000), headers=packed) == 413


async def test_without_a_token_this_machine_may_send_and_other_sites_may_not(
    open_site: Open,
) -> None:
    site = await open_site(box_with())
    assert await post(site) == 204
    assert await post(site, headers={"Origin": "https://evil.example"}) == 403
    assert await post(site, headers={"Host": "rebound.example"}) == 421


async def test_without_a_token_of_its_own_the_web_token_is_needed(open_site: Open) -> None:
    site = await open_site(box_with(), token="web-token")
    assert await post(site) == 401
    assert await post(site, headers={"Authorization": "Bearer web-token"}) == 204


async def test_with_a_token_the_box_may_be_called_by_any_name(open_hook: Site) -> None:
    name = {"Host": "edgebox.plant.example:8080"}
    assert await post(open_hook, query=f"?token={PLAIN}", headers=name) == 204


async def test_a_hook_token_opens_nothing_else(open_site: Open) -> None:
    site = await open_site(box_with(PLAIN), token="web-token")
    async with site.client.get(site.at(f"/v1/status?token={PLAIN}")) as answer:
        assert answer.status == 401


async def test_where_no_source_waits_it_says_so(site: Site) -> None:
    assert await post(site) == 404


async def test_other_methods_and_bare_connections_do_no_harm(open_hook: Site) -> None:
    at = urlsplit(open_hook.url)
    for _ in range(3):
        with socket.create_connection((at.hostname, at.port), timeout=5):
            pass
    url = open_hook.at("/hooks/s3")
    shown = {"Authorization": f"Bearer {PLAIN}"}
    async with open_hook.client.head(url, headers=shown) as answer:
        assert answer.status == 200
    async with open_hook.client.head(url) as answer:
        assert answer.status == 401
    async with open_hook.client.get(url, headers=shown) as answer:
        assert answer.status == 405


async def test_curl_sends_without_a_content_type(open_hook: Site) -> None:
    curl = await asyncio.create_subprocess_exec(
        need("curl", "curl"),
        *("-sS", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Content-Type:", "-H", "Expect:"),
        *("-u", f"edge:{PLAIN}", "--data-binary", "@-", open_hook.at("/hooks/s3")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await curl.communicate(webhook())
    assert told == b"204"
    assert len(open_hook.box.intake.taken) == 1


async def test_who_is_turned_away_is_counted_and_timed_apart(open_hook: Site) -> None:
    assert await post(open_hook, query=f"?token={PLAIN}") == 204
    assert await post(open_hook) == 401
    sample = open_hook.box.metrics.registry.get_sample_value
    assert sample("edge_hook_notifications_total", {"outcome": "refused"}) == 1
    assert (sample("edge_hook_answer_seconds_sum", {"answer": "taken"}) or 9) < 0.5
    assert (sample("edge_hook_answer_seconds_sum", {"answer": "refused"}) or 0) >= 1
