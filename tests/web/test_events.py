from __future__ import annotations

import asyncio
import io
import json
import random
import threading
from typing import Any
from urllib.parse import quote

import pytest
from yarl import URL

from edge.cloudevents import http
from edge.errors import TryLater
from edge.traffic import Attempt, Passage, Trace
from edge.web import events
from tests.places import need
from tests.web.conftest import Open, Site
from tests.web.traffic_parts import AT, wire_event

STRUCTURED = {"Content-Type": "application/cloudevents+json"}
BATCH = {"Content-Type": "application/cloudevents-batch+json"}
BINARY = {
    "ce-specversion": "1.0",
    "ce-id": "7",
    "ce-source": "/somewhere",
    "ce-type": "t",
    "Content-Type": "text/plain",
}
EVENT = {"specversion": "1.0", "id": "7", "source": "/somewhere", "type": "t"}


async def post(site: Site, body: Any, headers: dict[str, str]) -> tuple[int, Any, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with site.client.post(site.at("/v1/events"), data=data, headers=headers) as answer:
        text = await answer.read()
        return answer.status, json.loads(text) if text else None, answer.headers


@pytest.mark.parametrize("mode", list(http.Mode))
async def test_an_event_is_taken_whole_and_answered_with_nothing(
    site: Site, mode: http.Mode
) -> None:
    event = wire_event("a/ü \U0001f600", subject="100 %", data=b'{"long": 1.000000000000000000001}')
    message = {
        http.Mode.BINARY: lambda: http.encode_binary(event),
        http.Mode.STRUCTURED: lambda: http.encode_structured(event),
        http.Mode.BATCH: lambda: http.encode_batch([event]),
    }[mode]()
    status, body, _ = await post(site, message.body, message.headers)
    assert (status, body) == (202, None)
    assert site.box.traffic.taken == [event]


async def test_a_batch_is_taken_in_its_order_and_may_be_empty(site: Site) -> None:
    batch = [EVENT | {"id": str(number)} for number in range(50)]
    assert (await post(site, batch, BATCH))[0] == 202
    assert [event.id for event in site.box.traffic.taken] == [str(n) for n in range(50)]
    assert (await post(site, [], BATCH))[0] == 202


async def test_what_is_large_is_read_beside_the_loop(site: Site) -> None:
    def readers() -> list[str]:
        return [one.name for one in threading.enumerate() if one.name.startswith("web-decode")]

    assert (await post(site, EVENT, STRUCTURED))[0] == 202
    assert readers() == []
    batch = [EVENT | {"id": f"l{number}", "data": "x" * 100} for number in range(1000)]
    assert (await post(site, batch, BATCH))[0] == 202
    assert (await post(site, [*batch, 7], BATCH))[0] == 400
    assert len(site.box.traffic.taken) == 1001
    assert len(readers()) == 1
    await site.server.stop()
    async with asyncio.timeout(30):
        while readers():  # noqa: ASYNC110 (a thread has no event)
            await asyncio.sleep(0.01)


async def test_the_same_event_twice_is_answered_as_the_first_time(site: Site) -> None:
    for _ in range(2):
        assert (await post(site, EVENT, STRUCTURED))[0] == 202
    assert len(site.box.traffic.taken) == 1


async def curl(site: Site, *arguments: str) -> tuple[int, str]:
    program = need("curl", "curl")
    write = ["-sS", "-m", "20", "-o", "-", "-w", "\n%{http_code}"]
    process = await asyncio.create_subprocess_exec(
        program, *write, *arguments, site.at("/v1/events"), stdout=asyncio.subprocess.PIPE
    )
    text = (await process.communicate())[0].decode()
    body, _, status = text.rpartition("\n")
    return int(status), body


async def test_curl_sends_in_every_mode(site: Site) -> None:
    structured = ["-H", "Content-Type: application/cloudevents+json"]
    batch = ["-H", "Content-Type: application/cloudevents-batch+json"]
    binary = [f"-H{name}: {value}" for name, value in (BINARY | {"ce-id": "8"}).items()]
    large = json.dumps(EVENT | {"id": "large", "data": "x" * 100_000})
    many = json.dumps([EVENT | {"id": "b1"}, EVENT | {"id": "b2"}])
    assert await curl(site, *structured, "-d", json.dumps(EVENT)) == (202, "")
    assert await curl(site, *structured, "-d", large) == (202, "")
    assert await curl(site, *batch, "-d", many) == (202, "")
    assert await curl(site, *binary, "-d", "hello") == (202, "")
    taken = site.box.traffic.taken
    assert [event.id for event in taken] == ["7", "large", "b1", "b2", "8"]
    assert taken[-1].data == b"hello"


async def test_curl_that_forgets_the_content_type_is_told(site: Site) -> None:
    status, body = await curl(site, "-d", json.dumps(EVENT))
    assert status == 400
    assert "application/cloudevents+json" in json.loads(body)["error"]["hint"]


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"", STRUCTURED, 400, "malformed"),
        (b"{", STRUCTURED, 400, "malformed"),
        (b"\xff", STRUCTURED, 400, "malformed"),
        (b"[" * 200_000, STRUCTURED, 400, "malformed"),
        (b'{"a":' * 200_000, STRUCTURED, 400, "malformed"),
        ([EVENT], STRUCTURED, 400, "malformed"),
        (EVENT, BATCH, 400, "malformed"),
        ([EVENT, {**EVENT, "id": ""}], BATCH, 400, "malformed"),
        ({**EVENT, "specversion": "9.9"}, STRUCTURED, 400, "unsupported_version"),
        ({**EVENT, "BAD": "x"}, STRUCTURED, 400, "malformed"),
        (b"x", {**BINARY, "ce-time": "yesterday"}, 400, "malformed"),
        (b"x", {**BINARY, "ce-subject": "%ff"}, 400, "malformed"),
        (b"x", {"Content-Type": "text/plain"}, 400, "malformed"),
        (EVENT, {"Content-Type": "application/cloudevents+avro"}, 415, "unsupported_media_type"),
    ],
)
async def test_what_is_no_event_is_refused_with_the_reason_and_nothing_is_taken(
    site: Site, body: Any, headers: dict[str, str], status: int, code: str
) -> None:
    answered, told, _ = await post(site, body, headers)
    assert (answered, told["error"]["code"]) == (status, code)
    assert told["error"]["message"]
    assert site.box.traffic.taken == []


async def test_whatever_comes_is_answered_and_never_a_fault_of_ours(site: Site) -> None:
    chance = random.Random(3)
    good = json.dumps(EVENT | {"data": {"a": [1, None, "é"]}, "hop": 3}).encode()
    for _ in range(300):
        body = bytearray(good)
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(body))
            body[at : at + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
        headers = chance.choice((STRUCTURED, BATCH, BINARY))
        assert (await post(site, bytes(body), headers))[0] in (202, 400, 415)


async def test_an_event_that_is_too_large_is_refused_before_it_is_read(open_site: Open) -> None:
    site = await open_site(max_event=1000)
    status, body, _ = await post(site, EVENT | {"data": "x" * 1000}, STRUCTURED)
    assert (status, body["error"]["code"]) == (413, "too_large")
    assert "max_event" in body["error"]["hint"]
    host, port = site.url.removeprefix("http://").rstrip("/").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000\r\n"
        b"Content-Type: application/cloudevents+json\r\nExpect: 100-continue\r\n\r\n"
    )
    assert (await reader.readline()).startswith(b"HTTP/1.1 413")
    writer.close()


async def test_a_body_without_a_length_is_bounded_too(open_site: Open) -> None:
    site = await open_site(max_event=1000)

    async def body() -> Any:
        for _ in range(10):
            yield b"x" * 500

    async with site.client.post(site.at("/v1/events"), data=body(), headers=STRUCTURED) as answer:
        assert answer.status == 413


async def test_a_packed_body_cannot_grow_past_the_limit(open_site: Open) -> None:
    import gzip

    site = await open_site(max_event=100_000)
    bomb = gzip.compress(json.dumps(EVENT | {"data": "x" * 10_000_000}).encode())
    status, _, _ = await post(site, bomb, {**STRUCTURED, "Content-Encoding": "gzip"})
    assert status == 413
    packed = gzip.compress(json.dumps(EVENT).encode())
    assert (await post(site, packed, {**STRUCTURED, "Content-Encoding": "gzip"}))[0] == 202


async def test_a_batch_may_be_larger_than_an_event_but_not_its_events(open_site: Open) -> None:
    site = await open_site(max_event=1000)
    small = [EVENT | {"id": str(n), "data": "x" * 500} for n in range(10)]
    assert (await post(site, small, BATCH))[0] == 202
    site.box.traffic.max_event = 1000
    mixed = [EVENT | {"id": "a"}, EVENT | {"id": "b", "data": "x" * 1000}]
    status, body, _ = await post(site, mixed, BATCH)
    assert status == 413
    assert "event b" in body["error"]["message"]
    assert len(site.box.traffic.taken) == 10
    large = io.BytesIO(b" " * (events.MOST_BATCH + 1))
    async with site.client.post(site.at("/v1/events"), data=large, headers=BATCH) as answer:
        assert answer.status == 413


@pytest.mark.parametrize(
    ("reason", "after", "status", "wait"),
    [
        ("journal_full", 2.5, 429, "3"),
        ("disk_full", 30.0, 503, "30"),
        ("stopping", 0.0, 503, "1"),
    ],
)
async def test_a_full_journal_says_when_to_come_back(
    site: Site, reason: str, after: float, status: int, wait: str
) -> None:
    site.box.traffic.refuses = TryLater("not now", reason=reason, after=after)
    answered, body, headers = await post(site, EVENT, STRUCTURED)
    assert (answered, body["error"]["code"], headers["Retry-After"]) == (status, reason, wait)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD"])
async def test_other_methods_are_not_allowed(site: Site, method: str) -> None:
    async with site.client.request(method, site.at("/v1/events")) as answer:
        assert answer.status == 405
        assert set(answer.headers["Allow"].split(",")) == {"GET", "OPTIONS", "POST"}


@pytest.mark.parametrize("path", ["/v1/event", "/v2/events", "/v1/events/"])
async def test_events_are_taken_at_one_address_only(site: Site, path: str) -> None:
    async with site.client.post(site.at(path), json=EVENT, headers=STRUCTURED) as answer:
        assert answer.status == 404


async def test_a_webhook_may_ask_whether_it_may_send(site: Site) -> None:
    asks = {"WebHook-Request-Origin": "events.example", "WebHook-Request-Rate": "120"}
    async with site.client.options(site.at("/v1/events"), headers=asks) as answer:
        assert answer.status == 200
        assert answer.headers["WebHook-Allowed-Origin"] == "events.example"
        assert answer.headers["WebHook-Allowed-Rate"] == "120"
        assert "POST" in answer.headers["Allow"]
    async with site.client.options(site.at("/v1/events")) as answer:
        assert answer.status == 200
        assert "WebHook-Allowed-Origin" not in answer.headers
    bad = {"WebHook-Request-Origin": "events.example", "WebHook-Request-Rate": "-1"}
    async with site.client.options(site.at("/v1/events"), headers=bad) as answer:
        assert answer.status == 400


async def test_with_a_token_nothing_of_it_is_open(open_site: Open) -> None:
    site = await open_site(token="t0ken")
    for method in ("POST", "GET", "OPTIONS"):
        async with site.client.request(method, site.at("/v1/events")) as answer:
            assert answer.status == 401
    async with site.client.get(site.at("/v1/events/7")) as answer:
        assert answer.status == 401
    assert (await post(site, EVENT, {**STRUCTURED, "Authorization": "Bearer t0ken"}))[0] == 202


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}]
)
async def test_a_page_of_another_site_cannot_post_events(
    site: Site, headers: dict[str, str]
) -> None:
    assert (await post(site, EVENT, {**STRUCTURED, **headers}))[0] == 403
    assert site.box.traffic.taken == []


@pytest.mark.parametrize(
    "event_id", ["7", "a/b", "/a//b/", "100%", "%2F", "a b+c?d#e&f", "..", "ü€\U0001f600", "a%2Fb"]
)
async def test_the_way_of_an_event_is_found_whatever_its_id(site: Site, event_id: str) -> None:
    await site.box.intake.accept([wire_event(event_id), wire_event(event_id, source="/other")])
    path = "/v1/events/" + quote(event_id, safe="").replace("..", "%2E%2E")
    async with site.client.get(URL(site.at(path), encoded=True)) as answer:
        assert answer.status == 200
        traces = (await answer.json())["traces"]
    assert [trace["attributes"]["id"] for trace in traces] == [event_id, event_id]
    assert traces[0]["accepted_at"] == "2026-05-04T09:30:00.250+00:00"
    assert traces[0]["passages"][0]["due"] == "2026-05-04T09:30:05.250+00:00"
    assert traces[0]["ended_at"] is None


async def test_an_event_that_never_came_is_not_found(site: Site) -> None:
    async with site.client.get(site.at("/v1/events/nothing")) as answer:
        assert answer.status == 404
        assert (await answer.json())["error"]["code"] == "not_found"


async def test_a_way_of_255_replies_is_told_to_its_end(site: Site) -> None:
    attempt = Attempt(at=AT, seconds=0.25, subscriber="route")
    trace = Trace(attributes={"id": "end"}, accepted_at=AT, ended_at=AT, outcome="unwanted")
    for number in range(255):
        passage = Passage(trigger="t", state="done", attempts=[attempt], replies=["x"], ended_at=AT)
        trace = Trace(
            attributes={"id": str(number)},
            accepted_at=AT,
            ended_at=AT,
            outcome="done",
            passages=[passage],
            replies=[trace],
        )
    site.box.traffic.ways["254"] = [trace]
    async with site.client.get(site.at("/v1/events/254")) as answer:
        assert answer.status == 200
        found = (await answer.json())["traces"][0]
    depth = 0
    while found["replies"]:
        found, depth = found["replies"][0], depth + 1
    assert depth == 255
    assert found["outcome"] == "unwanted"
