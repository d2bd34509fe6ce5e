"""Events in HTTP messages: binary, structured and batch (CloudEvents HTTP binding 1.0.2).

The binding is the same for requests and responses. HTTP cannot tell an empty body from none: an
event with either has no data.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from edge.cloudevents import header_value, json_format, json_text, media_type
from edge.cloudevents.attributes import canonical, event_of, outgoing
from edge.cloudevents.faults import Malformed, refused, several
from edge.event import Value, WireEvent

PREFIX: Final = "ce-"
CONTENT_TYPE: Final = "content-type"

Headers: TypeAlias = Mapping[str, str] | Sequence[tuple[str, str]]
"""Headers as pairs, or as a mapping whose ``items`` yields a repeated header as often as it came
(aiohttp's does)."""


class Mode(enum.Enum):
    """How a message carries events."""

    BINARY = "binary"
    STRUCTURED = "structured"
    BATCH = "batch"


class Received(NamedTuple):
    """What a message held. One event, unless it was a batch."""

    mode: Mode
    events: list[WireEvent]


class Message(NamedTuple):
    """Headers (names in lower case) and body, ready to be sent.

    An event without a type of data has no ``content-type``: send none in its place.
    """

    headers: dict[str, str]
    body: bytes


def mode_of(content_type: str) -> Mode:
    """Choose the mode by the beginning of ``Content-Type``, whatever its case."""
    kind = content_type.lstrip().lower()
    if kind.startswith("application/cloudevents-batch"):
        return Mode.BATCH
    return Mode.STRUCTURED if kind.startswith("application/cloudevents") else Mode.BINARY


def carries_event(headers: Headers) -> bool:
    """Tell whether a message claims to carry an event, well formed or not."""
    for name, value in _pairs(headers):
        lower = name.lower()
        if lower == "ce-specversion":
            return True
        if lower == CONTENT_TYPE and mode_of(value) is not Mode.BINARY:
            return True
    return False


def decode(headers: Headers, body: bytes) -> Received:
    """Read the events of a message.

    Headers that are not CloudEvents' own are let alone; those of a structured message are not
    read at all.

    Raises:
        Malformed: an event is missing or wrong; ``unsupported_media_type`` for a format other than
            JSON, ``unsupported_version`` for a version other than 1.0 and 0.3.

    """
    content_type, found = _sorted(headers)
    mode = mode_of(content_type or "")
    if mode is Mode.BINARY or content_type is None:
        return Received(Mode.BINARY, [_decode_binary(content_type, found, body)])
    check_format(content_type)
    if mode is Mode.BATCH:
        return Received(mode, json_format.decode_batch(body))
    return Received(mode, [json_format.decode(body)])


def decode_one(headers: Headers, body: bytes) -> WireEvent:
    """Read the only event of a message, where a batch was not asked for: in a reply.

    Raises:
        Malformed: as ``decode``, or it is a batch (``unsupported_media_type``).

    """
    mode, events = decode(headers, body)
    if mode is Mode.BATCH:
        raise Malformed(
            f"content-type: expected one event, got a batch of {len(events)}",
            reason="unsupported_media_type",
        )
    return events[0]


def check_format(content_type: str) -> None:
    """Raise Malformed (``unsupported_media_type``) unless a structured message is JSON in UTF-8."""
    known = (json_format.MEDIA_TYPE, json_format.BATCH_MEDIA_TYPE)
    if media_type.essence(content_type) not in known:
        expected, given = " or ".join(known), content_type
    elif media_type.charset(content_type) != "utf-8":
        expected, given = "UTF-8", media_type.charset(content_type)
    else:
        return
    raise refused("content-type", given, expected, reason="unsupported_media_type")


def _pairs(headers: Headers) -> Iterable[tuple[str, str]]:
    return headers.items() if isinstance(headers, Mapping) else headers


def _sorted(headers: Headers) -> tuple[str | None, dict[str, str]]:
    """Return the content type (None: there is none) and the ``ce-`` headers without prefix."""
    content_type: str | None = None
    found: dict[str, str] = {}
    for name, value in _pairs(headers):
        lower = name.lower()
        if lower == CONTENT_TYPE:
            if content_type is not None:
                raise several(lower)
            content_type = value
        elif lower.startswith(PREFIX):
            if lower[3:] in found:
                raise several(lower)
            found[lower[3:]] = value
    return content_type, found


def _decode_binary(content_type: str | None, found: Mapping[str, str], body: bytes) -> WireEvent:
    if not found:
        raise Malformed(
            "no event: expected the headers ce-specversion, ce-id, ce-source and ce-type, or "
            f"Content-Type: {json_format.MEDIA_TYPE} or {json_format.BATCH_MEDIA_TYPE}",
            hint=f"an event as a JSON object needs -H 'Content-Type: {json_format.MEDIA_TYPE}'",
        )
    if "datacontenttype" in found:
        raise Malformed("ce-datacontenttype: not allowed; Content-Type says what the data is")
    attributes: dict[str, Value] = {
        name: header_value.decode(PREFIX + name, value.strip(" \t"))
        for name, value in found.items()
    }
    if content_type is not None:
        attributes["datacontenttype"] = content_type.strip(" \t")
    return event_of(attributes, body or None)


def encode_binary(event: WireEvent) -> Message:
    """Write one event in binary mode: attributes as headers, the data as the body.

    An event whose data is an event (``application/cloudevents…``) cannot travel so, since the
    receiver would take its data for itself: it is written in structured mode.

    Raises:
        Malformed: an attribute has a name or value that none may have.

    """
    kind = binary_type(event)
    if mode_of(kind) is not Mode.BINARY:
        return encode_structured(event)
    attributes = outgoing(event)
    attributes.pop("datacontenttype", None)
    headers = {
        PREFIX + name: header_value.encode(canonical(value)) for name, value in attributes.items()
    }
    if kind:
        if not media_type.is_media_type(kind):
            raise refused("datacontenttype", kind, "a media type")
        headers[CONTENT_TYPE] = kind
    return Message(headers, event.data or b"")


def binary_type(event: WireEvent) -> str:
    """Return what ``Content-Type`` says in binary mode; empty: there is to be none.

    A JSON event may leave out that its data is JSON. Binary mode implies nothing, so it is said.
    """
    if event.datacontenttype or event.data is None:
        return event.datacontenttype
    return "application/json" if json_text.is_value(event.data) else ""


def encode_structured(event: WireEvent) -> Message:
    """Write one event in structured mode, as JSON.

    Raises:
        Malformed: as ``encode_binary``.

    """
    return Message({CONTENT_TYPE: json_format.MEDIA_TYPE}, json_format.encode(event))


def encode_batch(events: Sequence[WireEvent]) -> Message:
    """Write a batch, as JSON. It may be empty. Only for those who asked for one.

    Raises:
        Malformed: as ``encode_binary``, or the events are of several versions.

    """
    return Message({CONTENT_TYPE: json_format.BATCH_MEDIA_TYPE}, json_format.encode_batch(events))
