"""Whatever event there is comes back as it was; whatever else comes is refused, and no more."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st

from edge.cloudevents import header_value, http, json_format, mqtt
from edge.cloudevents.attributes import canonical
from edge.cloudevents.faults import Malformed
from edge.cloudevents.http import Mode
from edge.event import WireEvent
from tests.cloudevents.events import document, events, headers, json_texts, texts

space = st.text(" \t\r\n", max_size=3)
anything = st.text(max_size=20) | st.sampled_from(
    ["1.0", "0.3", "/a", "a/b", '"', "%", "%41", "2018-04-05T17:31:00Z", "application/json"]
)


def _as_text(event: WireEvent) -> WireEvent:
    """Return what binary mode can say of an event: values as text, no empty data, JSON named."""
    extensions = {name: canonical(value) for name, value in event.extensions.items()}
    kind = http.binary_type(event)
    return replace(event, extensions=extensions, data=event.data or None, datacontenttype=kind)


@given(events)
def test_structured_mode_loses_nothing(event: WireEvent) -> None:
    assert http.decode(*http.encode_structured(event)) == (Mode.STRUCTURED, [event])
    assert mqtt.decode(mqtt.encode_structured(event)) == event
    assert mqtt.decode_311(mqtt.encode_structured(event).payload) == event


@given(events)
def test_binary_mode_loses_only_the_types_of_extensions(event: WireEvent) -> None:
    message = http.encode_binary(event)
    assert all(value.isascii() and value.isprintable() for value in message.headers.values())
    assert http.decode(*message) == (Mode.BINARY, [_as_text(event)])
    assert mqtt.decode(mqtt.encode_binary(event)) == _as_text(event)


@given(st.lists(events, max_size=4))
def test_a_batch_loses_nothing(batch: list[WireEvent]) -> None:
    same = [replace(event, specversion="1.0") for event in batch]
    assert http.decode(*http.encode_batch(same)) == (Mode.BATCH, same)


@given(events)
def test_from_mode_to_mode_an_event_stays_what_it_is(event: WireEvent) -> None:
    once = http.decode(*http.encode_binary(event)).events[0]
    again = http.decode(*http.encode_structured(once)).events[0]
    assert mqtt.decode(mqtt.encode_binary(again)) == once


@given(events)
def test_an_event_on_one_line_is_the_same_event_to_a_reader_of_json(event: WireEvent) -> None:
    line = json_format.encode_line(event)
    assert not {b"\n", b"\r"} & {line[at : at + 1] for at in range(len(line))}
    assert _loose(line) == _loose(json_format.encode(event))


def _loose(body: bytes) -> object:
    return json.loads(body, parse_int=str, parse_float=str)


@given(json_texts, space, space, st.booleans())
def test_the_text_of_data_is_found_wherever_it_stands(
    text: str, before: str, after: str, first: bool
) -> None:
    member = f'{before}"data"{after}:{before}{text}{after}'
    rest = document().decode()[1:-1]
    body = f"{{{member},{rest}}}" if first else f"{{{rest},{member}}}"
    assert json_format.decode(body.encode()).data == text.encode()


@given(texts)
def test_a_text_in_a_header_comes_back(text: str) -> None:
    assert header_value.decode("ce-x", header_value.encode(text)) == text


@given(texts.filter(str.isascii))
def test_a_text_in_quotes_is_the_text(text: str) -> None:
    quoted = text.replace("%", "%25").replace("\\", "\\\\").replace('"', '\\"')
    assert header_value.decode("ce-x", f'"{quoted}"') == text


@given(st.binary(max_size=200))
@example(b'{"id":' * 5000)
def test_any_bytes_are_an_event_or_malformed(body: bytes) -> None:
    for read in (json_format.decode, json_format.decode_batch):
        try:
            read(body)
        except Malformed as error:
            assert len(str(error)) < 300  # noqa: PT017 (either way is right; a crash is not)


@given(events, st.data())
def test_a_damaged_event_is_an_event_or_malformed(event: WireEvent, data: st.DataObject) -> None:
    body = bytearray(json_format.encode(event))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    try:
        found = json_format.decode(bytes(body))
    except Malformed:
        return
    # what was let in can be sent on, in every mode
    assert json_format.decode(json_format.encode(found)) == found
    assert http.decode(*http.encode_binary(found)).events[0].id == found.id


@given(
    st.dictionaries(
        st.sampled_from(["id", "source", "time", "subject", "ext", "Ext", "é", "content_type"]),
        anything,
    ),
    st.binary(max_size=10),
)
def test_any_headers_are_an_event_or_malformed(other: dict[str, str], body: bytes) -> None:
    try:
        found = http.decode(headers(**other), body).events[0]
    except Malformed:
        return
    assert http.decode(*http.encode_binary(found)).events[0] == _as_text(found)
