from __future__ import annotations

import pytest

from edge.cloudevents import json_format
from edge.cloudevents.faults import Malformed
from tests.cloudevents.events import an_event, document


def test_a_batch_may_be_empty() -> None:
    assert json_format.decode_batch(b" [ ] ") == []
    assert json_format.encode_batch([]) == b"[]"


def test_a_batch_keeps_its_order_and_its_doubles() -> None:
    events = [an_event(), an_event(), an_event(b"1.00", id="2"), an_event(b"\xff", id="3")]
    assert json_format.decode_batch(json_format.encode_batch(events)) == events


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{}", "a batch as a JSON array"),
        (b"", "a batch as a JSON array"),
        (b"[", "event 1 of the batch: .*an event as a JSON object"),
        (b'["not an object", {}]', "event 1 of the batch"),
        (b"[" + document() + b"," + document(id=...) + b"]", "event 2 of the batch: id: missing"),
        (b"[" + document() + b",]", "event 2 of the batch"),
        (b"[" + document() + b"", "',' or ']'"),
        (b"[" + document() + document() + b"]", "',' or ']'"),
        (b"[" + document() + b"]]", "the end"),
        (b"[]x", "the end"),
        (b"[" + document() + b"," + document(specversion="0.3") + b"]", "expected one in a batch"),
    ],
)
def test_a_batch_with_anything_wrong_is_refused_as_a_whole(body: bytes, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        json_format.decode_batch(body)


def test_an_unknown_version_in_a_batch_is_refused_as_such() -> None:
    with pytest.raises(Malformed, match="event 2") as caught:
        json_format.decode_batch(b"[" + document() + b"," + document(specversion="0.9") + b"]")
    assert caught.value.reason == "unsupported_version"
