"""What a broker tells of boxes, read as what strangers wrote."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cli import fleet_show
from edge.cli.fleet_boxes import Box, Fleet
from edge.cli.fleet_read import MOST_BYTES, moment, plain, read_object
from edge.cli.sim_messages import look_of

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
BASE = "edge/v1/north/gate"


def said(fleet: Fleet, part: str, base: str = BASE, **message: Any) -> None:
    fleet.put(f"{base}/{part}", json.dumps(message).encode())


def status(state: str, *, session: int = 1, ago: float = 10.0) -> dict[str, Any]:
    at = (NOW - timedelta(seconds=ago)).isoformat()
    return {"state": state, "session": session, "at": at}


def whole(**health: Any) -> Fleet:
    """A box that has said everything, ten seconds ago."""
    fleet, look = (
        Fleet("edge/v1"),
        look_of("north", "gate", ["c1", "c2"], made=9, waiting=3, uptime=5),
    )
    said(fleet, "status", **status("online"))
    said(fleet, "info", session=1, **look.info)
    at = {"session": 1, "at": NOW.isoformat()}
    said(fleet, "health", **{**look.health, **at, **health})
    for name, source in look.sources.items():
        said(fleet, f"source/{name}/status", **{**source.status, **at})
    return fleet


def only(fleet: Fleet) -> Box:
    (box,) = fleet.boxes(NOW)
    return box


def test_a_box_that_is_well_is_fine() -> None:
    box = only(whole(store={"up": True, "waiting": 7, "bytes": 1, "oldest": 61.5, "dead": 0}))
    assert (box.site, box.node, box.state, box.fine) == ("north", "gate", "online", True)
    assert (box.sources_up, box.sources, box.waiting, box.messages) == (2, 2, 7, 3)
    assert (box.oldest, box.model, box.health, box.reason) == (61.5, "simulated", "ok", "")
    assert fleet_show.row(box)[2:4] == ("online", "10 s")


def test_a_box_that_is_not_well_says_why_and_what_to_do() -> None:
    fleet = whole(state="degraded", reasons=[{"text": "c2 stalled", "hint": "look at c2"}])
    at = NOW.isoformat()
    said(fleet, "source/c2/status", session=1, at=at, name="c2", state="stalled", reason="silent")
    box = only(fleet)
    assert (box.state, box.fine, fleet_show.word(box)) == ("online", False, "degraded")
    assert (box.sources_up, box.sources) == (1, 2)
    assert (box.reason, box.hint) == ("c2 stalled; c2 stalled: silent", "look at c2")


@pytest.mark.parametrize(
    ("state", "ago", "expected"),
    [
        ("online", 10, "online"),
        ("online", 181, "stale"),
        ("offline", 10, "offline"),
        ("stopped", 10**6, "stopped"),
        ("dancing", 10, "unknown"),
    ],
)
def test_a_state_is_what_its_last_word_and_its_silence_say(
    state: str, ago: float, expected: str
) -> None:
    fleet = Fleet("edge/v1", every=60)
    said(fleet, "status", **status(state, ago=ago))
    said(fleet, "health", session=1, at=(NOW - timedelta(seconds=ago)).isoformat(), state="ok")
    box = only(fleet)
    assert box.state == expected
    assert box.fine == (expected == "online")
    assert bool(box.reason) == (expected != "online")


def test_the_health_of_an_earlier_connection_makes_nobody_stale() -> None:
    fleet = Fleet("edge/v1", every=60)
    said(fleet, "status", **status("online", session=5, ago=1))
    said(fleet, "health", session=4, at=(NOW - timedelta(hours=3)).isoformat(), state="ok")
    assert only(fleet).state == "online"


def test_of_a_box_that_is_gone_it_is_said_when_it_was_heard_last() -> None:
    fleet = Fleet("edge/v1")
    said(fleet, "status", **status("offline", ago=3600))
    said(fleet, "health", session=1, at=(NOW - timedelta(minutes=5)).isoformat(), state="ok")
    assert only(fleet).age == 300


def test_what_is_cleared_is_forgotten() -> None:
    fleet = whole()
    for part in ("status", "info", "health", "source/c1/status"):
        fleet.put(f"{BASE}/{part}", b"")
    assert only(fleet).state == "unknown"
    fleet.put(f"{BASE}/source/c2/status", b"")
    assert fleet.boxes(NOW) == []


def test_a_box_shows_its_own_name_only_where_its_topic_has_the_same() -> None:
    fleet = Fleet("edge/v1")
    said(fleet, "status", **status("online"))
    said(fleet, "info", site="south", node="gate")
    assert only(fleet).site == "north"


def test_a_message_that_nobody_can_read_is_said() -> None:
    fleet = whole()
    fleet.put(f"{BASE}/health", b"[" * 100_000)
    box = only(fleet)
    assert (box.fine, box.odd) == (False, ["health"])
    said(fleet, "health", session=1, at=NOW.isoformat(), state="ok")
    assert only(fleet).fine


def test_nothing_that_a_terminal_acts_on_is_shown() -> None:
    fleet = whole(state="failed", reasons=[{"text": "\x1b[2J\x9bgone\u202e \x00"}])
    box = only(fleet)
    assert box.reason == "[2Jgone"
    shown = fleet_show.line(box) + "".join(fleet_show.plain_table([box]))
    assert shown.isprintable()


@pytest.mark.parametrize(
    "topic",
    ["edge/v1/n", "edge/v1/north/_all/status", "edge/v2/n/g/status", "x", "edge/v1/n/g/cmd"],
)
def test_other_topics_are_none_of_a_box(topic: str) -> None:
    fleet = Fleet("edge/v1")
    assert not fleet.put(topic, b"{}")
    assert fleet.boxes(NOW) == []


def test_only_a_topic_that_was_not_there_is_a_new_one() -> None:
    fleet = Fleet("edge/v1")
    assert fleet.put(f"{BASE}/status", b"{}")
    assert not fleet.put(f"{BASE}/status", b'{"state": "online"}')


def test_too_many_sources_of_a_box_are_left_out_and_counted() -> None:
    fleet = Fleet("edge/v1")
    for number in range(1200):
        said(fleet, f"source/c{number}/status", state="streaming")
    assert (only(fleet).sources, fleet.ignored) == (1000, 200)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
MEMBERS = st.sampled_from(
    ["state", "session", "at", "site", "node", "version", "engine", "sources", "store", "upstream",
     "reasons", "pages", "name", "reason", "text"]
)  # fmt: skip


@given(
    st.dictionaries(MEMBERS, JSON),
    st.dictionaries(MEMBERS, JSON),
    st.dictionaries(MEMBERS, JSON),
    st.dictionaries(MEMBERS, JSON),
)
def test_whatever_a_box_says_it_is_shown_in_plain_words(
    one: dict[str, Any], two: dict[str, Any], three: dict[str, Any], four: dict[str, Any]
) -> None:
    fleet = Fleet("edge/v1")
    for part, message in zip(
        ("status", "info", "health", "source/c/status"), (one, two, three, four), strict=True
    ):
        said(fleet, part, **message)
    box = only(fleet)
    assert "".join(fleet_show.row(box)).isprintable()
    json.loads(fleet_show.line(box).encode())
    assert box.state in {"online", "offline", "stopped", "stale", "unknown"}


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_nothing(payload: bytes) -> None:
    assert read_object(payload) is None or payload.strip()[:1] == b"{"


@given(st.text())
def test_plain_text_is_one_line_that_can_be_printed(text: str) -> None:
    shown = plain(text)
    shown.encode()
    assert len(shown) <= 300
    assert shown.isprintable()


def test_what_is_too_long_is_not_read() -> None:
    assert read_object(b'{"a": "' + b"x" * MOST_BYTES + b'"}') is None
    assert moment("9999-12-31T23:59:59-23:00") is None
    assert moment("2026-11-20T12:00:00") is None
