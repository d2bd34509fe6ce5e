"""Reading triggers and handlers: what no single key can know."""

from __future__ import annotations

import pytest

from edge.app.checks import faults as of_the_bus
from edge.config.load import ConfigError, examine, loads
from tests.config.test_load import STORE, faults
from tests.places import ROOT

SOUND = """
[handlers.cloud]
kind = "forward"
uri = "https://u:${secret:cloud}@broker.example/default"
headers = {authorization = "${secret:cloud}"}
[handlers.rewrite]
kind = "route"
rules = [{subject = "(?P<site>[a-z]+)/", set_type = "seen.{site}"}]
[triggers.tell]
filters = [{prefix = {type = "io.edge."}}, {cel = "ce.source != ''"}]
subscribers = [{ref = "cloud", weight = 3}, {uri = "http://other:8080/"}]
delivery = {retry = 3, backoffDelay = "PT1S", deadLetterSink = {ref = "log"}}
"""


def all_faults(text: str) -> dict[str, str]:
    """Return the faults, those that only the bus can tell included."""
    with pytest.raises(ConfigError) as caught:
        loads(text + STORE, "edge.toml", environ={"HOME": "/"}, also=of_the_bus)
    return {fault.path: str(fault).removeprefix(fault.path) for fault in caught.value.faults}


def test_a_sound_bus_is_read_and_its_secrets_are_stars() -> None:
    config = loads(
        SOUND + STORE, "edge.toml", environ={"EDGE_SECRET_CLOUD": "p@ss"}, also=of_the_bus
    )
    assert config.triggers["tell"].subscribers[0].weight == 3
    cloud = config.handlers["cloud"]
    assert cloud.kind == "forward"
    assert cloud.uri.reveal() == "https://u:p%40ss@broker.example/default"
    assert "p%40ss" not in repr(config)
    assert "p@ss" not in config.model_dump_json()


@pytest.mark.parametrize(
    ("trigger", "path", "said"),
    [
        ("", "subscriber", "missing; expected"),
        ("subscribers = []", "subscriber", "missing; expected"),
        (
            'subscriber.ref = "log"\nsubscribers = [{ref = "redact"}]',
            "subscribers",
            "there are both",
        ),
        ("subscriber = {}", "subscriber", "there is neither"),
        ("subscriber.weight = 2", "subscriber", "there is neither"),
        ('subscriber = {ref = "log", uri = "http://h/"}', "subscriber", "there are both"),
        ('subscriber.ref = "clowd"', "subscriber.ref", "no such handler; expected one of k_sink"),
        ('subscriber.uri = "ftp://h/"', "subscriber.uri", "expected http://host"),
        ('subscriber.uri = "http://h:x/"', "subscriber.uri", "expected http://host"),
        (
            'subscribers = [{ref = "log", weight = 0}, {ref = "redact", weight = 0}]',
            "subscribers",
            "weights are 0",
        ),
        ('subscribers = [{ref = "log"}, {ref = "log"}]', "subscribers[1]", "once"),
        ('subscriber.ref = "log"\ndelivery.timeout = "PT0S"', "delivery.timeout", "more than PT0S"),
        (
            'subscriber.ref = "log"\ndelivery.deadLetterSink.ref = "x"',
            "delivery.deadLetterSink.ref",
            "no such handler",
        ),
        (
            'subscriber.ref = "log"\nfilters = [{exact = {Type = "x"}}]',
            "filters[0].exact.Type",
            "",
        ),
        ('subscriber.ref = "log"\nfilters = [{cesql = "type ="}]', "filters[0].cesql", ""),
        ('subscriber.ref = "log"\ndelivery.backoffDelay = "1s"', "delivery.backoffDelay", "PT0.2S"),
        ('subscriber.ref = "log"\nsubscribrs = []', "subscribrs", "did you mean subscribers?"),
        (
            'subscribers = [{ref = "log", wieght = 1}]',
            "subscribers[0].wieght",
            "did you mean weight?",
        ),
        (
            'subscriber.ref = "log"\ndelivery.backofDelay = "PT1S"',
            "delivery.backofDelay",
            "did you mean backoffDelay?",
        ),
    ],
)
def test_a_trigger_that_cannot_work_is_told_what_is_wrong(
    trigger: str, path: str, said: str
) -> None:
    found = all_faults(f"[triggers.t]\n{trigger}\n")
    assert list(found) == [f"triggers.t.{path}"]
    assert said in found[f"triggers.t.{path}"]


def test_all_faults_of_the_bus_come_at_once() -> None:
    found = all_faults(
        """
        [bus]
        delivery = {deadLetterSink = {}}
        hops = 256
        [triggers."a b"]
        subscriber.ref = "log"
        [triggers.t]
        filters = [{sufix = {type = "x"}}, {exact = {type = ""}}]
        [handlers."x/y"]
        kind = "log"
        [handlers.f]
        kind = "forward"
        uri = "broker:pa ss@host"
        [handlers.g]
        kind = "forwrd"
        [handlers.r]
        kind = "route"
        rules = [{subject = "(", set_typ = "x"}]
        [handlers.s]
        kind = "route"
        rules = [{subject = "("}]
        """
    )
    assert {
        "bus.hops",
        "bus.delivery.deadLetterSink",
        'triggers."a b"',
        "triggers.t.subscriber",
        "triggers.t.filters[0]",
        "triggers.t.filters[1].exact.type",
        'handlers."x/y"',
        "handlers.f.uri",
        "handlers.g.kind",
        "handlers.r.rules[0].set_typ",
        "handlers.s.rules[0].subject",
    } <= set(found)
    assert "pa ss" not in str(found)
    assert '"route", "forward", "log"' in found["handlers.g.kind"]


def test_a_secret_is_refused_where_its_kind_shows_the_key() -> None:
    found = all_faults(
        '[handlers.v]\nkind = "annotate"\nuri = "https://h/?key=${secret:k}"\n'
        '[handlers.w]\nkind = "annotate"\nuri = "https://h/"\napi_key = "${secret:nowhere}"\n'
    )
    assert "expected no secret here" in found["handlers.v.uri"]
    assert "nowhere" in found["handlers.w.api_key"]


def test_secrets_of_handlers_in_plain_text_are_doubtful(tmp_path: object) -> None:
    from pathlib import Path

    file = Path(str(tmp_path)) / "edge.toml"
    file.write_text(
        '[handlers.f]\nkind = "forward"\nuri = "https://u:p@h/"\nheaders = {x = "y"}\n'
        '[handlers.a]\nkind = "annotate"\nuri = "https://h/"\napi_key = "k"\n' + STORE
    )
    doubts = [doubt.path for doubt in examine(file, environ={"HOME": "/"}).doubts]
    assert {"handlers.f.uri", "handlers.f.headers", "handlers.a.api_key"} <= set(doubts)


@pytest.mark.parametrize(("queue", "size"), [("latest", 2), ("drop-oldest", 65), ("block", 0)])
def test_a_queue_of_a_size_without_sense_is_refused(queue: str, size: int) -> None:
    found = faults(f'[sources.s]\nkind = "scene"\nqueue = "{queue}"\nqueue_size = {size}\n{STORE}')
    assert list(found) == ["sources.s.queue_size"]


def test_a_queue_has_room_for_one_or_a_few_where_nothing_is_said() -> None:
    text = '[sources.a]\nkind = "scene"\n[sources.b]\nkind = "scene"\nqueue = "block"\n' + STORE
    sources = loads(text, "edge.toml").sources
    assert (sources["a"].queue_room, sources["b"].queue_room) == (1, 4)


def test_the_configuration_needs_no_room() -> None:
    text = (ROOT / "edge" / "config" / "load_checks_bus.py").read_text()
    assert "edge.bus" not in text
