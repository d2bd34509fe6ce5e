"""The discovery message: as Home Assistant's MQTT integration documents it."""

from __future__ import annotations

import re
from typing import Any

from edge.messages.json_schema import schema_of
from edge.messages.presence import Health, SourceStatus
from edge.sinks.upstream.home_assistant import Discovery
from edge.topics import Topics

TOPICS = Topics(site="harbour", node="box-7")
ID = re.compile(r"[A-Za-z0-9_-]+")


def message(*sources: str, gone: tuple[str, ...] = (), page: str = "") -> tuple[str, Any]:
    make = Discovery(prefix="homeassistant", topics=TOPICS, version="1.2", page=page)
    return make(sources, gone)


def test_the_topic_is_that_of_a_device() -> None:
    topic, _ = message()
    assert topic == "homeassistant/device/edge-harbour-box-7/config"


def test_device_and_origin_say_what_is_required() -> None:
    _, said = message(page="https://box/")
    assert said["origin"]["name"]
    assert said["device"]["identifiers"] == ["edge-harbour-box-7"]
    assert said["device"]["configuration_url"] == "https://box/"
    assert "configuration_url" not in message()[1]["device"]


def test_every_entity_has_a_platform_and_a_name_of_its_own() -> None:
    _, said = message("gate", "north yard", "north_yard")
    components = said["components"]
    ids = [one["unique_id"] for one in components.values()]
    assert len(set(ids)) == len(ids) == len(components) == 9 + 3 * 4
    assert all(ID.fullmatch(name) for name in [*components, *ids])
    assert {one["platform"] for one in components.values()} == {"sensor", "binary_sensor", "switch"}


def test_what_entities_read_is_what_the_box_keeps() -> None:
    _, said = message("gate")
    schemas = {
        TOPICS.health: schema_of(Health),
        TOPICS.source_status("gate"): schema_of(SourceStatus),
    }
    for entity in said["components"].values():
        if entity["platform"] == "switch":
            continue
        schema = schemas[entity["state_topic"]]
        (path,) = re.findall(r"value_json((?:\.\w+)+)", entity["value_template"])
        for name in path.split(".")[1:]:
            assert name in schema["properties"], path
            schema = schema["properties"][name]


def test_a_switch_asks_for_the_setting_that_it_shows() -> None:
    _, said = message("gate")
    switch = said["components"]["gate_enabled"]
    assert switch["state_topic"] == TOPICS.source_state("gate", "enabled")
    assert switch["command_topic"] == TOPICS.source_set("gate", "enabled")
    assert {switch["payload_on"], switch["state_on"]} == {"true"}


def test_entities_of_a_source_that_is_gone_are_removed() -> None:
    _, said = message("gate", gone=("roof",))
    assert said["components"]["roof_status"] == {"platform": "sensor"}
    assert said["components"]["roof_enabled"] == {"platform": "switch"}
