"""The event that a picture is stored says what its schema says."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema

from edge.app.box import Box
from edge.app.parts import demo_config
from edge.cloudevents.json_format import encode
from edge.messages.published import STORED
from tests.messages.test_published import from_a_bucket


def test_what_is_said_of_a_stored_picture_is_described(tmp_path: Path) -> None:
    parcel = from_a_bucket()
    event = Box(demo_config(tmp_path)).bus.originals.stored_event(parcel)
    said = json.loads(encode(event))
    check = jsonschema.Draft202012Validator(STORED.schema())
    assert [error.message for error in check.iter_errors(said)] == []
    assert said["id"] == f"{parcel.id}.stored"
    assert said["data"]["store"] == {
        "kind": "folder",
        "where": str(tmp_path / "pictures"),
        "key": parcel.key,
        "message": parcel.key.rpartition(".")[0] + ".json",
    }
    assert said["data"]["origin"] == parcel.message["data"]["origin"]
