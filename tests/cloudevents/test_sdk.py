"""Both ways between this codec and the ``cloudevents`` SDK, for what the SDK (2.2) gets right.

What it gets wrong, and what is therefore not asked of it here:

* it makes up what is missing: ``id``, ``specversion``, and always ``time``;
* it cuts ``time`` to microseconds, and writes it anew;
* it takes an event for structured if it has no ``ce-`` header, for binary if it has one, whatever
  the content type says; it knows no batch and no MQTT;
* in headers it does not undo quotes, turns bytes that are no UTF-8 into replacement characters,
  lets control characters in, and writes booleans as ``True``;
* in JSON it takes floats and objects as extensions, sources with spaces, types of data that are
  none, members that come twice (the last wins); it refuses attributes that are ``null``;
* ``data: null`` is no data to it, long fractions lose digits, keys that come twice are one, and a
  JSON string in binary mode loses its quotes.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings import http as sdk
from cloudevents.core.bindings.http import HTTPMessage
from cloudevents.core.v1.event import CloudEvent

from edge.cloudevents import http
from edge.cloudevents.http import Mode
from edge.event import WireEvent
from tests.cloudevents.events import an_event

TEXT = 'Euro € 😀 "q" 5% a%20b'
TIME = "2026-01-31T12:00:00.123456Z"
WHEN = datetime(2026, 1, 31, 12, 0, 0, 123456, UTC)

EVENTS: list[tuple[WireEvent, Any]] = [
    (an_event(b'{"a": [1, true]}', datacontenttype="application/json"), {"a": [1, True]}),
    (an_event(b"[1, 2]", datacontenttype="application/vnd.x+json"), [1, 2]),
    (an_event("é\n".encode(), datacontenttype="text/plain"), "é\n"),
    (an_event(b"\x89PNG\xff", datacontenttype="image/png"), b"\x89PNG\xff"),
    (an_event(), None),
]


def _full(event: WireEvent) -> WireEvent:
    """Return an event with all that there can be besides data."""
    other = {"subject": TEXT, "dataschema": "https://example.com/s", "time": TIME}
    return an_event(
        event.data, datacontenttype=event.datacontenttype, extensions={"ext": TEXT}, **other
    )


def _theirs(event: WireEvent, data: Any) -> CloudEvent:
    attributes = {**event.attributes(), "time": WHEN}
    return CloudEvent(attributes, data)


@pytest.mark.parametrize(("event", "data"), EVENTS)
@pytest.mark.parametrize("mode", [Mode.BINARY, Mode.STRUCTURED])
def test_they_read_what_we_write(event: WireEvent, data: Any, mode: Mode) -> None:
    event = _full(event)
    write = http.encode_binary if mode is Mode.BINARY else http.encode_structured
    found = sdk.from_http_event(HTTPMessage(*write(event)))
    assert found.get_data() == data
    assert found.get_attributes() == _theirs(event, data).get_attributes()


@pytest.mark.parametrize(("event", "data"), EVENTS)
@pytest.mark.parametrize("mode", [Mode.BINARY, Mode.STRUCTURED])
def test_we_read_what_they_write(event: WireEvent, data: Any, mode: Mode) -> None:
    event = _full(event)
    write = sdk.to_binary_event if mode is Mode.BINARY else sdk.to_structured_event
    message = write(_theirs(event, data))
    assert http.decode(message.headers, message.body) == (mode, [event])


def test_extensions_keep_their_types_in_structured_mode() -> None:
    event = an_event(extensions={"flag": True, "number": -5}, time=TIME)
    found = sdk.from_http_event(HTTPMessage(*http.encode_structured(event)))
    assert (found.get_extension("flag"), found.get_extension("number")) == (True, -5)
    message = sdk.to_structured_event(_theirs(event, None))
    assert http.decode(message.headers, message.body).events == [event]


def test_an_old_event_with_bytes_goes_both_ways() -> None:
    event = an_event(b"\x89", specversion="0.3", datacontenttype="image/png", time=TIME)
    found = sdk.from_http_event(HTTPMessage(*http.encode_structured(event)))
    assert (found.get_specversion(), found.get_data()) == ("0.3", b"\x89")
    message = sdk.to_structured_event(found)
    assert json.loads(message.body)["datacontentencoding"] == "base64"
    assert http.decode(message.headers, message.body).events == [event]
