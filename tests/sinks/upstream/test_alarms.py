"""Alarms come once and go once, whatever flickers, and across restarts."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import jsonschema
from hypothesis import given
from hypothesis import strategies as some

from edge.messages.published import ALARMS
from edge.sinks.upstream.alarms import CALM, Alarm, Alarms, Trouble

AT = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
SHUT = Trouble(alarm="store_shut", text="The store is shut.", after=5)
LOST = Trouble(alarm="source_lost", source="gate", text="gate is lost.")


def states(news: list[Alarm]) -> list[tuple[str, str]]:
    return [(one.alarm, one.state) for one in news]


def test_a_trouble_is_an_alarm_once_it_lasted() -> None:
    alarms = Alarms()
    assert alarms.see([SHUT], 0, AT) == []
    assert alarms.see([SHUT], 4.9, AT) == []
    assert states(alarms.see([SHUT], 5, AT)) == [("store_shut", "raised")]
    assert alarms.see([SHUT], 99, AT) == []


def test_one_that_ends_sooner_is_none() -> None:
    alarms = Alarms()
    for second in range(20):
        assert alarms.see([SHUT] if second % 4 else [], second, AT) == []


def test_what_flickers_is_one_alarm() -> None:
    alarms = Alarms()
    assert states(alarms.see([LOST], 0, AT)) == [("source_lost", "raised")]
    for second in range(1, 60):
        assert alarms.see([LOST] if second % 5 == 0 else [], second, AT) == []
    assert alarms.see([], 55 + CALM, AT) == []
    assert states(alarms.see([], 56 + CALM, AT)) == [("source_lost", "cleared")]


def test_an_alarm_that_ends_while_the_box_is_away_is_cleared_all_the_same() -> None:
    before = Alarms()
    (raised,) = before.see([LOST], 0, AT)
    after = Alarms(json.loads(json.dumps(before.kept())))
    assert after.see([LOST], 1000, AT) == []
    after.see([], 1001, AT)
    (cleared,) = after.see([], 1001 + CALM, AT)
    assert (cleared.state, cleared.since) == ("cleared", raised.since)
    assert after.kept() == []


@given(some.recursive(some.none() | some.text(), some.lists))
def test_what_was_kept_may_be_anything(kept: object) -> None:
    assert Alarms(kept).kept() == []


def test_the_message_is_as_its_schema_says() -> None:
    alarms, check = Alarms(), jsonschema.Draft202012Validator(ALARMS.schema())
    (raised,) = alarms.see([LOST], 0, AT)
    alarms.see([], 1, AT)
    (cleared,) = alarms.see([], 1 + CALM, AT)
    messages = [one.message("/site/box", "2026-05-04T09:30:00.000Z") for one in (raised, cleared)]
    assert [list(check.iter_errors(message)) for message in messages] == [[], []]
    assert messages[0]["source"] == "/site/box/gate"
    assert messages[0]["id"] != messages[1]["id"]
    assert messages[0]["data"]["since"] == messages[1]["data"]["since"]
