"""Settings that somebody asks for: read, or refused with what was expected."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as some

from edge.errors import Rejected
from edge.ops.mqtt_types import Message
from edge.sinks.upstream.settings import Setting, filter_of, setting_of
from edge.topics import Topics

TOPICS = Topics(site="harbour", node="box-7")
SOURCES = ("gate", "north yard")


def asked(topic: str, payload: bytes) -> Setting:
    return setting_of(Message(topic, payload, 1, retain=False, dup=False), TOPICS, SOURCES)


@pytest.mark.parametrize("text", ["true", "ON", "1", '"on"', " true\n"])
def test_a_source_is_enabled(text: str) -> None:
    setting = asked(TOPICS.source_set("gate", "enabled"), text.encode())
    assert (setting.verb, setting.args) == ("source.enable", {"name": "gate"})


def test_a_source_of_any_name_is_disabled() -> None:
    setting = asked(TOPICS.source_set("north yard", "enabled"), b"false")
    assert (setting.source, setting.verb) == ("north yard", "source.disable")


def test_a_method_is_a_matter_of_the_ratchet() -> None:
    setting = asked(TOPICS.source_set("gate", "method"), b'"fill"')
    assert (setting.verb, setting.args) == ("privacy.raise", {"source": "gate", "method": "fill"})


@pytest.mark.parametrize(
    ("topic", "payload", "words"),
    [
        (TOPICS.source_set("gate", "enabled"), b"maybe", "expected true or false"),
        (TOPICS.source_set("gate", "enabled"), b"1" * 65, "65"),
        (TOPICS.source_set("gate", "url"), b"rtsp://h", "expected enabled or method"),
        (TOPICS.source_set("roof", "enabled"), b"true", "no source 'roof'"),
    ],
)
def test_anything_else_is_refused_in_words(topic: str, payload: bytes, words: str) -> None:
    with pytest.raises(Rejected, match=words):
        asked(topic, payload)


@given(some.text(max_size=80), some.binary(max_size=80))
def test_what_a_stranger_sends_is_a_setting_or_refused(rest: str, payload: bytes) -> None:
    for topic in (f"{TOPICS.base}/source/{rest}", TOPICS.source_set("gate", "method")):
        with contextlib.suppress(Rejected):
            assert asked(topic, payload).source in SOURCES


def test_the_filter_is_that_of_settings_alone() -> None:
    assert filter_of(TOPICS) == "edge/v1/harbour/box-7/source/+/set/+"
