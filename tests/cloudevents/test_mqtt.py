from __future__ import annotations

import pytest

from edge.cloudevents import json_format, mqtt
from edge.cloudevents.faults import Malformed
from edge.cloudevents.mqtt import Message
from tests.cloudevents.events import an_event, document

LEAST = [("specversion", "1.0"), ("id", "1"), ("source", "/a"), ("type", "t")]


def test_binary_mode_is_properties_without_prefix_or_coding() -> None:
    properties = [*LEAST, ("subject", "Euro € 100%25 %zz"), ("ext", '"a"')]
    assert mqtt.decode(Message(b"{}", "application/json", properties)) == an_event(
        b"{}",
        datacontenttype="application/json",
        subject="Euro € 100%25 %zz",
        extensions={"ext": '"a"'},
    )


def test_structured_mode_is_chosen_by_the_content_type() -> None:
    message = Message(
        document("1.00"), "Application/CloudEvents+JSON; charset=utf-8", [("id", "x")]
    )
    assert mqtt.decode(message) == an_event(b"1.00")


def test_mqtt_311_is_always_structured() -> None:
    assert mqtt.decode_311(document("1.00")) == an_event(b"1.00")
    with pytest.raises(Malformed, match="JSON"):
        mqtt.decode_311(b"hello")


@pytest.mark.parametrize(
    "kind", ["application/cloudevents-batch+json", "application/cloudevents+avro"]
)
def test_there_is_no_batch_and_no_other_format(kind: str) -> None:
    with pytest.raises(Malformed) as caught:
        mqtt.decode(Message(b"[]", kind))
    assert caught.value.reason == "unsupported_media_type"


def test_an_empty_payload_is_no_data() -> None:
    assert mqtt.decode(Message(b"", "", LEAST)) == an_event()


def test_properties_of_others_are_let_alone() -> None:
    properties = [*LEAST, ("Trace-Id", "1"), ("Trace-Id", "2"), ("", "x")]
    assert mqtt.decode(Message(b"", "", properties)) == an_event()


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (("id", "1"), "id"),
        (("ext", "a\x00"), "ext"),
        (("time", "now"), "time"),
        (("data", "x"), "data"),
        (("datacontenttype", "text/xml"), "datacontenttype"),
    ],
)
def test_properties_that_are_wrong_are_named(more: tuple[str, str], named: str) -> None:
    with pytest.raises(Malformed, match=named):
        mqtt.decode(Message(b"", "text/plain", [*LEAST, more]))


def test_the_type_of_the_data_may_be_said_twice() -> None:
    # as in the example of the binding's own text
    properties = [*LEAST, ("datacontenttype", "text/plain")]
    assert mqtt.decode(Message(b"", "text/plain", properties)).datacontenttype == "text/plain"


@pytest.mark.parametrize("message", [Message(b"hello"), Message(document(), "application/json")])
def test_a_message_without_an_event_is_told_what_was_expected(message: Message) -> None:
    with pytest.raises(Malformed, match=r"no event: .*specversion.*cloudevents\+json"):
        mqtt.decode(message)


def test_an_event_that_binary_mode_cannot_carry_goes_structured() -> None:
    inner = an_event(json_format.encode(an_event()), datacontenttype="application/cloudevents+json")
    for event in (inner, an_event(extensions={"long": "€" * 30_000})):
        message = mqtt.encode_binary(event)
        assert message.content_type == json_format.MEDIA_TYPE
        assert mqtt.decode(message) == event


def test_binary_mode_says_what_json_implies() -> None:
    assert mqtt.encode_binary(an_event(b"1")).content_type == "application/json"
    assert mqtt.encode_binary(an_event()).content_type == ""
