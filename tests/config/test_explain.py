"""Every key explained by the sections themselves."""

from __future__ import annotations

import json

import pytest

from edge.config.explain import explain, keys, reference, schema
from edge.errors import Rejected


def test_every_key_has_a_meaning_a_type_and_a_default() -> None:
    found = keys()
    assert len(found) > 60
    for key in found:
        assert key.meaning.endswith("."), key.path
        assert key.takes, key.path
        assert "value" not in key.takes.split(), key.path
        assert key.default, key.path


def test_a_key_is_found_by_its_path_with_the_name_of_a_source() -> None:
    (key,) = explain("sources.gate.stall_after")
    assert (key.path, key.kind) == ("sources.NAME.stall_after", "camera")
    assert key.default == '`"5s"`'
    assert key.change == "source"


def test_a_key_of_several_kinds_is_explained_for_each() -> None:
    assert [key.kind for key in explain("sources.gate.fps")] == ["camera", "scene", "folder"]
    assert [key.kind for key in explain("sources.gate.enabled")] == [""]


def test_a_key_is_found_by_its_last_part_and_a_table_by_its_name() -> None:
    assert {key.path for key in explain("quality")} == {"privacy.quality"}
    assert {key.table for key in explain("[jobs]")} == {"jobs"}


def test_an_unknown_key_names_the_nearest() -> None:
    with pytest.raises(Rejected) as caught:
        explain("stal_after")
    assert "stall_after" in caught.value.hint


def test_what_is_live_is_said() -> None:
    changes = {key.path: key.change for key in keys()}
    assert changes["privacy.quality"] == "live"
    assert changes["sources.NAME.url"] == "source"
    assert changes["web.port"] == "restart"


def test_types_are_in_the_words_of_the_operator() -> None:
    takes = {(key.path, key.kind): key.takes for key in keys()}
    assert takes["web.port", ""] == "whole number, 0 to 65535"
    assert takes["web.token", ""] == "secret text"
    assert takes["detect.threshold", ""] == "number, 0.01 to 0.99"
    assert takes["outbox.max_bytes", ""].startswith("size")
    assert takes["box.stop_timeout", ""].startswith("duration")
    assert takes["sources.NAME.privacy.blackout", ""] == "list of lists of pairs of numbers 0 to 1"
    assert takes["store.kind", "s3"] == '"s3"'


def test_the_reference_has_a_row_for_every_key() -> None:
    text = reference()
    for key in keys():
        assert f"| `{key.name}` |" in text


def test_the_schema_is_json_and_keeps_units_as_text() -> None:
    text = json.dumps(schema())
    assert json.loads(text)["required"] == ["store"]
    timeout = schema()["$defs"]["DetectConfig"]["properties"]["timeout"]
    assert timeout["type"] == "string"
    assert timeout["default"] == "10s"
    import socket

    assert socket.gethostname() not in text


def test_tables_in_tables_in_lists_and_optional_ones_are_explained() -> None:
    found = {key.path: key for key in keys()}
    assert found["triggers.NAME.subscribers"].takes == "list of tables"
    assert found["triggers.NAME.subscribers.weight"].title == "[[triggers.NAME.subscribers]]"
    assert found["triggers.NAME.delivery.timeout"].takes.startswith("ISO 8601 duration")
    assert found["triggers.NAME.delivery"].takes == "table"
    assert found["triggers.NAME.delivery"].default == "none"
    assert found["triggers.NAME.filters"].change == "live"
    assert found["bus.delivery.retry"].change == "restart"
    assert found["handlers.NAME.headers"].takes == "table of secret texts"
    assert found["handlers.NAME.rules.set"].takes == "table of texts"
    assert "triggers" not in found
    (key,) = explain("triggers.tell.subscribers[0].weight")
    assert key.path == "triggers.NAME.subscribers.weight"
    assert [key.kind for key in explain("handlers.x.uri")] == ["forward", "annotate"]
    assert "## `[[triggers.NAME.subscribers]]`" in reference()


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("PT0.2S", True), ("PT5M", True), ("P1D", True), ("P1W", True), ("P1DT2H", True),
        ("PT", False), ("P", False), ("P1DT", False), ("1s", False), ("P1Y", False),
    ],
)  # fmt: skip
def test_the_schema_takes_what_the_parser_of_iso_durations_takes(text: str, fits: bool) -> None:
    import re

    from edge.config.units import parse_iso_duration

    pattern = schema()["$defs"]["DeliveryConfig"]["properties"]["timeout"]["pattern"]
    assert bool(re.search(pattern, text)) == fits
    if fits:
        assert parse_iso_duration(text) > 0
    else:
        with pytest.raises(ValueError, match="ISO 8601"):
            parse_iso_duration(text)
