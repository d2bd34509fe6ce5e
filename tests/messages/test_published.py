"""What is published is what the gate says: read as others read it, with their library."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, NotRequired, TypedDict

import jsonschema
import pytest

from edge.bus.broker import event_of
from edge.cli.main import main
from edge.cloudevents.json_format import decode, encode
from edge.config.privacy import Method, Policy
from edge.contracts import Picture
from edge.detections import Sighting
from edge.event import Event
from edge.frame import Encoded, ObjectRef
from edge.messages.json_schema import About, schema_of
from edge.messages.published import ALL, RESULT
from edge.parcel import Parcel
from edge.stages.redact import redact
from tests.privacy.parts import OTHER, PERSON, gate, people, released, seen, uploaded
from tests.stages.parts import INFO, a_frame, an_event

SCHEMA = RESULT.schema()


def closed(schema: Any) -> Any:
    """Allow nothing that is not named: what the box says must be described whole."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(value) for name, value in schema.items()}
    if isinstance(schema.get("properties"), dict):
        inner["additionalProperties"] = False
    return inner


STRICT = jsonschema.Draft202012Validator(closed(SCHEMA))


def from_a_bucket() -> Parcel:
    event, frame = uploaded()
    assert isinstance(event.data, Encoded)
    ref = ObjectRef(bucket="frames", key="cam 1/ü\n.jpg", version="v1", etag="0ab1", size=5)
    came: Event[Picture] = event.carrying(
        replace(event.data, origin=ref, metadata={"site": "north\nyard"})
    )
    sighting = seen(frame, people(PERSON, OTHER))
    return gate(Policy()).release(came, sighting, redact(sighting, Policy()))


def in_safe_mode() -> Parcel:
    frame, info = a_frame(), replace(INFO, safe_mode=True, digest="", name="builtin")
    sighting = Sighting(frame=frame, detections=people(PERSON), engine=info)
    return gate(Policy(), info).release(an_event(frame), sighting, redact(sighting, Policy()))


def parcels() -> Iterator[Parcel]:
    methods: list[Method] = ["cells", "fill", "blur"]
    for method in methods:
        yield released(people(PERSON, (-10, 30.2, 90.5, 150)), Policy(method=method))
    yield released(people(), Policy(format="webp"))
    yield released(people(PERSON), Policy(format="png"))
    yield from_a_bucket()
    yield in_safe_mode()


def test_every_schema_is_one() -> None:
    for one in ALL:
        jsonschema.Draft202012Validator.check_schema(one.schema())
    assert len({one.file for one in ALL}) == len({one.name for one in ALL}) == len(ALL)


@pytest.mark.parametrize("parcel", list(parcels()), ids=lambda parcel: parcel.content_type)
def test_what_the_gate_says_is_described_whole(parcel: Parcel) -> None:
    message = json.loads(json.dumps(parcel.message))
    assert [error.message for error in STRICT.iter_errors(message)] == []
    assert message["type"] == SCHEMA["title"]
    uri, _, pointer = message["dataschema"].partition("#/")
    assert uri == SCHEMA["$id"]
    part = SCHEMA
    for step in pointer.split("/"):
        part = part[step]
    jsonschema.validate(message["data"], part)


def test_what_is_not_described_is_caught() -> None:
    right = json.loads(json.dumps(from_a_bucket().message))
    wrong: list[tuple[tuple[str | int, ...], Any]] = [
        (("data", "people", 0, "box"), [1, 2, 3]),
        (("data", "people", 0, "box", 0), 1.5),
        (("data", "people", 0, "score"), 1.5),
        (("data", "method"), "mosaic"),
        (("data", "picture", "sha256"), "0"),
        (("data", "picture", "key"), ""),
        (("data", "origin", "version"), ""),
        (("data", "metadata", "site"), 5),
        (("time",), "2026-03-04 05:06"),
        (("type",), "io.edge.picture.redacted.v2"),
        (("data", "more"), "new"),
    ]
    for path, value in wrong:
        message = copy.deepcopy(right)
        place: Any = message
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        assert not STRICT.is_valid(message), path
    for name in ("data", "dataschema", "id"):
        assert not STRICT.is_valid({key: right[key] for key in right if key != name}), name


def test_who_reads_this_version_may_meet_members_that_came_later() -> None:
    message = json.loads(json.dumps(from_a_bucket().message))
    message["seq"] = 7
    message["data"]["receipt"] = {}
    jsonschema.validate(message, SCHEMA)


def test_the_message_travels_as_an_event_with_its_dataschema() -> None:
    parcel = from_a_bucket()
    event = event_of(parcel)
    assert isinstance(event, Event)
    assert event.dataschema == parcel.message["dataschema"]
    again = decode(encode(event))
    assert again.attributes() == event.attributes()
    assert json.loads(again.data or b"") == parcel.message["data"]


def test_the_command_prints_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    for more in ([], ["--json"]):
        assert main(["schema", "result", *more]) == 0
        assert json.loads(capsys.readouterr().out) == SCHEMA
    assert main(["schema", "nonsense"]) == 2


def test_a_typed_dictionary_says_its_schema() -> None:
    class Small(TypedDict):
        """Some
        thing.
        """

        flag: bool
        pair: Annotated[list[int], About("two", items=2, least=0)]
        more: NotRequired[dict[str, str]]

    assert schema_of(Small) == {
        "description": "Some thing.",
        "type": "object",
        "properties": {
            "flag": {"type": "boolean"},
            "pair": {
                "type": "array",
                "items": {"type": "integer", "minimum": 0},
                "minItems": 2,
                "maxItems": 2,
                "description": "two",
            },
            "more": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "required": ["flag", "pair"],
    }
    kinds: list[Any] = [bytes, list[bytes], dict[int, str], int | None]
    for kind in kinds:
        with pytest.raises(TypeError):
            schema_of(kind)
