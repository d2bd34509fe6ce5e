"""A bucket whose notifications come through a broker, in the operator's file."""

from __future__ import annotations

import pytest

from tests.config.test_load import STORE, faults
from tests.config.test_load_buckets import SECRETS, source, taken

BROKER = 'via = "mqtt"\nbroker = "mqtt://me:hunter2@h"\n'


def test_a_broker_and_a_topic_are_needed_and_enough() -> None:
    found = faults(source('via = "mqtt"') + STORE, **SECRETS)
    assert list(found) == ["sources.in.broker", "sources.in.topic"]
    config = taken(source(BROKER + 'topic = "minio/frames"') + STORE)
    assert "hunter2" not in repr(config)


@pytest.mark.parametrize(
    "broker",
    ["h", "h:1883", "http://h", "mqtt://", "mqtt://h:0", "mqtt://h:x", "mqtt://h/path"],
)
def test_an_address_that_is_no_brokers_is_refused_without_being_shown(broker: str) -> None:
    broker = broker.replace("://", "://me:hunter2@", 1)
    text = source(f'via = "mqtt"\nbroker = "{broker}"\ntopic = "a"') + STORE
    found = faults(text, **SECRETS)
    assert list(found) == ["sources.in.broker"]
    assert "hunter2" not in str(found)


@pytest.mark.parametrize("topic", ["a", "/", "a/b c", "+/frames", "minio/+", "minio/#", "#", "é"])
def test_a_topic_may_have_wildcards(topic: str) -> None:
    assert taken(source(BROKER + f'topic = "{topic}"') + STORE).topic == topic


@pytest.mark.parametrize("topic", ["a+", "a/#/b", "a#", "+a/b", "##"])
def test_a_wildcard_stands_for_a_whole_level(topic: str) -> None:
    found = faults(source(BROKER + f'topic = "{topic}"') + STORE, **SECRETS)
    assert list(found) == ["sources.in.topic"]
