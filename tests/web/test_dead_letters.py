from __future__ import annotations

import json
from typing import Any

import pytest

from edge.errors import TryLater
from edge.traffic import LetterQuery
from edge.web import dead_letters
from tests.web.conftest import Open, Site
from tests.web.traffic_parts import letter, wire_event


@pytest.fixture
def full(site: Site) -> Site:
    """A box with a dozen dead letters."""
    site.box.traffic.kept = [
        letter(number, trigger="cloud" if number % 2 else "store", reason=f"r{number % 3}")
        for number in range(12)
    ]
    return site


async def get(site: Site, path: str) -> tuple[int, Any]:
    async with site.client.get(site.at(path)) as answer:
        return answer.status, await answer.json()


async def post(site: Site, verb: str, body: Any) -> tuple[int, Any]:
    async with site.client.post(site.at(f"/v1/dlq/{verb}"), json=body) as answer:
        return answer.status, await answer.json()


def ids(site: Site) -> list[str]:
    return [one.id for one in site.box.traffic.kept]


async def test_letters_are_listed_with_all_that_is_known(full: Site) -> None:
    status, found = await get(full, "/v1/dlq")
    assert (status, len(found["letters"]), found["next"]) == (200, 12, None)
    first = found["letters"][1]
    assert first["id"] == "event-1"
    assert first["trigger"] == "cloud"
    assert first["died_at"] == "2026-05-04T09:31:00.250+00:00"
    assert first["attributes"]["subject"] == "things/e-1"
    assert first["attempts"][0]["at"] == "2026-05-04T09:30:00.250+00:00"
    assert (first["code"], first["answer"], first["where"]) == (
        400,
        "bm8=",
        "https://sink.example/in",
    )
    assert "event" not in first


async def test_pages_follow_each_other_until_the_end(full: Site) -> None:
    seen: list[str] = []
    after: Any = ""
    pages = 0
    while after is not None:
        _, found = await get(full, f"/v1/dlq?limit=5&after={after}")
        seen += [one["id"] for one in found["letters"]]
        after, pages = found["next"], pages + 1
    assert seen == ids(full)
    assert pages == 3


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("trigger=store", [0, 2, 4, 6, 8, 10]),
        ("trigger=store&reason=r1", [4, 10]),
        ("ids=event-3&ids=event-5&ids=event-99", [3, 5]),
        ("subject=e-11", [11]),
        ("type=io.example.thing.v1&source=/site/box&limit=2", [0, 1]),
        ("since=2026-05-04T09:40:00Z", [10, 11]),
        ("since=2026-05-04T11:40:00%2B02:00&until=2026-05-04T11:40:01%2B02:00", [10]),
        ("since=2026-05-04T11:40:00+02:00", [10, 11]),
        ("type=x", []),
    ],
)
async def test_filters_must_all_match(full: Site, query: str, expected: list[int]) -> None:
    # a plus sign stays as it was typed
    async with full.client.get(full.at(f"/v1/dlq?{query}")) as answer:
        found = await answer.json()
    assert [one["id"] for one in found["letters"]] == [f"event-{number}" for number in expected]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("triger=x", "triger"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=many", "limit"),
        ("since=yesterday", "since"),
        ("since=2026-05-04T09:40:00", "since"),
        ("until=1e400", "until"),
        ("trigger=a&trigger=b", "trigger"),
    ],
)
async def test_a_wrong_parameter_is_named(full: Site, query: str, named: str) -> None:
    status, told = await get(full, f"/v1/dlq?{query}")
    assert (status, told["error"]["code"]) == (400, "bad_request")
    assert told["error"]["message"].startswith(named)


async def test_one_letter_is_shown_with_its_event_as_it_came(full: Site) -> None:
    event = wire_event("p", data=b'{"exact": 1.000000000000000000001}')
    full.box.traffic.kept.append(letter(77, event=event))
    async with full.client.get(full.at("/v1/dlq/event-77")) as answer:
        text = await answer.text()
    assert "1.000000000000000000001" in text
    shown = json.loads(text)["event"]
    assert shown["id"] == "p"
    assert shown["knativeerrordest"] == "https://sink.example/in"
    assert shown["knativeerrorcode"] == 400
    assert shown["knativeerrordata"] == "bm8="


async def test_nothing_is_said_of_an_answer_that_was_empty(full: Site) -> None:
    full.box.traffic.kept.append(letter(77, answer=""))
    _, shown = await get(full, "/v1/dlq/event-77")
    assert "knativeerrordata" not in shown["event"]


async def test_a_letter_that_is_not_there_is_not_found(full: Site) -> None:
    assert (await get(full, "/v1/dlq/event-99"))[0] == 404
    assert (await get(full, "/v1/dlq/a%2Fb"))[0] == 404


@pytest.mark.parametrize("verb", ["replay", "drop"])
async def test_letters_are_replayed_or_dropped_by_filters_and_ids(full: Site, verb: str) -> None:
    status, told = await post(full, verb, {"trigger": "store", "reason": "r1"})
    assert (status, told) == (200, {"verb": verb, "dry_run": False, "count": 2})
    assert len(ids(full)) == 10
    status, told = await post(full, verb, {"ids": ["event-3", "event-5", "event-99"]})
    assert told["count"] == 2
    assert full.box.traffic.replayed == (
        ["event-4", "event-10", "event-3", "event-5"] if verb == "replay" else []
    )
    status, told = await post(full, verb, {"all": True, "limit": 3})
    assert told["count"] == 3
    assert ids(full)[0] == "event-6"


async def test_a_dry_run_says_what_would_happen_and_does_nothing(
    full: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "MOST", 3)
    status, told = await post(full, "drop", {"all": True, "dry_run": True})
    assert status == 200
    assert told == {
        "verb": "drop",
        "dry_run": True,
        "count": 12,
        "bytes": 1200,
        "triggers": {"store": 6, "cloud": 6},
        "reasons": {"r0": 4, "r1": 4, "r2": 4},
    }
    _, told = await post(full, "replay", {"trigger": "cloud", "limit": 4, "dry_run": True})
    assert told["count"] == 4
    _, told = await post(full, "replay", {"trigger": "nobody", "dry_run": True})
    assert told["count"] == 0
    assert len(ids(full)) == 12


@pytest.mark.parametrize("body", [{}, {"limit": 5}, {"trigger": ""}, {"all": False}])
async def test_every_letter_is_meant_only_if_that_is_said(full: Site, body: Any) -> None:
    status, told = await post(full, "drop", body)
    assert (status, told["error"]["code"]) == (422, "needs_all")
    assert len(ids(full)) == 12


@pytest.mark.parametrize(
    "body",
    [
        {"ids": []},
        {"ids": [], "all": True},
        {"ids": "event-1"},
        {"triger": "cloud", "all": True},
        {"all": True, "dry-run": True},
        {"trigger": 7},
        {"trigger": None},
        {"all": "perhaps"},
        {"limit": 0, "all": True},
        {"limit": 1.5, "all": True},
        {"since": "2026", "all": True},
        {"since": "20260504", "all": True},
        {"until": 1777887000, "all": True},
    ],
)
@pytest.mark.parametrize("verb", ["replay", "drop"])
async def test_an_order_that_is_not_understood_does_nothing(
    full: Site, verb: str, body: Any
) -> None:
    status, told = await post(full, verb, body)
    assert (status, told["error"]["code"]) == (400, "bad_request")
    assert len(ids(full)) == 12


async def test_a_replay_without_room_is_told_to_come_back(full: Site) -> None:
    full.box.traffic.refuses = TryLater("full", reason="journal_full", after=9)
    async with full.client.post(full.at("/v1/dlq/replay"), json={"all": True}) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "9")
    assert len(ids(full)) == 12


async def test_with_a_token_or_from_another_site_nothing_is_done(open_site: Open) -> None:
    site = await open_site(token="t0ken")
    assert (await post(site, "drop", {"all": True}))[0] == 401
    assert (await get(site, "/v1/dlq"))[0] == 401
    site = await open_site()
    headers = {"Origin": "https://evil.example"}
    async with site.client.post(
        site.at("/v1/dlq/drop"), json={"all": True}, headers=headers
    ) as answer:
        assert answer.status == 403


async def test_the_fake_keeps_the_order_of_the_real_one(full: Site) -> None:
    found = await full.box.traffic.letters(LetterQuery(after="event-9"))
    assert [one.id for one in found] == ["event-10", "event-11"]
    assert all(one.event is None for one in found)
