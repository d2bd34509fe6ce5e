"""What a reload changes."""

from __future__ import annotations

from edge.config.diff import Change, changes
from edge.config.load import loads
from edge.config.root import Config

STORE = '[store]\nkind = "folder"\npath = "out"\n'
GATE = '[sources.gate]\nkind = "camera"\nurl = "rtsp://u:one@h/1"\n'


def config(text: str) -> Config:
    return loads(text, "edge.toml", environ={"HOME": "/"})


def test_nothing_differs_between_equals() -> None:
    assert changes(config(GATE + STORE), config(STORE + GATE)) == []


def test_a_live_key_and_one_that_needs_a_restart_are_told_apart() -> None:
    new = config(STORE + "[privacy]\nquality = 50\nmargin.top = 0.5\n[web]\nport = 9000\n")
    assert changes(config(STORE), new) == [
        Change("privacy.margin.top", live=True),
        Change("privacy.quality", live=True),
        Change("web.port", live=False),
    ]


def test_a_source_that_comes_or_goes_or_changes_its_kind_is_one_live_change() -> None:
    old = config(GATE + STORE)
    new = config('[sources.gate]\nkind = "scene"\n[sources."a.b"]\nkind = "scene"\n' + STORE)
    assert changes(old, new) == [
        Change("sources.gate", live=True),
        Change('sources."a.b"', live=True),
    ]
    assert changes(old, config(STORE)) == [Change("sources.gate", live=True)]


def test_a_new_password_of_a_camera_is_a_change() -> None:
    new = config(GATE.replace("one", "two") + STORE)
    assert changes(config(GATE + STORE), new) == [Change("sources.gate.url", live=True)]


def test_a_source_that_gets_its_own_margin_is_a_change() -> None:
    new = config(GATE + "privacy.margin.top = 1\n" + STORE)
    assert changes(config(GATE + STORE), new) == [Change("sources.gate.privacy.margin", live=True)]


def test_another_kind_of_store_needs_a_restart() -> None:
    s3 = (
        '[store]\nkind = "s3"\nendpoint = "http://h:1"\nbucket = "abc"\naccess_key = "a"\n'
        'secret_key = "b"\n'
    )
    assert changes(config(STORE), config(s3)) == [Change("store", live=False)]


def test_triggers_and_handlers_change_live_and_the_bus_does_not() -> None:
    bus = (
        '[bus]\nhops = 9\n[handlers.f]\nkind = "forward"\nuri = "http://h/"\nheaders = {a = "1"}\n'
        '[triggers.t]\nsubscriber.ref = "f"\nfilter = {attributes = {type = "a"}}\n'
        '[triggers.u]\nsubscriber.ref = "f"\n'
    )
    other = bus.replace('a = "1"', 'b = "2"').replace('type = "a"', 'type = "b"')
    other = other.replace("hops = 9", "hops = 8").replace("triggers.u", "triggers.v")
    assert changes(config(bus + STORE), config(other + STORE)) == [
        Change("bus.hops", live=False),
        Change("triggers.t.filter", live=True),
        Change("triggers.u", live=True),
        Change("triggers.v", live=True),
        Change("handlers.f.headers", live=True),
    ]
    plain = bus.replace('headers = {a = "1"}\n', "")
    assert changes(config(plain + STORE), config(bus + STORE)) == [
        Change("handlers.f.headers", live=True)
    ]
    log = bus.replace('kind = "forward"\nuri = "http://h/"\nheaders = {a = "1"}', 'kind = "log"')
    assert changes(config(log + STORE), config(bus + STORE)) == [Change("handlers.f", live=True)]
