"""Events in MQTT messages (CloudEvents MQTT binding 1.0.2). Plain data; no client is needed here.

MQTT 5 has two modes, chosen by the property Content Type: binary (attributes as User Properties,
without a prefix and without percent-encoding) and structured. MQTT 3.1.1 has no properties, and is
always structured. There is no batch. As in HTTP, an empty payload is no data.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from edge.cloudevents import json_format
from edge.cloudevents.attributes import canonical, event_of, outgoing
from edge.cloudevents.faults import Malformed, refused, several
from edge.cloudevents.http import Mode, binary_type, check_format, mode_of
from edge.event import Value, WireEvent

LONGEST: Final = 65_535
"""Bytes that a string of MQTT may have."""

_NAME: Final = re.compile(r"[a-z0-9]+")


class Message(NamedTuple):
    """What PUBLISH carries, but for topic, QoS and the rest that is the sender's own choice."""

    payload: bytes
    #: the property Content Type; empty: there is none. Not to be sent with MQTT 3.1.1.
    content_type: str = ""
    #: User Properties, as pairs
    user_properties: Sequence[tuple[str, str]] = ()


def decode(message: Message) -> WireEvent:
    """Read the event of an MQTT 5 message.

    User Properties that no attribute could be called by (``Trace-Id``) are somebody else's.

    Raises:
        Malformed: it is no event, or a wrong one; ``unsupported_media_type`` for a batch, or for
            a format other than JSON.

    """
    content_type = message.content_type
    mode = mode_of(content_type)
    if mode is Mode.BINARY:
        return _decode_binary(message)
    if mode is Mode.BATCH:
        raise refused(
            "content type",
            content_type,
            f"{json_format.MEDIA_TYPE}, as MQTT has no batch",
            reason="unsupported_media_type",
        )
    check_format(content_type)
    return json_format.decode(message.payload)


def decode_311(payload: bytes) -> WireEvent:
    """Read the event of an MQTT 3.1.1 message: the JSON format, always.

    Raises:
        Malformed: it is no event, or a wrong one.

    """
    return json_format.decode(payload)


def _decode_binary(message: Message) -> WireEvent:
    found: dict[str, Value] = {}
    for name, value in message.user_properties:
        if not _NAME.fullmatch(name):
            continue
        if name in found:
            raise several(name)
        found[name] = value
    if not found:
        raise Malformed(
            "no event: expected the user properties specversion, id, source and type, or the "
            f"content type {json_format.MEDIA_TYPE}"
        )
    # the binding's own example repeats the content type there; equal, it does no harm
    named = found.pop("datacontenttype", message.content_type)
    if named != message.content_type:
        raise refused("datacontenttype", named, f"the content type {message.content_type!r}")
    if message.content_type:
        found["datacontenttype"] = message.content_type
    return event_of(found, message.payload or None)


def encode_binary(event: WireEvent) -> Message:
    """Write one event in binary mode, for MQTT 5.

    As in HTTP, an event whose data is an event goes structured; so does one with an attribute that
    is longer than a string of MQTT may be.

    Raises:
        Malformed: an attribute has a name or value that none may have.

    """
    attributes = outgoing(event)
    attributes.pop("datacontenttype", None)
    kind = binary_type(event)
    properties = [(name, canonical(value)) for name, value in attributes.items()]
    longest = max(len(text.encode()) for pair in [*properties, (kind, "")] for text in pair)
    if mode_of(kind) is not Mode.BINARY or longest > LONGEST:
        return encode_structured(event)
    return Message(event.data or b"", kind, properties)


def encode_structured(event: WireEvent) -> Message:
    """Write one event in structured mode; with MQTT 3.1.1 send its payload alone.

    Raises:
        Malformed: as ``encode_binary``.

    """
    return Message(json_format.encode(event), json_format.MEDIA_TYPE)
