"""What a trigger is, and what is wrong with one that is none."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.bus.candidate import candidate_of_event
from edge.bus.cel import Cel
from edge.bus.filters import Filter
from edge.bus.hops import without_hops
from edge.bus.triggers import Plan, Trigger, compile_plan, link
from edge.config.bus import DeliveryConfig
from edge.errors import PartFailed, Rejected
from tests.bus.rig import Sink, event, trigger

BUS = DeliveryConfig()


def plan(name: str = "it", **spec: Any) -> Plan:
    return compile_plan(name, trigger("it", **spec), "api", BUS)


def linked(one: Plan, **handlers: Sink) -> Trigger:
    return link(one, handlers, lambda to, _, replies: Sink(where=to.uri))  # noqa: ARG005


def faults(name: str = "it", **spec: Any) -> str:
    with pytest.raises(Rejected) as caught:
        compile_plan(name, trigger(**spec), "api", BUS)
    assert caught.value.reason == "bad_trigger"
    return str(caught.value)


def test_every_fault_is_told_at_once_with_its_place() -> None:
    told = faults(
        "no/name",
        filters=[{"exact": {"TYPE": "x"}}, {"cesql": "a ="}, {"cel": "ce."}],
        filter={"nonsense": 1},
        subscribers=[{"ref": "a", "uri": "http://b"}, {"uri": "ftp://host"}, {"uri": "http://"}],
        delivery={"timeout": "PT0S", "deadLetterSink": {}},
    )
    for part in (
        "its name",
        "filters[0].exact.TYPE",
        "filters[1].cesql",
        "filters[2].cel",
        "filter: unknown dialect",
        "subscribers[0]: expected either ref or uri",
        "subscribers[1].uri",
        "subscribers[2].uri",
        "delivery.timeout",
        "delivery.deadLetterSink",
    ):
        assert part in told


@pytest.mark.parametrize("name", ["", "..", "a b", "it/dead", "x" * 65, "é"])
def test_a_name_is_short_and_plain(name: str) -> None:
    assert "its name" in faults(name, subscriber={"ref": "a"})


def test_there_is_one_subscriber_or_a_list_with_some_weight_and_none_twice() -> None:
    assert "neither" in faults()
    assert "both" in faults(subscriber={"ref": "a"}, subscribers=[{"ref": "b"}])
    assert "weight" in faults(subscribers=[{"ref": "a", "weight": 0}])
    assert "once" in faults(subscribers=[{"ref": "a"}, {"ref": "a"}])


def test_a_fault_shows_no_password() -> None:
    assert "secret" not in faults(subscriber={"uri": "ftp://me:secret@host/"})
    shown = compile_plan("it", trigger(subscriber={"uri": "http://me:secret@host/"}), "api", BUS)
    assert "secret" not in str(shown.shown)


def test_filters_come_before_filter_and_an_empty_list_is_none() -> None:
    old = {"attributes": {"type": "t.two"}}
    new = linked(plan(filters=[{"exact": {"type": "t.one"}}], filter=old))
    assert new.matches(candidate_of_event(event()))
    assert not linked(plan(filters=[], filter=old)).matches(candidate_of_event(event()))
    assert linked(plan()).matches(candidate_of_event(event()))


def test_order_is_kept_by_partition_key_else_subject_else_source() -> None:
    ordered, free = linked(plan(order="ordered")), linked(plan())
    given = event(subject="s", extensions={"partitionkey": 7})
    assert ordered.key(given) == "7"
    assert ordered.key(event(subject="s")) == "s"
    assert ordered.key(event(subject="s", extensions={"partitionkey": ""})) == "s"
    assert ordered.key(event()) == "/site/box/gate"
    assert free.key(given) == ""


def test_a_missing_handler_is_named() -> None:
    one = compile_plan(
        "it", trigger(subscribers=[{"ref": "here"}, {"ref": "there"}]), "config", BUS
    )
    assert linked(one, here=Sink()).blocked() == ("no_subscriber", "there is no handler there")
    assert linked(one, here=Sink(), there=Sink()).blocked() == ("", "")


def test_a_filter_that_was_switched_off_is_told_but_what_waits_goes_on() -> None:
    ticks = itertools.count()
    slow = Cel("ce.type == 't.one'", clock=lambda: next(ticks), worked=lambda: next(ticks))
    one = linked(replace(plan(), filter=Filter(slow.passes, [slow])), it=Sink())
    assert one.trouble() == ("", "")
    assert one.matches(candidate_of_event(event()))
    assert not one.matches(candidate_of_event(event()))
    reason, words = one.trouble()
    assert reason == "filter_off"
    assert "ce.type" in words
    assert one.blocked() == ("", "")


def test_a_handler_that_cannot_be_made_blocks_the_trigger_but_lets_events_wait() -> None:
    def fail(to: object, delivery: object, *, replies: bool) -> Sink:  # noqa: ARG001
        raise PartFailed("ca.pem is missing")

    one = link(compile_plan("it", trigger(subscriber={"uri": "https://h/"}), "api", BUS), {}, fail)
    assert one.blocked() == ("bad_trigger", "ca.pem is missing")
    assert one.matches(candidate_of_event(event()))
    assert one.handler(event()) is None


@pytest.mark.parametrize(
    ("said", "left"),
    [
        *[(None, 255), (7, 7), ("7", 7), (0, 0), (-3, 0), (999, 255), ("x", 255), ("--5", 255)],
        *[("9" * 50, 255), ("\u0663", 255), (True, 255)],
    ],
)
def test_hops_are_taken_off_and_bounded(said: object, left: int) -> None:
    extensions = {"other": 1} | ({} if said is None else {"knativebrokerttl": said})
    bare, hops = without_hops(event(extensions=extensions), 255)
    assert hops == left
    assert bare.extensions == {"other": 1}


@given(st.binary(max_size=200), st.text(max_size=30))
def test_data_is_never_too_odd_for_a_candidate(data: bytes, kind: str) -> None:
    candidate = candidate_of_event(event(data=data, datacontenttype=kind))
    candidate.data()
    assert candidate.attributes["id"] == "1"


def test_data_is_parsed_where_it_is_json_and_only_when_it_is_asked_for() -> None:
    for kind in ("application/json", "", "text/json; charset=utf-8", "application/a+json"):
        assert candidate_of_event(event(datacontenttype=kind)).data() == {"n": 1}
    assert candidate_of_event(event(datacontenttype="text/plain")).data() is None
    assert candidate_of_event(event(data=b"[" * 100_000)).data() is None
    assert candidate_of_event(event(data=None)).data() is None
