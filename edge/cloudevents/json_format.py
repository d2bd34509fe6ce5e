"""The JSON format: one event as an object, a batch as an array (CloudEvents JSON format 1.0.2).

Nothing is lost on the way. The text of ``data`` is kept as it came, byte by byte: long numbers,
``1.00``, the order of keys and keys that come twice. Spaces around it are no part of it.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Sequence
from json.encoder import encode_basestring
from typing import Final

from edge.cloudevents import json_text, media_type
from edge.cloudevents.attributes import (
    LARGEST,
    SMALLEST,
    canonical,
    check_name,
    event_of,
    outgoing,
)
from edge.cloudevents.faults import Malformed, refused
from edge.cloudevents.json_text import Member
from edge.event import Value, WireEvent

MEDIA_TYPE: Final = "application/cloudevents+json"
BATCH_MEDIA_TYPE: Final = "application/cloudevents-batch+json"

_INTEGER: Final = re.compile(r"-?[0-9]{1,10}")
_NEWLINES: Final = bytes.maketrans(b"\n\r", b"  ")
_write_text: Final[Callable[[str], str]] = encode_basestring


def decode(body: bytes) -> WireEvent:
    """Read one event.

    Raises:
        Malformed: it is no JSON object in UTF-8, or none that is an event.

    """
    text = _text_of(body)
    event, end = _event_at(text, json_text.skip(text, 0))
    json_text.check_end(text, end)
    return event


def decode_batch(body: bytes) -> list[WireEvent]:
    """Read a batch, which may be empty.

    Raises:
        Malformed: it is no JSON array, one of its elements is no event (the message says which,
            counted from 1), or they are of several versions.

    """
    text = _text_of(body)
    at = json_text.skip(text, 0)
    if text[at : at + 1] != "[":
        raise json_text.unexpected(text, at, "a batch as a JSON array")
    events: list[WireEvent] = []
    at = json_text.skip(text, at + 1)
    if text[at : at + 1] == "]":
        json_text.check_end(text, at + 1)
        return events
    mark = ","
    while mark == ",":
        event, at = _element_at(text, at, len(events) + 1)
        events.append(event)
        at = json_text.skip(text, at)
        mark = text[at : at + 1]
        if mark not in (",", "]"):
            raise json_text.unexpected(text, at, "',' or ']'")
        at = json_text.skip(text, at + 1)
    json_text.check_end(text, at)
    _check_same_version(events)
    return events


def _text_of(body: bytes) -> str:
    """Return the text of events without a byte order mark, which is no part of them."""
    # around the data are the event and the batch
    return json_text.text_of(body, json_text.DEEPEST + 2).removeprefix("\ufeff")


def _element_at(text: str, at: int, number: int) -> tuple[WireEvent, int]:
    try:
        return _event_at(text, at)
    except Malformed as error:
        raise Malformed(f"event {number} of the batch: {error}", reason=error.reason) from error


def _check_same_version(events: Sequence[WireEvent]) -> None:
    versions = sorted({event.specversion for event in events})
    if len(versions) > 1:
        raise Malformed(f"specversion: expected one in a batch, got {' and '.join(versions)}")


def _event_at(text: str, at: int) -> tuple[WireEvent, int]:
    members, end = json_text.object_at(text, at)
    data = members.pop("data", None)
    data_base64 = members.pop("data_base64", None)
    found = {
        name: _attribute(name, member, text)
        for name, member in members.items()
        if member.value is not None
    }
    for name, member in members.items():
        if member.value is None:
            check_name(name)
    return event_of(found, _data(found, data, data_base64, text)), end


def _attribute(name: str, member: Member, text: str) -> Value:
    value = member.value
    if text[member.start] == '"' or isinstance(value, bool):
        return value  # type: ignore[no-any-return]
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        number = int(value)
        if SMALLEST <= number <= LARGEST:
            return number
    written = text[member.start : member.end]
    raise refused(name, written, "text, a boolean or an integer of 32 bits")


def _data(
    found: dict[str, Value], data: Member | None, data_base64: Member | None, text: str
) -> bytes | None:
    if data_base64 is not None and data_base64.value is not None:
        if data is not None:
            raise Malformed("data, data_base64: expected one of them, got both")
        if found.get("specversion") == "0.3":
            raise Malformed("data_base64: 0.3 has data with datacontentencoding instead")
        return _from_base64("data_base64", data_base64, text)
    if data is None:
        return None
    if found.get("specversion") == "0.3" and _is_base64(found.get("datacontentencoding")):
        # it says how the text was made, not what the data is
        del found["datacontentencoding"]
        return _from_base64("data", data, text)
    kind = found.get("datacontenttype", "")
    if not isinstance(kind, str) or media_type.is_json(kind):
        return text[data.start : data.end].encode()
    return _from_string(kind, data, text)


def _is_base64(encoding: Value | None) -> bool:
    return isinstance(encoding, str) and encoding.lower() == "base64"


def _from_base64(name: str, member: Member, text: str) -> bytes:
    if text[member.start] == '"':
        try:
            return base64.b64decode(member.value, validate=True)
        except (ValueError, binascii.Error):
            pass
    raise refused(name, text[member.start : member.end], "base64 as a string (RFC 4648, padded)")


def _from_string(kind: str, member: Member, text: str) -> bytes:
    if text[member.start] != '"':
        written = text[member.start : member.end]
        raise refused("data", written, f"a string, as datacontenttype is {kind}")
    charset = media_type.python_charset(kind)
    if charset is None:
        raise refused("datacontenttype", kind, "a known charset, or data_base64 instead of data")
    try:
        return str(member.value).encode(charset)
    except UnicodeEncodeError as error:
        given = member.value[error.start : error.end]
        raise refused("data", given, f"characters that {charset} has") from error


def encode(event: WireEvent) -> bytes:
    """Write one event.

    ``data`` holds JSON where the type is JSON (or there is none) and the data is JSON, a string
    where the type is textual and the data UTF-8; everything else goes into ``data_base64``.

    Raises:
        Malformed: an attribute has a name or value that none may have.

    """
    attributes = outgoing(event)
    member = b"" if event.data is None else _data_member(event, event.data, attributes)
    parts = [
        f'"{name}":{_write_text(value) if isinstance(value, str) else canonical(value)}'
        for name, value in attributes.items()
    ]
    return b"{" + ",".join(parts).encode() + member + b"}"


def encode_line(event: WireEvent) -> bytes:
    """Write one event without a line break: those in ``data`` become spaces.

    JSON allows line breaks between its tokens only, so that nothing else changes.

    Raises:
        Malformed: as ``encode``.

    """
    return encode(event).translate(_NEWLINES)


def encode_batch(events: Sequence[WireEvent]) -> bytes:
    """Write a batch, which may be empty.

    Raises:
        Malformed: as ``encode``, or the events are of several versions.

    """
    _check_same_version(events)
    return b"[" + b",".join(encode(event) for event in events) + b"]"


def _data_member(event: WireEvent, data: bytes, attributes: dict[str, Value]) -> bytes:
    """Return the member that holds the data; for 0.3, note its encoding in ``attributes``."""
    kind = event.datacontenttype
    old = event.specversion == "0.3"
    if old and _is_base64(attributes.get("datacontentencoding")):
        return b',"data":"' + (data if _holds_base64(data) else base64.b64encode(data)) + b'"'
    if media_type.charset(kind) == "utf-8":
        if media_type.is_json(kind) and json_text.is_value(data):
            return b',"data":' + data.strip(json_text.SPACES)
        if media_type.is_text(kind):
            try:
                return b',"data":' + _write_text(data.decode()).encode()
            except UnicodeDecodeError:
                pass
    if old:
        attributes["datacontentencoding"] = "base64"
    return (b',"data":"' if old else b',"data_base64":"') + base64.b64encode(data) + b'"'


def _holds_base64(data: bytes) -> bool:
    try:
        base64.b64decode(data, validate=True)
    except (ValueError, binascii.Error):
        return False
    return True


def parsed_data(event: WireEvent) -> object:
    """Return the data as Python has it, or None: no data, not JSON, or too large to be parsed.

    What filters and expressions look into. Equal keys and long fractions are lost here.
    """
    if event.data is None or not media_type.is_json(event.datacontenttype):
        return None
    try:
        text = json_text.text_of(event.data)
        return json.loads(text, parse_constant=json_text.no_constant)
    except (Malformed, ValueError, RecursionError):
        return None
