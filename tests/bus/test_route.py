from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.bus.route import (
    LONGEST_PATTERN,
    LONGEST_TEXT,
    MOST_PATTERNS,
    MOST_RULES,
    BadRules,
    Route,
    faults_of,
)
from edge.config.handlers import RouteConfig
from edge.errors import Rejected
from edge.event import Event, WireEvent


def config(*rules: dict[str, Any]) -> RouteConfig:
    return RouteConfig.model_validate({"kind": "route", "rules": list(rules)})


def event(subject: str = "north/gate/1.jpg", **changes: Any) -> WireEvent:
    given = {"id": "7", "source": "/site/box", "type": "com.example.seen", "subject": subject}
    return Event(**{**given, "data": b"{}", **changes})


async def routed(subject: str, *rules: dict[str, Any], **changes: Any) -> WireEvent | None:
    return await Route(config(*rules))(event(subject, **changes))


async def test_the_first_rule_that_matches_sets_type_and_extensions() -> None:
    came = event(extensions={"keep": 1}, datacontenttype="application/json", time="2026-01-01")
    gone = await Route(
        config(
            {"subject": "^south/", "set_type": "com.example.south"},
            {
                "subject": r"^(?P<site>\w+)/(?P<camera>\w+)/",
                "set_type": "com.example.{site}",
                "set": {"camera": "{camera}-{site}", "plain": "{{x}}"},
            },
            {"set_type": "com.example.other"},
        )
    )(came)
    assert gone is not None
    assert gone.attributes() == came.attributes() | {
        "type": "com.example.north",
        "camera": "gate-north",
        "plain": "{x}",
    }
    assert gone.data == b"{}"


async def test_no_rule_matches_and_nothing_comes_of_it() -> None:
    assert await routed("north/1.jpg", {"subject": "^south/", "set_type": "x"}) is None


async def test_every_expression_of_a_rule_must_be_found() -> None:
    rule = {"subject": "gate", "type": r"\.seen$", "source": "^/site", "set_type": "x"}
    assert await routed("north/gate", rule) is not None
    assert await routed("north/gate", rule, type="com.seen.not") is None
    assert await routed("north/gate", rule, source="/other") is None
    assert await routed("north/door", rule) is None


async def test_a_rule_that_does_not_stop_hands_on_what_it_made() -> None:
    rules = (
        {"subject": "gate", "set_type": "first", "set": {"a": "1"}, "stop": False},
        {"type": "^com", "set": {"b": "unseen"}},
        {"type": "^(?P<was>first)$", "set_type": "second", "set": {"a": "{was}"}},
        {"set_type": "never"},
    )
    trial = await Route(config(*rules)).trial(event("gate"))
    assert trial.matched == (1, 3)
    assert (trial.event.type, dict(trial.event.extensions)) == ("second", {"a": "first"})


@pytest.mark.parametrize("key", ["gate.jpg", "-gate.jpg"])
async def test_a_rule_whose_type_names_a_group_without_text_does_not_match(key: str) -> None:
    needs = {"subject": r"((?P<site>\w*)-)?gate", "set_type": "com.{site}"}
    otherwise = {"set_type": "com.nowhere"}
    gone = await routed(key, needs, otherwise)
    assert gone is not None
    assert gone.type == "com.nowhere"


async def test_an_extension_whose_group_has_no_text_is_left_as_it_is() -> None:
    rule = {"subject": r"((?P<site>\w+)-)?gate", "set_type": "t", "set": {"site": "{site}"}}
    gone = await routed("gate", rule, extensions={"site": "before"})
    assert gone is not None
    assert dict(gone.extensions) == {"site": "before"}


async def test_an_event_that_comes_by_again_does_not_go_round() -> None:
    route = Route(config({"subject": "gate", "set": {"camera": "gate"}}))
    first = await route(event("gate"))
    assert first is not None
    assert await route(first) is None


async def test_keys_of_any_script_are_text() -> None:
    rule = {"subject": r"^(?P<größe>\pL+)/漢", "set_type": "t.{größe}"}
    gone = await routed("größer/漢字", rule)
    assert gone is not None
    assert gone.type == "t.größer"


FAULTS: list[tuple[dict[str, Any], str, int, str]] = [
    ({"subject": "(a"}, "subject", 1, "missing )"),
    ({"type": "a[z-a]"}, "type", 3, "z-a"),
    ({"source": "((a{100}){100}){100}"}, "source", 10, "{100}"),
    ({"subject": "(?=a)"}, "subject", 1, "no look-around"),
    ({"subject": r"(a)\1"}, "subject", 4, "no back-reference"),
    ({"subject": "(?P<x>a)|(?P<x>b)"}, "subject", 10, "twice"),
    ({"subject": "(?P<x>a)", "type": "(?<x>b)"}, "type", 1, "twice"),
    ({"subject": r"a\C"}, "subject", 2, "a piece of a character"),
    ({"subject": "a\ud800"}, "subject", 2, "UTF-8"),
    ({"subject": "a" * (LONGEST_PATTERN + 1)}, "subject", 0, str(LONGEST_PATTERN)),
    ({"subject": "(.{0,30}){30}"}, "subject", 0, "steps"),
    ({"subject": "(.{0,1000}){1}.{900}"}, "subject", 0, "too large"),
    ({"subject": "(?P<a>x)", "set_type": "t.{b}"}, "set_type", 3, "there are: a"),
    ({"set_type": "t.{b}"}, "set_type", 3, "(?P<name>…)"),
    ({"set_type": "t.{"}, "set_type", 3, "braces"),
    ({"set_type": "}"}, "set_type", 1, "braces"),
    ({"set_type": "a\nb"}, "set_type", 0, "U+000A"),
    ({"set_type": "a" * (LONGEST_PATTERN + 1)}, "set_type", 0, str(LONGEST_PATTERN)),
    ({"set": {"id": "x"}}, "set.id", 0, "expected an extension"),
    ({"set": {"data": "x"}}, "set.data", 0, "expected an extension"),
    ({"set": {"knativebrokerttl": "9"}}, "set.knativebrokerttl", 0, "expected an extension"),
    ({"set": {"Site": "x"}}, "set.Site", 0, "a-z"),
    ({"set": {"site": ""}}, "set.site", 0, "1 to"),
]


@pytest.mark.parametrize(("rule", "key", "position", "words"), FAULTS)
def test_a_bad_rule_is_told_with_its_place(
    rule: dict[str, Any], key: str, position: int, words: str
) -> None:
    faults = faults_of(config({"subject": "fine"}, rule))
    assert [(fault.rule, fault.key, fault.position) for fault in faults] == [(2, key, position)]
    assert words in faults[0].message
    assert faults[0].path == f"rules[1].{key}"
    with pytest.raises(BadRules, match=f"rule 2, {key}") as caught:
        Route(config({"subject": "fine"}, rule))
    assert caught.value.faults == tuple(faults)


def test_all_faults_are_told_at_once() -> None:
    faults = faults_of(config({"subject": "(", "set_type": "{x}"}, {"set": {"id": "a", "B": "b"}}))
    assert [fault.path for fault in faults] == [
        "rules[0].subject",
        "rules[0].set_type",
        "rules[1].set.id",
        "rules[1].set.B",
    ]


def test_groups_in_classes_and_quotes_are_no_groups() -> None:
    rule = {"subject": r"[(?P<a>]\Q(?P<a>\E\(?P<a>(?P<a>x)", "set_type": "{a}"}
    assert faults_of(config(rule)) == []


def test_more_rules_or_expressions_than_allowed_are_refused() -> None:
    many = faults_of(config(*[{"set_type": "x"}] * (MOST_RULES + 1)))
    assert [fault.path for fault in many] == ["rules"]
    assert f"at most {MOST_RULES} in one handler" in str(many[0])
    assert faults_of(config(*[{"subject": "x"}] * (MOST_PATTERNS + 1)))
    assert not faults_of(config(*[{"subject": "x"}] * MOST_PATTERNS))


async def test_what_no_rule_can_look_at_is_rejected() -> None:
    rule = {"subject": "x", "set_type": "t"}
    with pytest.raises(Rejected, match="1025 characters") as caught:
        await routed("x" * (LONGEST_TEXT + 1), rule)
    assert caught.value.reason == "too_long"
    with pytest.raises(Rejected, match="half a character at 2") as caught:
        await routed("x\ud800", rule)
    assert caught.value.reason == "bad_text"
    # a rule that does not look at it does not mind
    assert await routed("x" * 100_000, {"type": "seen", "set_type": "t"}) is not None


async def test_what_a_rule_makes_is_bounded() -> None:
    rule = {"subject": "(?P<a>.*)", "set_type": "{a}" * 300}
    with pytest.raises(Rejected, match="300000 characters"):
        await routed("x" * 1000, rule)


CATASTROPHES = [
    "(a+)+$",
    "(a|a)*b",
    "(a|aa)+$",
    "(.*)*(.*)*(x|y|z)*[a-f]{500}Q",
    "(?:a?){450}a{450}b",
    "([a-zA-Z]+)*!",
]


@pytest.mark.parametrize("pattern", CATASTROPHES)
async def test_no_expression_takes_long(pattern: str) -> None:
    route = Route(config({"subject": pattern, "set_type": "t"}))
    came = event("a" * (LONGEST_TEXT - 1) + "c")
    started = time.thread_time()
    for _ in range(3):
        await route(came)
    # a backtracking engine takes longer than the world is old
    assert time.thread_time() - started < 3 * 0.1


async def test_slow_rules_give_others_their_turn() -> None:
    slow = {"subject": "(?:a?){450}a{450}b", "set_type": "t"}
    route = Route(config(*[slow] * 50))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    other = asyncio.create_task(others())
    await route(event("a" * LONGEST_TEXT))
    other.cancel()
    assert turns >= 5


@settings(max_examples=300, deadline=None)
@given(
    pattern=st.text(alphabet=r"ab(){}[]\|*+?.^$<>P:=!,019C QEÿ漢", max_size=30),
    template=st.text(alphabet="ab{}<>!: \nÿ", max_size=12),
    subject=st.text(max_size=30),
)
def test_any_rule_is_refused_or_works(pattern: str, template: str, subject: str) -> None:
    rules = config({"subject": pattern, "set_type": template, "set": {"x": template or "y"}})
    if faults := faults_of(rules):
        with pytest.raises(BadRules) as caught:
            Route(rules)
        assert caught.value.faults == tuple(faults)
        assert all(0 <= fault.position <= len(fault.given) for fault in faults)
        return
    trial = asyncio.run(Route(rules).trial(event(subject)))
    assert trial.event.type
    assert trial.changed <= bool(trial.matched)
