"""CEL filters: what they see, what is not let in, and how a slow one is switched off."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.bus.candidate import Candidate
from edge.bus.cel import BUDGET, MOST_STRIKES, BadExpression, Cel
from edge.bus.cel_admission import DEEPEST, FUNCTIONS, MOST_BYTES, admission
from edge.bus.cel_shown import MOST_NODES, MOST_TEXT

EVENT: dict[str, Any] = {
    "id": "42",
    "source": "/site/gate",
    "type": "io.edge.frame.taken.v1",
    "hop": 3,
    "flag": True,
    "time": "2026-11-01T00:00:00Z",
}
DATA: dict[str, Any] = {
    "objects": [{"label": "person", "score": 0.9}, {"label": "dog", "score": 0.4}],
    "map": 7,
    "list": list(range(150)),
}


def seen(event: dict[str, Any] = EVENT, data: object = DATA) -> Candidate:
    return Candidate(event, lambda: data)


@pytest.mark.parametrize(
    "text",
    [
        "ce.type.startsWith('io.edge') && ce.hop > 2",
        "ce['type'] == 'io.edge.frame.taken.v1'",
        "has(ce.hop) && !has(ce.missing)",
        "'hop' in ce && size(ce) == 6",
        "ce.flag",
        "ce.hop == 3 && ce.flag == true",
        "ce.type.matches('^io[.]edge[.][a-z.]+v[0-9]{1,3}$')",
        "timestamp(ce.time).getFullYear() == 2026",
        "data.objects.exists(o, o.label == 'person' && o.score > 0.5)",
        "data.objects.filter(o, o.score > 0.5).size() == 1",
        "data.objects.filter(o, o.score > 0.3).exists(o, o.label == 'dog')",
        "data.objects.all(o, o.score < data.map)",
        "data['objects'][0].label == 'person'",
        "data.map == 7",
        "['io.', 'com.'].exists(p, ce.type.startsWith(p))",
        "ce.source == '/site/gate' || ce.missing == 'x'",
        "!ce.type.contains('map(') // data.map(\n",
    ],
)
def test_an_expression_passes(text: str) -> None:
    candidate = seen()
    assert Cel(text).passes(candidate)
    assert candidate.fault is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("ce.hop > 5", None),
        ("ce.missing == 'x'", "missingAttribute"),
        ("data.missing.deeper == 1", "missingAttribute"),
        ("data.list[-1] == 1", "missingAttribute"),
        ("ce.hop", "cast"),
        ("ce.type", "cast"),
        ("ce.type > 5", "cast"),
        ("ce.hop / 0 == 1", "math"),
        ("9223372036854775807 + ce.hop > 0", "math"),
        ("int(ce.type) == 1", "functionEvaluation"),
    ],
)
def test_what_fails_or_is_no_boolean_does_not_pass(text: str, fault: str | None) -> None:
    candidate = seen()
    assert not Cel(text).passes(candidate)
    assert candidate.fault == fault


def test_data_that_are_no_json_are_null() -> None:
    assert Cel("data == null").passes(Candidate(EVENT))
    assert not Cel("data.a == 1").passes(Candidate(EVENT))


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("", "parse", "expecting"),
        ("1 +", "parse", "expecting"),
        ("ce.a ==", "parse", "expecting"),
        ("\ud800", "parse", "surrogates"),
        ("event.type == 'x'", "parse", "unknown variable event"),
        ("ce.type.match('x')", "parse", "unknown function match"),
        ("ce.type.matches('[')", "parse", "no pattern"),
        ("ce.type.matches('((a{1,100}){1,100}){1,100}')", "parse", "too large"),
        ("ce.type.matches(ce.source)", "limit", "one literal"),
        ("matches(ce.type, 'x')", "limit", "one literal"),
        ("data.list.all(x, ce.type.matches('x'))", "limit", "one literal"),
        (r"ce.type.matches('\\w{200}b')", "limit", "takes"),
        ("data.list.all(x, data.list.all(y, x > y))", "limit", "within a macro"),
        ("data.list . // here\n all(x, [1].exists(y, x > y))", "limit", "within a macro"),
        ("(data.list + data.list).all(x, x > 1)", "limit", "made up"),
        ("[data.list + data.list][0].all(x, x > 1)", "limit", "made up"),
        ("all(data.list, x, x > 1)", "limit", "made up"),
        ("data.list.map(x, x) == []", "limit", "copies too much"),
        ("data.`list`.size() > 0", "limit", "backtick"),
        ("'''a''' == ce.id", "limit", "three quotes"),
        ("+".join(["data.list"] * 30) + " == []", "limit", "sums"),
        ("&&".join(["data.list.all(x, x > 0)"] * 5), "limit", "macros"),
        ("(" * (DEEPEST + 1) + "true" + ")" * (DEEPEST + 1), "limit", "brackets"),
        ("'" + "a" * MOST_BYTES + "' == ce.id", "limit", "bytes"),
        ("'" + "é" * (MOST_BYTES // 2) + "' == ce.id", "limit", "bytes"),
    ],
)
def test_an_expression_is_not_let_in(text: str, kind: str, words: str) -> None:
    with pytest.raises(BadExpression, match=words) as refused:
        Cel(text)
    assert refused.value.kind == kind


@pytest.mark.parametrize(
    "call",
    [
        "bytes('a') == b'a'",
        "'a'.contains('a')",
        "double(1) == 1.0",
        "duration('1s') == duration('1000ms')",
        "dyn(1) == 1",
        "'a'.endsWith('a')",
        "int('1') == 1",
        "'a'.matches('a')",
        "size('a') == 1",
        "'a'.startsWith('a')",
        "string(1) == '1'",
        "uint(1) == 1u",
        *(
            f"timestamp('2026-11-01T00:00:00Z').{name}() >= 0"
            for name in sorted(FUNCTIONS)
            if name.startswith("get")
        ),
    ],
)
def test_every_function_that_is_let_in_is_there(call: str) -> None:
    assert Cel(call).passes(seen())


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("data.size() > 0", list(range(MOST_NODES + 1))),
        ("data.size() > 0", "a" * (MOST_TEXT + 1)),
        ("data.size() > 0", [{"a" * MOST_TEXT: "b"}]),
        ("data.filter(x, x > 0).size() > 0", list(range(500))),
        ("data.all(x, x in data)", list(range(500))),
        ("data.all(x, " + "&&".join(["x >= 0"] * 60) + ")", list(range(1000))),
    ],
    ids=["values", "text", "keys", "filter", "square", "long body"],
)
def test_more_data_than_it_can_look_at_in_its_time_are_not_shown(text: str, data: object) -> None:
    candidate = seen(data=data)
    assert not Cel(text).passes(candidate)
    assert candidate.fault == "limit"


def test_data_nested_too_deep_are_not_shown() -> None:
    data: object = 1
    for _ in range(200):
        data = [data]
    candidate = seen(data=data)
    assert not Cel("data.size() == 1").passes(candidate)
    assert candidate.fault == "limit"


def test_attributes_that_are_too_long_are_not_shown() -> None:
    candidate = seen({"a": "x" * (MOST_TEXT + 1), "b": "y"})
    assert not Cel("ce.a == 'x'").passes(candidate)
    assert candidate.fault == "limit"
    assert Cel("ce.b == 'y'").passes(candidate)


def test_data_are_read_only_when_asked_for_and_once_for_all_filters() -> None:
    reads = itertools.count()

    def data() -> object:
        next(reads)
        return DATA

    candidate = Candidate(EVENT, data)
    assert Cel("ce.hop == 3").passes(candidate)
    assert next(reads) == 0
    assert Cel("data.map == 7").passes(candidate)
    assert Cel("data.map < 8").passes(candidate)
    assert next(reads) == 2


def test_true_and_one_are_not_taken_for_each_other() -> None:
    expression = Cel("ce.flag == true")
    assert expression.passes(seen({"flag": True}))
    assert not expression.passes(seen({"flag": 1}))
    assert expression.passes(seen({"flag": True}))


@pytest.mark.parametrize("value", ["\ud800", object(), {1: 2}, float("nan"), 10**30, b"x"])
def test_odd_data_do_not_raise(value: object) -> None:
    assert not Cel("data == 'x'").passes(seen(data=value))
    assert not Cel("ce.a == 'z'").passes(seen({"a": value}))


def ticking(step: float) -> Callable[[], float]:
    clock = itertools.count()
    return lambda: next(clock) * step


def test_an_expression_that_is_slow_again_and_again_is_switched_off() -> None:
    slow = Cel("ce.hop == 3", clock=ticking(BUDGET * 2), worked=ticking(BUDGET * 2))
    for _ in range(MOST_STRIKES):
        assert slow.off == ""
        assert slow.passes(seen())
    assert "switched off" in slow.off
    candidate = seen()
    assert not slow.passes(candidate)
    assert candidate.fault == "limit"


def test_an_expression_that_is_very_slow_is_switched_off_at_once() -> None:
    slow = Cel("ce.hop == 3", clock=ticking(1), worked=ticking(1))
    slow.passes(seen())
    assert slow.off


def test_an_expression_that_others_held_up_stays_on() -> None:
    held = Cel("ce.hop == 3", clock=ticking(1), worked=ticking(BUDGET / 10))
    for _ in range(20):
        assert held.passes(seen())
    assert held.off == ""


WORDS = [
    "ce",
    "data",
    ".a",
    "('x')",
    "[0]",
    "==",
    "&&",
    "!",
    "-",
    "(",
    ")",
    "1",
    "'a'",
    ".all(x,",
    ".map(x,",
    ".matches(",
    "x",
    "null",
    "?",
    ":",
    "{",
    "}",
    "in",
    "'",
    "/",
]


@settings(max_examples=200, deadline=None)
@given(text=st.one_of(st.text(max_size=30), st.lists(st.sampled_from(WORDS)).map("".join)))
def test_any_text_is_let_in_or_refused_and_never_raises_later(text: str) -> None:
    expression = None
    with contextlib.suppress(BadExpression):
        expression = Cel(text)
    assert expression is None or expression.passes(seen()) in {True, False}


def test_the_text_tells_which_attributes_an_expression_looks_at() -> None:
    assert admission("ce.type == ce['source'] && has(ce.a)").attributes == frozenset(
        {"type", "source", "a"}
    )
    assert admission("data.ce == 1").attributes == frozenset()
    for text in ("'a' in ce", "ce[data.name]", "ce.size() > 1", "ce.all(k, k != '')", "ce == ce"):
        assert admission(text).attributes is None
